#!/bin/sh
# Add the decoder `natural` to a model directory, from tar files or folders of photographs:
#     sh onedpiece/training/natural.sh RUNS MODEL WEIGHTS FEATURES DATA...
# RUNS is a working folder. WEIGHTS are those of Real-ESRGAN x4plus, and FEATURES is a folder of
# those that onedpiece/training/features.py lists. It takes three quarters of an hour. A call that
# was interrupted goes on. A model that has such a decoder already keeps it.
set -eu
runs=$1 model=$2 weights=$3 features=$4
shift 4

if grep -qs '"name": "natural"' "$model/model.json"; then
    echo "$model has the decoder natural"
    exit
fi

# The blocks that are missed least are left out (docs/training.md).
[ -e "$runs/pruned" ] || python -m onedpiece.training prune --run "$runs/pruned" \
    --weights "$weights" --model "$model" --blocks 0 1 2 3 4 6 8 9 10 12 13 14 15 16 17 19 21 22
python -m onedpiece.training sharpen --run "$runs/natural" --start "$runs/pruned" \
    --seconds 2400 --features "$features" --cache "$runs/cache" --data "$@"
python -m onedpiece.training export "$model" \
    --run "$runs/natural" --decoder natural --version 4 --faithful repair \
    --cache "$runs/cache" --data "$@" \
    --source "Trained from blocks of Real-ESRGAN x4plus: BSD-3-Clause, Copyright (c) 2021, Xintao Wang"
