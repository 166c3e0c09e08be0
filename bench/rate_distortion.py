"""PSNR at equal bytes: `odp` at several token counts, and conventional codecs in files no larger, picture by picture."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from onedpiece.bench.codecs import Ladder, available
from onedpiece.bench.metrics import psnr
from onedpiece.bitstream import parse, truncate
from onedpiece.codec import Codec
from onedpiece.image import open_picture

TOKENS = (16, 32, 64, 128, 256)


def rate_distortion(pictures: Iterable[Path], table: Path | None, device: str = "auto") -> None:
    """Print the means over all pictures; write one row for each picture, codec and token count to `table`."""
    codec = Codec(device=device)
    rows: list[tuple[str, str, int, int, float]] = []
    for path in pictures:
        picture = open_picture(path)
        ladders = {
            conventional.name: Ladder(conventional, picture.pixels) for conventional in available()
        }
        whole = codec.encode_pictures([picture])[0]
        for tokens in TOKENS:
            data = truncate(whole, tokens)
            decoded = codec.decode_files([parse(data)])[0]
            rows.append((path.name, "odp", tokens, len(data), psnr(picture.pixels, decoded.pixels)))
            for name, ladder in ladders.items():
                coded = ladder.best(len(data))
                if coded:
                    score = psnr(picture.pixels, coded.pixels)
                    rows.append((path.name, name, tokens, coded.size, score))
    if table:
        with table.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("picture", "codec", "tokens", "bytes", "psnr"))
            writer.writerows((*row[:4], f"{row[4]:.4f}") for row in rows)
    _print_means(rows)


def _print_means(rows: list[tuple[str, str, int, int, float]]) -> None:
    names = list(dict.fromkeys(row[1] for row in rows))
    pictures = len({row[0] for row in rows})
    print(
        f"Mean PSNR in dB over {pictures} pictures; in brackets how many had a file small enough, if not all"
    )
    print("tokens  bytes " + "".join(f"{name:>14s}" for name in names))
    for tokens in TOKENS:
        size = np.mean([row[3] for row in rows if row[1:3] == ("odp", tokens)])
        line = f"{tokens:6d} {size:6.1f} "
        for name in names:
            scores = [row[4] for row in rows if row[1:3] == (name, tokens)]
            count = "" if len(scores) == pictures else f" ({len(scores)})"
            line += f"{f'{np.mean(scores):.2f}{count}' if scores else '-':>14s}"
        print(line)
