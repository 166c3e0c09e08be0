"""Sweep over the shape of spectral tokens, compared at equal bytes.

    python -m onedpiece.bench.ablations.spectral_sweep CACHE EVALUATION DATA... DIM,LAMBDA...

For each number of coefficients per token (DIM) and price of a bit (LAMBDA), the tables are fitted
to the pictures in DATA (folders or tar files), and the pictures in the folder EVALUATION are coded.
PSNR is that of the spectral picture, without a decoder; bytes are those of the payload. CACHE is
the folder in which training keeps its pictures.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onedpiece.tokenizer.config import Spectral
from onedpiece.tokenizer.spectral import SpectralQuantizer
from onedpiece.training.data import Pictures
from onedpiece.training.evaluate import load_folder
from onedpiece.training.fit import fit

LENGTHS = (16, 32, 64, 128, 192, 256)
BYTES = (24, 48, 96, 192, 300)


def main(cache: Path, evaluation: Path, data: list[Path], shapes: list[Spectral]) -> None:
    """Print a row per shape: PSNR, interpolated over the logarithm of bytes."""
    pictures = Pictures.open(data, cache)
    pixels = load_folder(evaluation).permute(0, 3, 1, 2).float() / 255
    rows = ["| coefficients, lambda | " + " | ".join(f"{size} B" for size in BYTES) + " | all |"]
    rows.append("|---" * (len(BYTES) + 2) + "|")
    for shape in shapes:
        sizes, scores = _curve(fit(shape, pictures), pixels)
        interpolated = np.interp(np.log(BYTES), np.log(sizes), scores, right=np.nan)
        cells = " | ".join(f"{value:.2f}" for value in interpolated)
        last = f"{scores[-1]:.2f} dB in {sizes[-1]:.0f} B"
        rows.append(f"| {shape.dim}, {shape.lambda_:g} | {cells} | {last} |")
    print("\n".join(rows))


@torch.no_grad()
def _curve(quantizer: SpectralQuantizer, pixels: Tensor) -> tuple[list[float], list[float]]:
    """Mean bytes and mean PSNR at each of LENGTHS. pixels: (N, 3, 256, 256) in 0..1."""
    sizes, scores = [], []
    tokens = quantizer.tokens(quantizer.analyse(pixels))
    bits = quantizer.bits()[quantizer.block_of, tokens].cumsum(1)
    for length in LENGTHS:
        prefix = tokens[:, :length]
        coefficients = quantizer.coefficients(prefix, quantizer.codes(prefix))
        decoded = quantizer.synthesise(coefficients, quantizer.basis).clamp(0, 1)
        error = (decoded - pixels).square().flatten(1).mean(1)
        sizes.append(float(bits[:, length - 1].mean()) / 8)
        scores.append(float(-10 * error.log10().mean()))
    return sizes, scores


def _shape(text: str) -> Spectral:
    dim, lambda_ = text.split(",")
    return Spectral(dim=int(dim), lambda_=float(lambda_))


if __name__ == "__main__":
    sources = [Path(text) for text in sys.argv[3:] if "," not in text]
    shapes = [_shape(text) for text in sys.argv[3:] if "," in text]
    main(Path(sys.argv[1]), Path(sys.argv[2]), sources, shapes)
