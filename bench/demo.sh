#!/bin/sh
# Install the codec in a fresh environment (Python 3.11 or newer), and encode and decode the
# photographs in bench/pictures.
set -eu
cd "$(dirname "$0")/.."
python3 -m venv demo/venv
demo/venv/bin/python -m pip install --quiet .
demo/venv/bin/odp bench demo --out demo
