#!/bin/sh
# Add the decoder `natural` to a model directory, from tar files or folders of photographs:
#     sh onedpiece/training/natural.sh RUNS MODEL TEACHER FEATURES SECONDS DATA...
# RUNS is a working folder; called again after an interruption, the script resumes there. TEACHER
# holds the weights of Real-ESRGAN x4plus, FEATURES those of the networks that compare pictures
# (onedpiece/training/features.py). SECONDS is how long to train.
set -eu
runs=$1 model=$2 teacher=$3 features=$4 seconds=$5
shift 5

python -m onedpiece.training targets "$runs/targets" --teacher "$teacher" --model "$model" \
    --cache "$runs/cache" --data "$@"
python -m onedpiece.training distil "$runs/targets" --run "$runs/natural" --start "$teacher" \
    --blocks 0 4 9 13 18 22 --seconds "$seconds" --features "$features" --model "$model"
[ -e "$model/decoder-natural.onnx" ] || python -m onedpiece.training export "$model" \
    --run "$runs/natural" --decoder natural --faithful repair \
    --source "Trained from Real-ESRGAN x4plus: BSD-3-Clause, Copyright (c) 2021, Xintao Wang"
