"""The codec under test: the calls of its Python API that the measurements need, in one place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onedpiece.codec import Codec
from onedpiece.constants import MAX_TOKENS
from onedpiece.encoded_image import EncodedImage
from onedpiece.entropy import Tables
from onedpiece.images.picture import Picture
from onedpiece.models.registry import DEFAULT, Model
from onedpiece.rate_control import Target


class Odp:
    """Encodes and decodes with one model.

    model: name of an installed model, or a model directory.
    device: "auto", "cpu" or "cuda".
    threads: CPU threads of the networks; all cores if None.
    effort: 1 to 3; above 1, encoding searches for better tokens.
    realism: 0 (least squared error) to 1 (looks real).

    Raises UnknownModel, ModelError or DeviceError.
    """

    def __init__(
        self,
        model: str = DEFAULT,
        device: str = "cpu",
        threads: int | None = None,
        effort: int = 1,
        realism: float = 1.0,
    ) -> None:
        self._codec = Codec(model, device, threads)
        self._effort, self._realism = effort, realism

    @property
    def model(self) -> Model:
        """The model that encodes."""
        return self._codec.model

    def encode(
        self, picture: Picture, tokens: int | None = None, max_bytes: int | None = None
    ) -> bytes:
        """A file with so many tokens per tile, or the largest of at most `max_bytes` bytes.

        Raises ValueError unless exactly one of the two is given, OdpError if no file is so small.
        """
        target = Target(tokens=tokens, max_bytes=max_bytes)
        return self._encode([picture], target)[0]

    def encode_many(self, pictures: Sequence[Picture], tokens: int = MAX_TOKENS) -> list[bytes]:
        """Files with so many tokens per tile; tiles of several pictures share batches."""
        return self._encode(pictures, Target(tokens))

    def _encode(self, pictures: Sequence[Picture], target: Target) -> list[bytes]:
        images = self._codec.encode_pictures(pictures, target, effort=self._effort)
        return [image.to_bytes() for image in images]

    def decode(self, data: bytes, tokens: int | None = None) -> NDArray[np.uint8]:
        """The pixels (H, W, 3) of a file, from at most so many tokens per tile. Raises OdpError."""
        return self.decode_many([data], tokens)[0]

    def decode_many(
        self, files: Sequence[bytes], tokens: int | None = None
    ) -> list[NDArray[np.uint8]]:
        """Like `decode` for several files, whose tiles share batches."""
        images = [self._codec.parse(data) for data in files]
        pictures = self._codec.decode_pictures(images, tokens, realism=self._realism)
        return [picture.pixels for picture in pictures]

    def entropy_coded(self, data: bytes) -> tuple[Tables | None, NDArray[np.uint16]]:
        """The entropy tables of a file's model, if it has any, and the first tile's tokens (K,)."""
        image = self._codec.parse(data)
        return image.tables, image.tokens[0]


def truncate(data: bytes, tokens: int | None = None, max_bytes: int | None = None) -> bytes:
    """The file with fewer tokens per tile, or of at most so many bytes. Raises OdpError."""
    return EncodedImage.from_bytes(data).truncate(tokens, max_bytes=max_bytes).to_bytes()


def from_pixels(pixels: NDArray[np.uint8]) -> Picture:
    """An opaque RGB picture of pixels (H, W, 3)."""
    return Picture(pixels, grey=False)
