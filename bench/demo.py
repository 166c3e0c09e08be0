"""Encode and decode the photographs that come with the project; print sizes and scores; make a picture to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench.metrics import psnr
from onedpiece.bitstream import parse, truncate
from onedpiece.codec import Codec
from onedpiece.images.reader import Picture, open_picture, to_pillow

PICTURES = Path(__file__).parent / "pictures"
TOKENS = (16, 32, 64, 128, 256)
HEIGHT = 256
GAP = 8


def demo(out: Path, device: str = "auto") -> None:
    """Write `out`/*.odp and `out`/side-by-side.png and print a table."""
    out.mkdir(parents=True, exist_ok=True)
    codec = Codec(device=device)
    rows = []
    print(f"{'picture':20s} {'size':>9s} {'tokens':>6s} {'bytes':>6s} {'bpp':>7s} {'PSNR':>6s}")
    for path in sorted(p for p in PICTURES.iterdir() if p.suffix != ".md"):
        picture = open_picture(path)
        row = [picture]
        whole = codec.encode_pictures([picture])[0]
        for tokens in TOKENS:
            data = truncate(whole, tokens)
            (out / f"{path.stem}-{tokens}.odp").write_bytes(data)
            decoded = codec.decode_files([parse(data)])[0]
            row.append(decoded)
            print(_line(path.name, picture, tokens, data, psnr(picture.pixels, decoded.pixels)))
        rows.append(row)
    sheet = out / "side-by-side.png"
    _side_by_side(rows).save(sheet)
    print(f"\n{sheet}: the original, then {', '.join(map(str, TOKENS))} tokens")


def _line(name: str, picture: Picture, tokens: int, data: bytes, score: float) -> str:
    height, width = picture.pixels.shape[:2]
    bpp = 8 * len(data) / (width * height)
    return (
        f"{name:20s} {f'{width}x{height}':>9s} {tokens:6d} {len(data):6d} {bpp:7.4f} {score:6.2f}"
    )


def _side_by_side(rows: Sequence[Sequence[Picture]]) -> Image.Image:
    strips = [np.hstack([_framed(to_pillow(picture)) for picture in row]) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    padded = [
        np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips
    ]
    return Image.fromarray(np.vstack(padded))


def _framed(image: Image.Image) -> np.ndarray:
    scaled = image.convert("RGB").resize((round(image.width * HEIGHT / image.height), HEIGHT))
    return np.pad(np.asarray(scaled), ((GAP, 0), (GAP, 0), (0, 0)), constant_values=255)
