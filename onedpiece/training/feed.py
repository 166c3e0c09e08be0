"""Batches for training.

On a CPU, a thread prepares them ahead; on a GPU, all pictures are in its memory and a batch is one
gather. A batch depends on seed, step and pictures only, so that a resumed run sees the same ones.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from dataclasses import dataclass
from itertools import count
from queue import Empty, Queue

import numpy as np
import torch
from torch import Tensor

from onedpiece.constants import MAX_TOKENS, TILE
from onedpiece.training.data import Crops, Pictures
from onedpiece.training.distributed import Process
from onedpiece.training.drawings import draw
from onedpiece.training.recipe import Recipe

PREFETCH = 4  # batches
DRAWINGS = 256  # different ones in a run
# Streams of random numbers, apart from each other and from that of the crops.
DRAWING_STREAM, PLACEMENT_STREAM = 1, 2
ALL_PICTURES = Process()


@dataclass(frozen=True)
class Batch:
    """What a step trains on.

    pixels:     uint8 (B, 256, 256, 3).
    num_tokens: int64 (B,), tokens that the decoder gets of each picture, 1..256.
    """

    pixels: Tensor
    num_tokens: Tensor

    def targets(self) -> Tensor:
        """The pictures as float (B, 3, 256, 256) in 0..1."""
        return self.pixels.permute(0, 3, 1, 2).float() / 255


def draw_lengths(count: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of tokens for Tail Token Drop (paper, section 3.2): int64 (count,) in 1..256.

    Half of them are uniform, half log-uniform.
    """
    uniform = rng.integers(1, MAX_TOKENS + 1, count)
    log_uniform = np.floor(np.exp(rng.random(count) * np.log(MAX_TOKENS + 1))).astype(np.int64)
    return np.where(rng.random(count) < 0.5, uniform, log_uniform.clip(1, MAX_TOKENS))


def draw_batch(index: np.ndarray, recipe: Recipe, step: int) -> tuple[Crops, Tensor]:
    """Crops and numbers of tokens of a step; `index` is that of the pictures."""
    rng = np.random.default_rng((recipe.seed, step))
    crops = Crops.draw(index, rng.integers(len(index), size=recipe.batch), rng)
    num_tokens = draw_lengths(recipe.batch, rng)
    if recipe.one_length:
        num_tokens = np.full(recipe.batch, rng.integers(1, MAX_TOKENS + 1))
    return crops, torch.from_numpy(num_tokens)


def feed(
    pictures: Pictures,
    recipe: Recipe,
    step: int,
    device: torch.device,
    process: Process = ALL_PICTURES,
) -> Generator[Batch]:
    """Batches from `step` on, on the device; of each, the slice of this process."""
    source = _from_device if device.type == "cuda" else _from_thread
    batches = source(pictures, recipe, step, device, process)
    return _with_drawings(batches, recipe, step, device, process) if recipe.drawings else batches


def _with_drawings(
    batches: Generator[Batch], recipe: Recipe, step: int, device: torch.device, process: Process
) -> Generator[Batch]:
    """Replace a fraction of the pictures by drawings."""
    rng = np.random.default_rng((recipe.seed, 0, DRAWING_STREAM))
    drawings = torch.from_numpy(np.stack([draw(rng) for _ in range(DRAWINGS)])).to(device)
    with contextlib.closing(batches):
        for number, batch in zip(count(step), batches, strict=False):
            rng = np.random.default_rng((recipe.seed, number, PLACEMENT_STREAM))
            which = rng.integers(DRAWINGS, size=recipe.batch)[process.local_slice]
            replaced = (rng.random(recipe.batch) < recipe.drawings)[process.local_slice]
            rows = torch.from_numpy(np.flatnonzero(replaced)).to(device)
            batch.pixels[rows] = drawings[torch.from_numpy(which[replaced]).to(device)]
            yield batch


def _local_batch(
    index: np.ndarray, recipe: Recipe, step: int, process: Process
) -> tuple[Crops, Tensor]:
    """The slice of this process of `draw_batch`."""
    crops, num_tokens = draw_batch(index, recipe, step)
    rows = process.local_slice
    return (
        Crops(crops.picture[rows], crops.top[rows], crops.left[rows], crops.mirror[rows]),
        num_tokens[rows],
    )


def _from_thread(
    pictures: Pictures, recipe: Recipe, step: int, device: torch.device, process: Process
) -> Generator[Batch]:
    ready: Queue[Batch | Exception] = Queue(maxsize=PREFETCH)
    stop = threading.Event()

    def prepare() -> None:
        try:
            for number in count(step):
                crops, num_tokens = _local_batch(pictures.index, recipe, number, process)
                ready.put(Batch(torch.from_numpy(pictures.crops(crops)), num_tokens))
                if stop.is_set():
                    return
        except Exception as error:
            ready.put(error)

    thread = threading.Thread(target=prepare, daemon=True)
    thread.start()
    try:
        while True:
            batch = ready.get()
            if isinstance(batch, Exception):
                raise batch
            yield batch
    finally:
        stop.set()
        while thread.is_alive():  # it may be blocked on a full queue
            with contextlib.suppress(Empty):
                ready.get(timeout=0.1)


def _from_device(
    pictures: Pictures, recipe: Recipe, step: int, device: torch.device, process: Process
) -> Generator[Batch]:
    # The pixels are a read-only memory map, which torch.from_numpy warns about: hence the copy.
    flat = torch.from_numpy(np.asarray(pictures.pixels).copy()).to(device)
    for number in count(step):
        crops, num_tokens = _local_batch(pictures.index, recipe, number, process)
        yield Batch(gather_crops(flat, pictures.index, crops), num_tokens.to(device))


def gather_crops(flat: Tensor, index: np.ndarray, crops: Crops) -> Tensor:
    """Crops (B, 256, 256, 3) of pictures that lie end to end in `flat`, uint8 (bytes,)."""
    offset, _, width = index[crops.picture].T
    start = torch.from_numpy(offset + 3 * (crops.top * width + crops.left)).to(flat.device)
    stride = torch.from_numpy(3 * width).to(flat.device)
    rows = start[:, None] + stride[:, None] * torch.arange(TILE, device=flat.device)
    squares = flat[rows[:, :, None] + torch.arange(3 * TILE, device=flat.device)]
    squares = squares.reshape(-1, TILE, TILE, 3)
    mirror = torch.from_numpy(crops.mirror).to(flat.device)
    return torch.where(mirror[:, None, None, None], squares.flip(2), squares)
