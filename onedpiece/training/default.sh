#!/bin/sh
# Make the default model from tar files or folders of photographs:
#     sh onedpiece/training/default.sh RUNS MODEL FEATURES DATA...
# RUNS is a working folder; called again after an interruption, the script resumes there. MODEL is
# the model directory to write. FEATURES holds the weights of the feature networks that train the
# grain (onedpiece/training/features.py).
set -eu
runs=$1 model=$2 features=$3
shift 3

training() {
    verb=$1
    shift
    python -m onedpiece.training "$verb" --run "$runs/default" "$@"
}

once() {
    mark=$runs/$1.done
    shift
    [ -e "$mark" ] && return
    "$@"
    touch "$mark"
}

once fit training fit --cache "$runs/cache" --data "$@"
once distortion training train --cache "$runs/cache" --data "$@"
once tables training tables --cache "$runs/cache" --data "$@"
once begin-grain training train --recipe grain --stop 1 --features "$features" \
    --cache "$runs/cache" --data "$@"
once grain training train --features "$features" --cache "$runs/cache" --data "$@"
[ -e "$model/model.json" ] || training export "$model"
