"""Batches for training: from a thread beside a CPU, or cut out of pictures that lie in a GPU's memory.

What a batch holds is a pure function of (seed, step) and of the pictures, so that a resumed run goes on exactly.
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
import torch.nn.functional as F
from torch import Tensor

from onedpiece.constants import MAX_TOKENS, TILE
from onedpiece.training.data import Crops, Pictures
from onedpiece.training.distributed import Share
from onedpiece.training.drawings import draw
from onedpiece.training.losses import draw_lengths
from onedpiece.training.recipe import Recipe

AHEAD = 4  # batches prepared before they are needed
DRAWINGS = 256  # different ones in a run
WHAT_IS_DRAWN, WHEN = (
    1,
    2,
)  # keep their random numbers apart from each other's and from those of crops


@dataclass(frozen=True)
class Batch:
    """What a step learns from.

    pixels: uint8 (B, 256, 256, 3).
    keep:   int64 (B,), tokens to keep of each picture, 1..256.
    zoom:   float32 (B,), 1..2, how much to enlarge each picture.
    """

    pixels: Tensor
    keep: Tensor
    zoom: Tensor

    def targets(self) -> Tensor:
        """The pictures as they are to be coded: float (B, 3, 256, 256) in 0..1."""
        pixels = self.pixels.permute(0, 3, 1, 2).float() / 255
        if bool((self.zoom > 1).any()):
            pixels = enlarge(pixels, self.zoom)
        return pixels


def enlarge(pixels: Tensor, zoom: Tensor) -> Tensor:
    """The middle of each picture, enlarged bicubically: pixels (B, 3, H, W), zoom (B,) -> (B, 3, H, W)."""
    matrix = torch.zeros(len(zoom), 2, 3, device=pixels.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1 / zoom
    grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
    chosen = zoom > 1  # interpolation at the same scale would still round
    enlarged = F.grid_sample(pixels, grid, "bicubic", "reflection", align_corners=False)
    return torch.where(chosen[:, None, None, None], enlarged.clamp(0, 1), pixels)


def draw_batch(index: np.ndarray, recipe: Recipe, step: int) -> tuple[Crops, Tensor, Tensor]:
    """Crops, lengths and zooms of a step; `index` is that of the pictures."""
    rng = np.random.default_rng((recipe.seed, step))
    crops = Crops.draw(index, rng.integers(len(index), size=recipe.batch), rng)
    keep = draw_lengths(recipe.batch, rng)
    if recipe.one_length:
        keep = np.full(recipe.batch, rng.integers(1, MAX_TOKENS + 1))
    zoomed = rng.random(recipe.batch) < recipe.zoomed
    zoom = np.where(zoomed, 1 + rng.random(recipe.batch), 1).astype(np.float32)
    return crops, torch.from_numpy(keep), torch.from_numpy(zoom)


def feed(
    pictures: Pictures,
    recipe: Recipe,
    step: int,
    device: torch.device,
    share: Share = Share(),  # noqa: B008  (it is frozen)
) -> Generator[Batch]:
    """Batches from `step` on, on the device: of each, the share of this process."""
    source = _from_device if device.type == "cuda" else _from_thread
    batches = source(pictures, recipe, step, device, share)
    return _with_drawings(batches, recipe, step, device, share) if recipe.drawn else batches


def _with_drawings(
    batches: Generator[Batch], recipe: Recipe, step: int, device: torch.device, share: Share
) -> Generator[Batch]:
    """Puts drawings in place of some pictures."""
    rng = np.random.default_rng((recipe.seed, 0, WHAT_IS_DRAWN))
    drawings = torch.from_numpy(np.stack([draw(rng) for _ in range(DRAWINGS)])).to(device)
    with contextlib.closing(batches):
        for ahead, batch in zip(count(step), batches, strict=False):
            rng = np.random.default_rng((recipe.seed, ahead, WHEN))
            which = rng.integers(DRAWINGS, size=recipe.batch)[share.part]
            drawn = (rng.random(recipe.batch) < recipe.drawn)[share.part]
            places = torch.from_numpy(np.flatnonzero(drawn)).to(device)
            batch.pixels[places] = drawings[torch.from_numpy(which[drawn]).to(device)]
            yield batch


def _draw_share(
    index: np.ndarray, recipe: Recipe, step: int, share: Share
) -> tuple[Crops, Tensor, Tensor]:
    """Every so many-th picture of the step, so that all processes together have the batch of one."""
    crops, keep, zoom = draw_batch(index, recipe, step)
    mine = share.part
    crops = Crops(crops.picture[mine], crops.top[mine], crops.left[mine], crops.mirror[mine])
    return crops, keep[mine], zoom[mine]


def _from_thread(
    pictures: Pictures, recipe: Recipe, step: int, device: torch.device, share: Share
) -> Generator[Batch]:
    ready: Queue[Batch | Exception] = Queue(maxsize=AHEAD)

    stop = threading.Event()

    def prepare() -> None:
        try:
            for ahead in count(step):
                crops, keep, zoom = _draw_share(pictures.index, recipe, ahead, share)
                ready.put(Batch(torch.from_numpy(pictures.crops(crops)), keep, zoom))
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
        while thread.is_alive():  # it may be waiting for room
            with contextlib.suppress(Empty):
                ready.get(timeout=0.1)


def _from_device(
    pictures: Pictures, recipe: Recipe, step: int, device: torch.device, share: Share
) -> Generator[Batch]:
    # The array is a read-only map of a file; the copy to the device is all that is made of it.
    flat = torch.from_numpy(np.asarray(pictures.pixels).copy()).to(device)
    while True:
        crops, keep, zoom = _draw_share(pictures.index, recipe, step, share)
        yield Batch(cut_out(flat, pictures.index, crops), keep.to(device), zoom.to(device))
        step += 1


def cut_out(flat: Tensor, index: np.ndarray, crops: Crops) -> Tensor:
    """Crops (B, 256, 256, 3) from all pictures end to end, flat uint8 (bytes,), on its device, in one gather."""
    offset, _, width = index[crops.picture].T
    start = torch.from_numpy(offset + 3 * (crops.top * width + crops.left)).to(flat.device)
    stride = torch.from_numpy(3 * width).to(flat.device)
    rows = start[:, None] + stride[:, None] * torch.arange(TILE, device=flat.device)
    squares = flat[rows[:, :, None] + torch.arange(3 * TILE, device=flat.device)]
    squares = squares.reshape(-1, TILE, TILE, 3)
    mirror = torch.from_numpy(crops.mirror).to(flat.device)
    return torch.where(mirror[:, None, None, None], squares.flip(2), squares)
