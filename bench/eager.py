"""A published model as someone would run it who has the weights and PyTorch.

    python -m onedpiece.bench.eager encode MODEL PICTURE TOKENS.npy THREADS
    python -m onedpiece.bench.eager decode MODEL TOKENS.npy PICTURE THREADS

MODEL is a model directory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from onedpiece.models.registry import Model, read_model
from onedpiece.runtime.torch import TorchRuntime
from onedpiece.tokenizer import pixels, vit


@contextmanager
def eager(model: Model, threads: int, device: str = "cpu") -> Iterator[TorchRuntime]:
    """PyTorch without the shortcuts of this project's modules.

    These compute only the rows of the transformer that are needed, and fold the enlargement of
    pixels into the convolution after it. Both are replaced until the context ends.
    """
    torch.set_num_threads(threads)
    shortcuts = vit.run_blocks, pixels.upsample_and_convolve
    vit.run_blocks, pixels.upsample_and_convolve = _all_rows, _enlarge_and_convolve
    try:
        yield TorchRuntime(model, device)
    finally:
        vit.run_blocks, pixels.upsample_and_convolve = shortcuts


def _all_rows(blocks: nn.ModuleList, x: Tensor, rows: slice, bias: Tensor | None = None) -> Tensor:
    for block in blocks:
        x = block(x, bias)
    return x[:, rows]


def _enlarge_and_convolve(x: Tensor, conv: nn.Conv2d) -> Tensor:
    return conv(F.interpolate(x, scale_factor=2.0))


def main(verb: str, folder: str, source: str, out: str, threads: str) -> None:
    """Read a picture or tokens, load the model, run it, and write the result."""
    with eager(read_model(Path(folder)), int(threads)) as runtime:
        if verb == "encode":
            picture = np.asarray(Image.open(source).convert("RGB"))
            np.save(out, runtime.encode(picture[None]))
        else:
            decoded = runtime.decode(np.load(source))[0].round().astype(np.uint8)
            Image.fromarray(decoded).save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
