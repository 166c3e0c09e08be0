#!/bin/sh
# Set up a fresh machine (Python 3.11 or newer) and run the codec on the photographs in bench/pictures.
set -eu
cd "$(dirname "$0")/.."
python3 -m venv demo/venv
demo/venv/bin/python -m pip install --quiet .
demo/venv/bin/odp bench demo --out demo
