#!/bin/sh
# Set up a fresh machine (Python 3.11 or newer) and run all checks and tests.
set -eu
cd "$(dirname "$0")/.."
python3 -m venv .venv
pip=".venv/bin/python -m pip install --quiet"
# PyTorch first, at the version that was tested, so that no later requirement picks another.
$pip torch==2.13.0
$pip --editable ".[torch,bench,test]"
.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/mypy
# Two files of tests at a time, each on one core: networks that share cores wait for each other.
# Sorted by their number of tests, the slow files would come last, and one core would wait.
OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder
