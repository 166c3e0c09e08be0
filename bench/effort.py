"""What `odp encode --effort` gains and costs: python -m onedpiece.bench.effort PICTURES..."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench.measure import machine
from onedpiece.bench.metrics import psnr
from onedpiece.bench.protocol import Protocol, read
from onedpiece.codec import Codec
from onedpiece.search import ROUNDS

LENGTHS = (16, 64, 256)
PREFIXES = (16, 64, 128, 256)


def main(paths: Sequence[Path]) -> None:
    """Print two tables: gains at equal bytes, by the slope of effort 1 from half as many tokens; and prefixes.

    Decoded without grain, of which the search knows nothing.
    """
    images = [Image.fromarray(read(path, Protocol.paper).pixels) for path in paths]
    codecs = {effort: Codec(device="cpu", effort=effort, grain=0) for effort in ROUNDS}
    quick = codecs[1]
    print(f"{machine()}; {len(images)} pictures, one after the other, whole files\n")
    print("| tokens | effort | bytes | PSNR, dB | gain at equal bytes, dB | s a picture |")
    print("|---" * 6 + "|")
    cut = {}
    for tokens in LENGTHS:
        half = [quick.encode(image, tokens // 2) for image in images]
        for effort, codec in codecs.items():
            start = time.perf_counter()
            files = [codec.encode(image, tokens) for image in images]
            seconds = (time.perf_counter() - start) / len(images)
            size, score = _size(files), _score(quick, files, images)
            if effort == 1:
                plain = size, score
                slope = (score - _score(quick, half, images)) / np.log(size / _size(half))
            gain = score - plain[1] - slope * np.log(size / plain[0])
            row = f"{tokens} | {effort} | {size:.1f} | {score:.2f} | {gain:.2f} | {seconds:.2f}"
            print(f"| {row} |", flush=True)
            if tokens == max(PREFIXES):
                cut[effort] = [_score(quick, files, images, prefix) for prefix in PREFIXES]
    print(
        f"\n| effort, for {max(PREFIXES)} tokens | {' | '.join(f'first {p}' for p in PREFIXES)} |"
    )
    print("|---" * (len(PREFIXES) + 1) + "|")
    for effort, scores in cut.items():
        print(f"| {effort} | {' | '.join(f'{score:.2f}' for score in scores)} |")


def _size(files: list[bytes]) -> float:
    return float(np.mean([len(data) for data in files]))


def _score(
    codec: Codec, files: list[bytes], images: list[Image.Image], tokens: int = max(PREFIXES)
) -> float:
    """Mean PSNR of what the first tokens give."""
    decoded = codec.decode_many(files, tokens)
    pairs = zip(images, decoded, strict=True)
    return float(np.mean([psnr(np.asarray(image), np.asarray(made)) for image, made in pairs]))


if __name__ == "__main__":
    main(list(map(Path, sys.argv[1:])))
