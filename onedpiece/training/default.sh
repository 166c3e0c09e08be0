#!/bin/sh
# Makes the default model from tar shards or folders of photographs: sh onedpiece/training/default.sh RUNS MODEL FEATURES DATA...
# Three hours on two CPU cores. RUNS is a folder to work in; MODEL, the model directory, is written at the end; FEATURES
# holds the weights of the networks that the grain learns from (onedpiece/training/features.py).
set -eu
runs=$1 model=$2 features=$3
shift 3
python -m onedpiece.training fit --run "$runs/default" --cache "$runs/cache" --data "$@"
python -m onedpiece.training train --run "$runs/default" --recipe distortion --cache "$runs/cache" --data "$@"
python -m onedpiece.training tables --run "$runs/default" --cache "$runs/cache" --data "$@"
python -m onedpiece.training train --run "$runs/default" --recipe grain --features "$features" \
    --cache "$runs/cache" --data "$@"
python -m onedpiece.training export --run "$runs/default" "$model"
