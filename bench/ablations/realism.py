"""What realism costs and gains, by several metrics and by a network that no loss has seen.

    python -m onedpiece.bench.ablations.realism FOLDER LPIPS [TEACHER]

FOLDER holds pictures, of which the central squares are used; LPIPS is the folder of weights that
`odp bench rd --lpips` reads. With TEACHER, the weights of Real-ESRGAN x4plus, what that network
paints is judged in the same way. WebP files are at most as large as those of `odp`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from onedpiece.bench import Protocol
from onedpiece.bench.codecs import Ladder, available
from onedpiece.bench.metrics import available as available_metrics
from onedpiece.bench.odp import Odp
from onedpiece.bench.protocol import read
from onedpiece.bench.recognition import Judge

LENGTHS = (16, 32, 64, 128, 256)
AMOUNTS = (0.0, 0.5, 1.0)
METRICS = ("psnr", "ssim", "lpips_squeeze")
COLUMNS = ("PSNR", "SSIM", "LPIPS", "EfficientNet-Lite1", "same class")

Pixels = list[np.ndarray]
Scores = Callable[[Pixels], list[str]]


def main(folder: Path, lpips: Path, teacher: Path | None = None) -> None:
    """Print a table: for each number of tokens, the scores of each realism and of the others."""
    pictures = [read(path, Protocol.paper) for path in sorted(folder.iterdir())]
    codecs = {amount: Odp(device="auto", realism=amount) for amount in AMOUNTS}
    scores = scores_of([picture.pixels for picture in pictures], lpips)
    print_line("tokens", "picture", *COLUMNS)
    print_line(*["---"] * (2 + len(COLUMNS)))
    for tokens in LENGTHS:
        files = codecs[0.0].encode_many(pictures, tokens)
        for amount, codec in codecs.items():
            decoded = codec.decode_many(files)
            print_line(str(tokens), f"realism {amount:g}", *scores(decoded))
            if amount == 0 and teacher:
                print_line(str(tokens), "Real-ESRGAN", *scores(_taught(decoded, tokens, teacher)))
        pairs = zip(pictures, files, strict=True)
        webp = [webp_picture(picture.pixels, len(file)) for picture, file in pairs]
        written = [pixels for pixels in webp if pixels is not None]
        if len(written) == len(pictures):
            print_line(str(tokens), "WebP", *scores(written))


def scores_of(originals: Pixels, lpips: Path) -> Scores:
    """A function that returns the mean scores of decoded pictures, in the order of COLUMNS."""
    metrics = [metric for metric in available_metrics(lpips)[0] if metric.name in METRICS]
    judge = Judge()
    known = judge.scores(originals)

    def score(decoded: Pixels) -> list[str]:
        pairs = list(zip(originals, decoded, strict=True))
        means = [np.mean([metric.score(*pair) for pair in pairs]) for metric in metrics]
        seen = judge.compare(known, decoded)
        return [*(f"{mean:.3f}" for mean in means), f"{seen.cosine:.3f}", f"{seen.same:.0%}"]

    return score


def _taught(decoded: Sequence[np.ndarray], tokens: int, weights: Path) -> Pixels:
    """What the teacher paints from least-error pictures."""
    import torch

    from onedpiece.training.precision import autocast
    from onedpiece.training.teacher import load_restoration, teach

    network = load_restoration(weights)
    with torch.inference_mode(), autocast(torch.device("cpu")):
        batches = [torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255 for pixels in decoded]
        painted = [teach(network, batch, tokens)[0] for batch in batches]
    return [(255 * pixels.permute(1, 2, 0)).round().byte().numpy() for pixels in painted]


def webp_picture(pixels: np.ndarray, size: int) -> np.ndarray | None:
    """The picture of the best WebP file of at most so many bytes; None if none is so small."""
    (format,) = [format for format in available()[0] if format.name == "webp"]
    best = Ladder(format, pixels).best(size)
    return best.pixels if best else None


def print_line(*cells: str) -> None:
    """A line of a Markdown table."""
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
