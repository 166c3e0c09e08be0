#!/bin/sh
# The tables and plots of README and docs/benchmarks.md, and docs/contact-sheet.jpg:
# sh bench/readme.sh PICTURES LPIPS
# PICTURES: a folder of pictures; LPIPS: a folder of weights (see `odp bench rd --help`).
# A run that was interrupted resumes; remove runs/rd and runs/rd-smooth first if the model or the
# file format changed.
set -eu
cd "$(dirname "$0")/.."
odp bench rd "$1" --lpips "$2" --out runs/rd --tokens 16,32,64,128,256 --bytes 96,192,384,1024
odp bench rd "$1" --lpips "$2" --out runs/rd-smooth --tokens 16,32,64,128,256 --codecs odp --grain 0
mkdir -p bench/results/rd bench/results/rd-smooth
cp runs/rd-smooth/results.csv runs/rd-smooth/run.json bench/results/rd-smooth/
cp -r runs/rd/results.csv runs/rd/run.json runs/rd/tables.md runs/rd/json bench/results/rd/
cp runs/rd/plots/psnr.svg runs/rd/plots/lpips_squeeze.svg bench/results/rd/
odp bench speed > bench/results/speed.md
python -m onedpiece.bench.readme "$1" runs/rd
python -m onedpiece.bench.overview
