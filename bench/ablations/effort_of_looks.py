"""What `odp encode --effort` with `--lpips` gains and costs.

    python -m onedpiece.bench.ablations.effort_of_looks LPIPS PICTURES...

LPIPS is the folder of weights that `odp encode --lpips` reads. The search lowers LPIPS, so LPIPS
measures nothing here; EfficientNet-Lite1 takes no part in it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from onedpiece.bench import Protocol
from onedpiece.bench.ablations.realism import print_line
from onedpiece.bench.metrics import available
from onedpiece.bench.protocol import read
from onedpiece.bench.recognition import Judge
from onedpiece.bench.timing import machine
from onedpiece.codec import Codec
from onedpiece.images.picture import Picture
from onedpiece.metrics import psnr
from onedpiece.search import ROUNDS

LENGTHS = (16, 64, 256)
COLUMNS = ("tokens", "effort", "bytes", "EfficientNet-Lite1", "LPIPS", "PSNR", "PSNR, realism 0")


def main(lpips: Path, paths: Sequence[Path]) -> None:
    """Print a row for each number of tokens and each effort."""
    pictures = [read(path, Protocol.paper) for path in paths]
    codec, judge = Codec(lpips=lpips), Judge()
    known = judge.scores([picture.pixels for picture in pictures])
    metric = next(one for one in available(lpips)[0] if one.name == "lpips_squeeze")
    print(f"{machine()}; {len(pictures)} pictures, one after the other, whole files\n")
    print_line(*COLUMNS, "s a picture")
    print_line(*["---"] * (len(COLUMNS) + 1))
    for tokens in LENGTHS:
        for effort in ROUNDS:
            start = time.perf_counter()
            files = [codec.encode_pictures([one], tokens, effort=effort)[0] for one in pictures]
            seconds = (time.perf_counter() - start) / len(pictures)
            real, least = (
                [one.pixels for one in codec.decode_pictures(files, realism=realism)]
                for realism in (1, 0)
            )
            distances = [
                metric.score(one.pixels, two) for one, two in zip(pictures, real, strict=True)
            ]
            size = np.mean([len(file.to_bytes()) for file in files])
            recognised = judge.compare(known, real).cosine
            numbers = f"{size:.1f}", f"{recognised:.3f}", f"{np.mean(distances):.3f}"
            decibels = (f"{_psnr(pictures, decoded):.2f}" for decoded in (real, least))
            print_line(str(tokens), str(effort), *numbers, *decibels, f"{seconds:.1f}")


def _psnr(pictures: Sequence[Picture], decoded: Sequence[np.ndarray]) -> float:
    pairs = zip(pictures, decoded, strict=True)
    return float(np.mean([psnr(picture.pixels, pixels) for picture, pixels in pairs]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
