#!/bin/sh
# Make the results in bench/results, the tables in README.md, docs/benchmarks.md and
# docs/model-card.md, docs/overview.jpg, docs/contact-sheet.jpg and docs/realism.jpg:
#     sh bench/readme.sh PICTURES LPIPS
# PICTURES: folder of pictures. LPIPS: folder of weights, see `odp bench rd --help`.
# An interrupted run resumes. After a change of the model or the file format, remove runs/rd,
# runs/rd-smooth and runs/rd-effort to begin anew.
set -eu
cd "$(dirname "$0")/.."
sizes=16,32,64,128,256,512,1024
bytes=24,96,192,384,500,700,900,1100,1400
odp bench rd "$1" --lpips "$2" --out runs/rd --tokens $sizes --bytes $bytes
odp bench rd "$1" --lpips "$2" --out runs/rd-smooth --tokens $sizes --bytes $bytes --codecs odp --realism 0
odp bench rd "$1" --lpips "$2" --out runs/rd-effort --bytes $bytes --codecs odp --realism 0 --effort 3
mkdir -p bench/results/rd bench/results/rd-smooth bench/results/rd-effort
cp runs/rd-smooth/results.csv runs/rd-smooth/run.json bench/results/rd-smooth/
cp runs/rd-effort/results.csv runs/rd-effort/run.json bench/results/rd-effort/
cp -r runs/rd/results.csv runs/rd/run.json runs/rd/tables.md runs/rd/json bench/results/rd/
cp runs/rd/plots/psnr.svg runs/rd/plots/lpips_squeeze.svg bench/results/rd/
odp bench speed > bench/results/speed.md
python bench/results/readme.py "$1" runs/rd
python -m onedpiece.bench.overview
