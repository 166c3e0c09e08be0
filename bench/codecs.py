"""Conventional codecs at their best for a byte budget: scaled down, encoded with Pillow, scaled up again."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, features

from onedpiece.bench.metrics import psnr

SCALES = (16, 24, 32, 48, 64, 96, 128, 192, 256)  # short edges in pixels that are tried
QUALITIES = range(101)


@dataclass(frozen=True)
class Conventional:
    """A format of Pillow's with the options that make its files smallest."""

    name: str
    options: tuple[tuple[str, object], ...]

    def encode(self, image: Image.Image, quality: int) -> bytes:
        out = io.BytesIO()
        image.save(out, self.name, quality=quality, **dict(self.options))
        return out.getvalue()


@dataclass(frozen=True)
class Coded:
    """What a codec made of a picture: whole file size in bytes, and the decoded pixels, uint8 (H, W, 3)."""

    size: int
    pixels: np.ndarray


def available() -> list[Conventional]:
    """The codecs that this machine's Pillow has."""
    codecs = [
        Conventional("JPEG", (("optimize", True), ("progressive", False), ("subsampling", 2)))
    ]
    if features.check("webp"):
        codecs.append(Conventional("WEBP", (("method", 6),)))
    if features.check("avif"):
        codecs.append(Conventional("AVIF", (("speed", 4), ("subsampling", "4:2:0"))))
    return codecs


class Ladder:
    """All files worth having of one picture: for each scale, the smaller ones by bisection over quality."""

    def __init__(self, codec: Conventional, pixels: np.ndarray) -> None:
        self._codec, self._pixels = codec, pixels
        image = Image.fromarray(pixels)
        factors = [short / min(image.size) for short in SCALES if short <= min(image.size)]
        self._scaled = [image.resize(_size(image, f), Image.Resampling.LANCZOS) for f in factors]
        self._files: dict[tuple[int, int], bytes] = {}

    def best(self, budget: int) -> Coded | None:
        """The file of at most `budget` bytes with the highest PSNR; None if even the smallest is larger."""
        candidates = [self._fitting(rung, budget) for rung in range(len(self._scaled))]
        decoded = [self._decode(data) for data in candidates if data is not None]
        return max(decoded, key=lambda coded: psnr(self._pixels, coded.pixels), default=None)

    def _fitting(self, rung: int, budget: int) -> bytes | None:
        """The highest quality at this scale that fits, if sizes grow with quality (they nearly do)."""
        low, high = QUALITIES[0], QUALITIES[-1]
        if len(self._file(rung, low)) > budget:
            return None
        while low < high:
            middle = (low + high + 1) // 2
            if len(self._file(rung, middle)) <= budget:
                low = middle
            else:
                high = middle - 1
        return self._file(rung, low)

    def _file(self, rung: int, quality: int) -> bytes:
        if (rung, quality) not in self._files:
            self._files[rung, quality] = self._codec.encode(self._scaled[rung], quality)
        return self._files[rung, quality]

    def _decode(self, data: bytes) -> Coded:
        size = (self._pixels.shape[1], self._pixels.shape[0])
        image = Image.open(io.BytesIO(data)).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        return Coded(len(data), np.asarray(image))


def _size(image: Image.Image, factor: float) -> tuple[int, int]:
    return max(1, round(image.width * factor)), max(1, round(image.height * factor))
