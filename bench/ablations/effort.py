"""What `odp encode --effort` gains and costs.

    python -m onedpiece.bench.ablations.effort PICTURES...

Files are decoded for the least error, which the search for tokens reduces.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from onedpiece.bench import Protocol
from onedpiece.bench.odp import Odp
from onedpiece.bench.protocol import read
from onedpiece.bench.timing import machine
from onedpiece.images.picture import Picture
from onedpiece.metrics import psnr
from onedpiece.search import ROUNDS

LENGTHS = (16, 64, 256)
PREFIXES = (16, 64, 128, 256)


def main(paths: Sequence[Path]) -> None:
    """Print gains at equal bytes, and PSNR of truncated files.

    PSNR is moved to equal bytes by the slope between effort 1 and effort 1 with half the tokens.
    """
    pictures = [read(path, Protocol.paper) for path in paths]
    codecs = {effort: Odp(effort=effort, realism=0) for effort in ROUNDS}
    print(f"{machine()}; {len(pictures)} pictures, one after the other, whole files\n")
    print("| tokens | effort | bytes | PSNR, dB | gain at equal bytes, dB | s a picture |")
    print("|---" * 6 + "|")
    for tokens in LENGTHS:
        longest = _print_gains(tokens, codecs, pictures)
    print(f"\n| effort, for {max(LENGTHS)} tokens | {' | '.join(f'first {p}' for p in PREFIXES)} |")
    print("|---" * (len(PREFIXES) + 1) + "|")
    for effort, files in longest.items():
        scores = [_score(codecs[1], files, pictures, prefix) for prefix in PREFIXES]
        print(f"| {effort} | {' | '.join(f'{score:.2f}' for score in scores)} |")


def _print_gains(
    tokens: int, codecs: dict[int, Odp], pictures: list[Picture]
) -> dict[int, list[bytes]]:
    """Print a row per effort, and return the files of each effort."""
    quick = codecs[1]
    half = [quick.encode(picture, tokens // 2) for picture in pictures]
    all_files = {}
    for effort, codec in codecs.items():
        start = time.perf_counter()
        files = [codec.encode(picture, tokens) for picture in pictures]
        seconds = (time.perf_counter() - start) / len(pictures)
        size, score = _size(files), _score(quick, files, pictures)
        if effort == 1:
            quick_size, quick_score = size, score
            slope = (score - _score(quick, half, pictures)) / np.log(size / _size(half))
        gain = score - quick_score - slope * np.log(size / quick_size)
        row = f"{tokens} | {effort} | {size:.1f} | {score:.2f} | {gain:.2f} | {seconds:.2f}"
        print(f"| {row} |", flush=True)
        all_files[effort] = files
    return all_files


def _size(files: list[bytes]) -> float:
    return float(np.mean([len(data) for data in files]))


def _score(
    codec: Odp, files: list[bytes], pictures: list[Picture], tokens: int = max(PREFIXES)
) -> float:
    """Mean PSNR of the files decoded from their first tokens."""
    decoded = codec.decode_many(files, tokens)
    pairs = zip(pictures, decoded, strict=True)
    return float(np.mean([psnr(picture.pixels, pixels) for picture, pixels in pairs]))


if __name__ == "__main__":
    main(list(map(Path, sys.argv[1:])))
