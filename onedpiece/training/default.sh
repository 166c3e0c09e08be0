#!/bin/sh
# Make the default model from tar files or folders of photographs:
#     sh onedpiece/training/default.sh RUNS MODEL DATA...
# RUNS is a working folder; called again after an interruption, the script resumes there. MODEL is
# the model directory to write; natural.sh adds a decoder of pictures that look real.
set -eu
runs=$1 model=$2
shift 2

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
[ -e "$model/model.json" ] || training export "$model" --cache "$runs/cache" --data "$@"
