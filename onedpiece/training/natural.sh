#!/bin/sh
# Add the decoder `natural` to a model directory, from tar files or folders of photographs:
#     sh onedpiece/training/natural.sh RUNS MODEL TEACHER DATA...
# RUNS is a working folder. TEACHER holds the weights of Real-ESRGAN x4plus. The photographs show
# which values occur in the network. It takes a minute or two.
set -eu
runs=$1 model=$2 teacher=$3
shift 3

grep -qs '"name": "natural"' "$model/model.json" && exit

# The blocks that are missed least are left out (docs/training.md).
[ -e "$runs/natural" ] || python -m onedpiece.training prune --run "$runs/natural" \
    --teacher "$teacher" --model "$model" --blocks 0 1 2 3 4 6 8 9 10 12 13 14 15 16 17 19 21 22
python -m onedpiece.training export "$model" \
    --run "$runs/natural" --decoder natural --version 2 --faithful repair \
    --cache "$runs/cache" --data "$@" \
    --source "Blocks of Real-ESRGAN x4plus: BSD-3-Clause, Copyright (c) 2021, Xintao Wang"
