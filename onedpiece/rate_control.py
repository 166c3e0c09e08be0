"""Rate control: how fine the tiles of a picture are, and how many tokens each of them gets."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from onedpiece.bitstream.allocation import LEVELS, STEPS_PER_OCTAVE, Allocation
from onedpiece.bitstream.header import Header
from onedpiece.constants import (
    DEFAULT_TOKEN_SET,
    MAX_PIXELS,
    MAX_SIDE,
    MAX_TOKENS,
    MAX_TOKENS_OF_PICTURE,
    TILE,
)
from onedpiece.encoded_image import EncodedImage
from onedpiece.errors import OdpError, TargetNotReached

CELL = 16  # pixels; tokens are spent on detail that is finer than a cell
SMALLEST_ERROR = 5.0  # squared; a flat tile needs some tokens too
DECAY = 0.43  # without a sketch, errors are taken to fall with this power of the tokens
TOKEN_BITS = 11  # of a token in a file, about
REPAIRED = 0.6  # decibels by which a decoded picture is better than its sketch, about
ROUNDING = (0.25, 0.5, 0.75, 1.0)  # what is added to levels before their fractions are dropped
PRICES = (-40.0, 40.0)  # of a token, as powers of two
PRICE_STEPS = 30  # of bisection
NO_LIMIT = 1 << 62  # bytes


@dataclass(frozen=True)
class Densities:
    """Which densities of the tiles an encoder tries, coarsest first, as measured (docs/format.md).

    crowded: it tries finer tiles if a picture uses more than this share of the tokens that its
        tiles can hold.
    """

    densities: tuple[int, ...]
    crowded: float


NATURAL = Densities((1, 2), crowded=0.6)
"""For pictures that may be decoded with any realism: finer tiles look less natural."""
LEAST_ERROR = Densities((1, 2, 3), crowded=0.3)


@dataclass(frozen=True)
class Target:
    """What an encoded picture must have: exactly one of the first four.

    tokens:    tokens for each tile that the picture has at density 1, 1 to 1024, or as many as it
        can have if that is less; with `adaptive` their mean.
    max_bytes: limit for the whole file; the file is as large as possible below it.
    bpp:       the same limit in bits per pixel.
    psnr:      at least this many decibels, over RGB, with as few tokens as possible.
    adaptive:  give more tokens to tiles that have more detail; always on with max_bytes, bpp and
        psnr.

    Raises ValueError if not exactly one is given or one is out of range, TypeError for something
    that is not a number.
    """

    tokens: int | None = None
    max_bytes: int | None = None
    bpp: float | None = None
    psnr: float | None = None
    adaptive: bool = False

    def __post_init__(self) -> None:
        for name in ("tokens", "max_bytes"):
            if getattr(self, name) is not None:  # integers of numpy become Python's
                object.__setattr__(self, name, operator.index(getattr(self, name)))
        given = (self.tokens, self.max_bytes, self.bpp, self.psnr)
        if sum(value is not None for value in given) != 1:
            raise ValueError("give exactly one of tokens, max_bytes, bpp and psnr")
        if self.tokens is not None and not 1 <= self.tokens <= MAX_TOKENS_OF_PICTURE:
            raise ValueError(f"tokens must be 1 to {MAX_TOKENS_OF_PICTURE}")
        if not all(value is None or 0 < value < float("inf") for value in given):
            raise ValueError("a target must be a number above 0")
        if self.tokens is None:
            object.__setattr__(self, "adaptive", True)

    def bytes_for(self, pixels: int) -> int | None:
        """The file size that `max_bytes` or `bpp` allows for this number of pixels, else None."""
        if self.bpp is None:
            return self.max_bytes
        return int(min(self.bpp * pixels / 8, NO_LIMIT))


def densities(
    width: int, height: int, target: Target, usable: Densities, max_pixels: int = MAX_PIXELS
) -> list[int]:
    """The densities to try for a picture of this size in pixels, coarsest first.

    max_pixels: that readers accept (`Header.decoded_pixels`).
    """
    tiles: dict[int, int] = {}
    for density in usable.densities:
        if density == 1 or _is_possible(width, height, density, max_pixels):
            header = Header.for_picture(width, height, 1, DEFAULT_TOKEN_SET, density=density)
            if header.grid.count > max(tiles.values(), default=0):
                tiles[density] = header.grid.count
    if target.tokens is None:
        return list(tiles)
    total = target.tokens * tiles[1]
    enough = [density for density, count in tiles.items() if total <= MAX_TOKENS * count]
    if not enough:
        return [max(tiles)]
    return enough if target.adaptive else enough[:1]


def _is_possible(width: int, height: int, density: int, max_pixels: int) -> bool:
    """Whether a file can have this density, and readers accept it."""
    most = min(max_pixels, MAX_PIXELS) // density**2
    return density * max(width, height) <= MAX_SIDE and width * height <= most


def may_be_better_finer(image: EncodedImage, usable: Densities) -> bool:
    """Whether finer tiles, and fewer tokens for each, may give a better picture of as many bytes.

    They may if most of the tokens that the tiles can have are used.
    """
    return image.allocation.total > usable.crowded * MAX_TOKENS * image.header.grid.count


def meet(
    full: EncodedImage, target: Target, measure_psnr: Callable[[EncodedImage], float]
) -> EncodedImage:
    """The picture with as many of its tokens as the target asks for.

    full:         the picture with all tokens that it may have.
    measure_psnr: decibels of a picture when it is decoded; called only for a target in decibels.

    Raises TargetNotReached if the target cannot be met.
    """
    if target.tokens is not None:
        most = full.allocation.total // full.header.base_tiles
        return full.truncate(min(target.tokens, most))
    max_bytes = target.bytes_for(full.header.pixels)
    if max_bytes is not None:
        return _fit(full, max_bytes)
    assert target.psnr is not None
    return _reach(full, target.psnr, measure_psnr)


def _fit(full: EncodedImage, max_bytes: int) -> EncodedImage:
    """As many tokens as fit. Raises TargetNotReached."""
    try:
        return full.truncate(max_bytes=max_bytes)
    except OdpError:
        pass  # the levels of the tiles take some bytes themselves
    try:
        return full.with_equal_counts().truncate(max_bytes=max_bytes)
    except OdpError as error:
        raise TargetNotReached(str(error)) from None


def _reach(
    full: EncodedImage, psnr: float, measure_psnr: Callable[[EncodedImage], float]
) -> EncodedImage:
    """The fewest tokens, by bisection, that decode with `psnr` decibels.

    Raises TargetNotReached.
    """
    most = full.allocation.total // full.header.base_tiles
    best = measure_psnr(full.truncate(most))
    if best < psnr:
        raise TargetNotReached(f"{psnr:g} dB cannot be reached: {most} tokens give {best:.2f} dB")
    least = -(-full.header.grid.count // full.header.base_tiles)  # one token for each tile
    too_few, enough = least - 1, most
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if measure_psnr(full.truncate(middle)) >= psnr:
            enough = middle
        else:
            too_few = middle
    return full.truncate(enough)


def guessed_errors(tiles: np.ndarray) -> np.ndarray:
    """Roughly how the errors of tiles fall with their tokens, (B, 257), where there is no sketch.

    tiles: uint8 (B, 256, 256, 3). Errors are proportional to the detail of a tile: the squared
    error of replacing cells by their means.
    """
    cells = tiles.reshape(-1, TILE // CELL, CELL, TILE // CELL, CELL, 3).astype(np.float32)
    detail = ((cells - cells.mean((2, 4), keepdims=True)) ** 2).mean((1, 2, 3, 4, 5))
    counts = np.arange(MAX_TOKENS + 1).clip(min=1)
    scale = 3 * TILE**2 / 255**2  # from means over pixels of 0..255 to sums over pixels of 0..1
    errors: np.ndarray = scale * (detail[:, None] + SMALLEST_ERROR) * counts**-DECAY
    return errors


def expected_tokens(target: Target, header: Header, errors: np.ndarray) -> int:
    """About how many tokens the target needs.

    errors: (tiles, 257), as `levels` takes them, of pixels in 0..1.
    """
    tiles = header.grid.count
    max_bytes = target.bytes_for(header.pixels)
    if target.tokens is not None:
        total = target.tokens * header.base_tiles
    elif max_bytes is not None:
        total = 8 * max_bytes // TOKEN_BITS
    else:
        assert target.psnr is not None
        visible = sum(width * height for width, height in header.grid.valid_sizes())
        allowed = 3 * visible * 10 ** ((REPAIRED - target.psnr) / 10)
        total = tiles * int((errors.sum(0) > allowed).sum())
    return max(tiles, min(total, tiles * MAX_TOKENS))


def levels(errors: np.ndarray, total: int) -> tuple[int, ...] | None:
    """Levels of an `Allocation` with which so many tokens leave little error.

    errors: (tiles, 257), squared error of the visible part of each tile by its number of tokens.
    total:  tokens of all tiles.

    None if the tiles are as good with equally many tokens.
    """
    steps = STEPS_PER_OCTAVE * np.log2(_best_counts(errors, total))
    choices: list[tuple[int, ...] | None] = [None]
    for offset in ROUNDING:
        rounded = np.floor(steps - steps.max() + offset).astype(int)
        rounded += LEVELS - 1 - rounded.max()
        if rounded.min() < rounded.max():
            choices.append(tuple(rounded.clip(min=0).tolist()))
    return min(choices, key=lambda choice: _error(errors, Allocation(total, choice)))


def _best_counts(errors: np.ndarray, total: int) -> np.ndarray:
    """The number of tokens of each tile, (tiles,), at least 1, that leaves the least error.

    A token has one price for all tiles, with which about `total` tokens are worth it.
    """
    counts = np.arange(1, MAX_TOKENS + 1)
    best = counts[:0]
    cheap, dear = PRICES
    for _ in range(PRICE_STEPS):
        price = (cheap + dear) / 2
        best = counts[(errors[:, 1:] + 2**price * counts).argmin(1)]
        if best.sum() > total:
            cheap = price
        else:
            dear = price
    return best


def _error(errors: np.ndarray, allocation: Allocation) -> float:
    tiles = len(errors)
    tile, _ = allocation.sequence(tiles, allocation.total)
    return float(errors[np.arange(tiles), np.bincount(tile, minlength=tiles)].sum())
