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


def main(paths: Sequence[Path]) -> None:
    """Print a table: gains are at equal bytes, by the slope of effort 1 from half as many tokens."""
    images = [Image.fromarray(read(path, Protocol.paper).pixels) for path in paths]
    codecs = {effort: Codec(device="cpu", effort=effort) for effort in ROUNDS}
    print(f"{machine()}; {len(images)} pictures, one after the other, whole files\n")
    print("| tokens | effort | bytes | PSNR, dB | gain at equal bytes, dB | s a picture |")
    print("|---" * 6 + "|")
    for tokens in LENGTHS:
        half, _ = _measured(codecs[1], images, tokens // 2)
        plain, _ = _measured(codecs[1], images, tokens)
        slope = (plain[1] - half[1]) / np.log(plain[0] / half[0])
        for effort, codec in codecs.items():
            (size, score), seconds = _measured(codec, images, tokens)
            gain = score - plain[1] - slope * np.log(size / plain[0])
            row = f"{tokens} | {effort} | {size:.1f} | {score:.2f} | {gain:.2f} | {seconds:.2f}"
            print(f"| {row} |", flush=True)


def _measured(codec: Codec, images: list[Image.Image], tokens: int) -> tuple[np.ndarray, float]:
    """Mean bytes and mean PSNR, and seconds for encoding one picture."""
    start = time.perf_counter()
    files = [codec.encode(image, tokens) for image in images]
    seconds = (time.perf_counter() - start) / len(images)
    scores = [
        psnr(np.asarray(image), np.asarray(codec.decode(data)))
        for image, data in zip(images, files, strict=True)
    ]
    return np.array([np.mean([len(data) for data in files]), np.mean(scores)]), seconds


if __name__ == "__main__":
    main(list(map(Path, sys.argv[1:])))
