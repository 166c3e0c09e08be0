#!/bin/sh
# Makes the default model from tar shards or folders of photographs: sh onedpiece/training/default.sh RUNS MODEL DATA...
# Two and a half hours on two CPU cores. RUNS is a folder to work in; MODEL, the model directory, is written at the end.
set -eu
runs=$1 model=$2
shift 2
train() { python -m onedpiece.training train --cache "$runs/cache" --data "$@"; }

python -m onedpiece.training fit --run "$runs/shallow" --config shallow --cache "$runs/cache" --data "$@"
train "$@" --run "$runs/shallow"
train "$@" --run "$runs/shallow" --recipe codebooks
python -m onedpiece.training start --run "$runs/deep" --config default --from "$runs/shallow"
train "$@" --run "$runs/deep" --recipe deeper
python -m onedpiece.training export --run "$runs/deep" "$model"
