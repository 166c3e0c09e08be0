"""A Hugging Face dataset whose pictures are .odp files.

    python examples/with_datasets.py [FOLDER]

Encodes the pictures of a folder with 64 tokens each. `datasets.Image` decodes through Pillow when
a picture is used. Needs: pip install datasets
"""

from __future__ import annotations

import argparse
from pathlib import Path

import datasets

import onedpiece
import onedpiece.pillow  # registers the format with Pillow

BUNDLED = Path(__file__).parents[1] / "bench" / "pictures"
SUFFIXES = {".jpeg", ".jpg", ".png", ".webp"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=BUNDLED, help="folder of pictures")
    folder = parser.parse_args().folder
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)

    files = [{"bytes": onedpiece.encode(path, 64), "path": None} for path in paths]
    names = [path.stem for path in paths]
    features = datasets.Features({"picture": datasets.Image(), "name": datasets.Value("string")})
    dataset = datasets.Dataset.from_dict({"picture": files, "name": names}, features)

    for row in dataset:
        image = row["picture"]
        print(f"{row['name']}: {image.format} {image.size}, {image.info['bytes']} bytes")


if __name__ == "__main__":
    main()
