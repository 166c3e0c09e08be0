"""Pictures to .odp and back with imageio, which opens files through Pillow.

    python examples/with_imageio.py [PICTURE] [--out DIR]

Writes NAME.odp and NAME.png to DIR. Needs: pip install imageio
"""

from __future__ import annotations

import argparse
from pathlib import Path

import imageio.v3 as iio

import onedpiece.pillow

CAT = Path(__file__).parents[1] / "bench" / "pictures" / "cat.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", type=Path, default=CAT)
    parser.add_argument("--out", type=Path, default=Path("demo/imageio"), help="folder for results")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    onedpiece.pillow.register(extension=True)  # imageio chooses the format by the extension
    coded = arguments.out / f"{arguments.picture.stem}.odp"
    iio.imwrite(coded, iio.imread(arguments.picture), tokens=64)

    properties = iio.improps(coded)  # reads the header only
    print(f"{coded.name}: {coded.stat().st_size} bytes, {properties.shape} {properties.dtype}")
    iio.imwrite(coded.with_suffix(".png"), iio.imread(coded))


if __name__ == "__main__":
    main()
