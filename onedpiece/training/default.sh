#!/bin/sh
# Makes the default model from tar shards or folders of photographs: sh onedpiece/training/default.sh RUNS MODEL DATA...
# Two hours and a quarter on two CPU cores. RUNS is a folder to work in; MODEL, the model directory, is written at the end.
set -eu
runs=$1 model=$2
shift 2
python -m onedpiece.training fit --run "$runs/default" --cache "$runs/cache" --data "$@"
python -m onedpiece.training train --run "$runs/default" --recipe distortion --cache "$runs/cache" --data "$@"
python -m onedpiece.training tables --run "$runs/default" --cache "$runs/cache" --data "$@"
python -m onedpiece.training export --run "$runs/default" "$model"
