"""Encode and decode the photographs that come with the project, and show them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench.odp import Odp, truncate
from onedpiece.images.reader import open_picture
from onedpiece.metrics import psnr

PICTURES = Path(__file__).parent / "pictures"
TOKENS = (16, 32, 64, 128, 256)
HEIGHT = 256  # pixels of each picture on the sheet
GAP = 8  # pixels


def photographs() -> list[Path]:
    """The photographs that come with the project."""
    return sorted(path for path in PICTURES.iterdir() if path.suffix != ".md")


def demo(
    out: Path,
    device: str = "auto",
    pictures: Sequence[Path] | None = None,
    tokens: Sequence[int] = TOKENS,
) -> None:
    """Write `out`/*.odp and `out`/side-by-side.png, and print sizes and PSNR.

    pictures: instead of the bundled photographs. tokens: lengths of the files, rising.
    """
    out.mkdir(parents=True, exist_ok=True)
    codec = Odp(device=device)
    rows = []
    print(f"{'picture':20s} {'size':>9s} {'tokens':>6s} {'bytes':>6s} {'bpp':>7s} {'PSNR':>6s}")
    for path in photographs() if pictures is None else pictures:
        picture = open_picture(path)
        row = [picture.pixels]
        longest = codec.encode(picture, max(tokens))
        for count in tokens:
            data = truncate(longest, count)
            (out / f"{path.stem}-{count}.odp").write_bytes(data)
            decoded = codec.decode(data)
            row.append(decoded)
            print(_line(path.name, picture.pixels, count, data, decoded))
        rows.append(row)
    sheet = out / "side-by-side.png"
    _side_by_side(rows).save(sheet)
    print(f"\n{sheet}: the original, then {', '.join(map(str, tokens))} tokens")


def _line(name: str, pixels: np.ndarray, tokens: int, data: bytes, decoded: np.ndarray) -> str:
    height, width = pixels.shape[:2]
    size, bpp = f"{width}x{height}", 8 * len(data) / (width * height)
    score = psnr(pixels, decoded)
    return f"{name:20s} {size:>9s} {tokens:6d} {len(data):6d} {bpp:7.4f} {score:6.2f}"


def _side_by_side(rows: Sequence[Sequence[np.ndarray]]) -> Image.Image:
    strips = [np.hstack([_framed(pixels) for pixels in row]) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    padded = [
        np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=255)
        for strip in strips
    ]
    return Image.fromarray(np.vstack(padded))


def _framed(pixels: np.ndarray) -> np.ndarray:
    image = Image.fromarray(pixels)
    scaled = image.resize((round(image.width * HEIGHT / image.height), HEIGHT))
    return np.pad(np.asarray(scaled), ((GAP, 0), (GAP, 0), (0, 0)), constant_values=255)
