"""A folder of pictures as tiny .odp thumbnails, and one contact sheet decoded from them.

    python examples/thumbnails.py [FOLDER] [--max-bytes N] [--out DIR]

For each picture NAME, writes NAME.odp of at most N bytes; the sheet is contact-sheet.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageOps

import onedpiece

BUNDLED = Path(__file__).parents[1] / "bench" / "pictures"
SUFFIXES = {".jpeg", ".jpg", ".png", ".webp"}
COLUMNS = 4
CELL = 160  # pixels
GAP = 8  # pixels


def main() -> None:
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    paths = sorted(p for p in arguments.folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise SystemExit(f"{arguments.folder} holds no pictures")
    thumbnails = []
    for path in paths:
        with Image.open(path) as image:
            small = ImageOps.contain(ImageOps.exif_transpose(image).convert("RGB"), (256, 256))
        data = onedpiece.encode(small, max_bytes=arguments.max_bytes)
        thumbnail = arguments.out / f"{path.stem}.odp"
        thumbnail.write_bytes(data)
        thumbnails.append(thumbnail)
        print(f"{path.name}: {path.stat().st_size} bytes -> {len(data)} bytes")
    sheet = contact_sheet([onedpiece.decode(thumbnail) for thumbnail in thumbnails])
    sheet.save(arguments.out / "contact-sheet.png")


def contact_sheet(images: list[Image.Image]) -> Image.Image:
    """The pictures in rows of COLUMNS, each centred in a cell of CELL x CELL pixels."""
    rows = -(-len(images) // COLUMNS)
    step = CELL + GAP
    sheet = Image.new("RGB", (COLUMNS * step + GAP, rows * step + GAP), "white")
    for index, image in enumerate(images):
        cell = ImageOps.pad(image.convert("RGB"), (CELL, CELL), color="white")
        row, column = divmod(index, COLUMNS)
        sheet.paste(cell, (GAP + column * step, GAP + row * step))
    return sheet


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=BUNDLED, help="folder of pictures")
    parser.add_argument("--max-bytes", type=int, default=200, help="largest size of a thumbnail")
    parser.add_argument(
        "--out", type=Path, default=Path("demo/thumbnails"), help="folder for results"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
