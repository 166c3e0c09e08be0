"""Make docs/overview.jpg, the picture of README: originals beside WebP and `odp` at equal bytes.

python -m onedpiece.bench.overview
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench.codecs import Ladder, available
from onedpiece.bench.demo import PICTURES
from onedpiece.bench.plots import contact_sheet
from onedpiece.codec import Codec
from onedpiece.metrics import psnr

OVERVIEW = Path(__file__).parents[1] / "docs" / "overview.jpg"
NAMES = ("astronaut", "coffee", "cat")
NUM_TOKENS = 128

Cell = tuple[np.ndarray | None, str]


def overview() -> Image.Image:
    """Three bundled pictures; the WebP file is the best that is no larger than that of `odp`."""
    codec = Codec(device="cpu")
    titles = ["original", "WebP", f"odp, {NUM_TOKENS} tokens"]
    return contact_sheet(titles, [_row(codec, PICTURES / f"{name}.png") for name in NAMES])


def _row(codec: Codec, path: Path) -> list[Cell]:
    image = Image.open(path).convert("RGB")
    original = np.asarray(image)
    data = codec.encode(image, NUM_TOKENS)
    decoded = np.asarray(codec.decode(data).convert("RGB"))
    webp = next(format for format in available()[0] if format.name == "webp")
    best = Ladder(webp, original).best(len(data))
    return [
        (original, f"{image.width}x{image.height} pixels"),
        _cell(original, best.pixels, len(best.data)) if best else (None, "no file so small"),
        _cell(original, decoded, len(data)),
    ]


def _cell(original: np.ndarray, decoded: np.ndarray, size: int) -> Cell:
    return decoded, f"{size} bytes, {psnr(original, decoded):.2f} dB"


if __name__ == "__main__":
    overview().save(OVERVIEW, quality=85)
