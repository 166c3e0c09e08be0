"""From encoded images to pictures: tokens through the networks, tiles joined, chunks unpacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from onedpiece.bitstream.alpha import unpack_alpha
from onedpiece.bitstream.chunks import ALPHA, METADATA_TYPES, decompress
from onedpiece.constants import TILE
from onedpiece.encoded_image import EncodedImage
from onedpiece.encoder import Progress, batches
from onedpiece.images.picture import Picture
from onedpiece.models.registry import Model
from onedpiece.runtime import Runtime
from onedpiece.tiles.join import join
from onedpiece.tiles.split import scale

WINDOW = 4  # batches of tiles among which those with equally many tokens are decoded together


class _EncodedTile(NamedTuple):
    """The tokens of a tile, (K,), and the model with the decoder that paints them."""

    model: Model
    tokens: np.ndarray


@dataclass(frozen=True)
class Decoder:
    """Decodes images of any token set.

    model_of:   the model and decoder for the tokens of an image; raises UnknownModel or
        UnknownDecoder.
    runtime_of: the networks of a model.
    batch:      tiles that go through a network at once.
    """

    model_of: Callable[[EncodedImage], Model]
    runtime_of: Callable[[Model], Runtime]
    batch: int

    def decode(
        self,
        images: Sequence[EncodedImage],
        num_tokens: int | None = None,
        realism: float = 1.0,
        progress: Progress | None = None,
    ) -> list[Picture]:
        """Decode images, from all tokens or from fewer.

        num_tokens: use at most this many tokens for each tile that a picture has at density 1.

        Raises UnknownModel, UnknownDecoder, DamagedFile for a broken chunk, DeviceError or
        ModelError.
        """
        models = [self.model_of(image) for image in images]
        tiles = iter(
            [
                _EncodedTile(model, tokens[:count])
                for image, model in zip(images, models, strict=True)
                for tokens, count in zip(image.tokens, _limited(image, num_tokens), strict=True)
            ]
        )
        decoded = self._decode_tiles(tiles, realism, progress)
        return [
            assemble(
                image,
                islice(decoded, image.header.grid.count),
                sharp=realism > 0 and model.has_realism,
            )
            for image, model in zip(images, models, strict=True)
        ]

    def _decode_tiles(
        self, tiles: Iterator[_EncodedTile], realism: float, progress: Progress | None
    ) -> Iterator[np.ndarray]:
        """Decoded tiles, float32 (256, 256, 3) in 0..255, in order.

        Within a window, tiles of the same decoder and number of tokens share batches.
        """
        while window := list(islice(tiles, WINDOW * self.batch)):
            alike: dict[tuple[object, int], list[int]] = {}
            for index, tile in enumerate(window):
                alike.setdefault((tile.model.network, len(tile.tokens)), []).append(index)
            decoded: dict[int, np.ndarray] = {}
            for indices in alike.values():
                for group in batches(indices, self.batch):
                    pixels = self._decode_batch([window[index] for index in group], realism)
                    decoded.update(zip(group, pixels, strict=True))
                    if progress:
                        progress(len(group))
            yield from (decoded.pop(index) for index in range(len(window)))

    def _decode_batch(self, tiles: list[_EncodedTile], realism: float) -> np.ndarray:
        """Tiles (B, 256, 256, 3); the model's blank colour if they have no tokens."""
        model = tiles[0].model
        if len(tiles[0].tokens) == 0:
            blank = np.array(model.blank, np.float32)
            return np.broadcast_to(blank, (len(tiles), TILE, TILE, 3))
        return self.runtime_of(model).decode(np.stack([tile.tokens for tile in tiles]), realism)


def _limited(image: EncodedImage, num_tokens: int | None) -> np.ndarray:
    """How many tokens of each tile are decoded, (tiles,)."""
    if num_tokens is None:
        return image.counts
    header = image.header
    return np.minimum(image.counts, -(-num_tokens * header.base_tiles // header.grid.count))


def assemble(image: EncodedImage, tiles: Iterator[np.ndarray], *, sharp: bool = False) -> Picture:
    """The picture of decoded tiles and of the chunks of its file; `sharp` as in `join`."""
    header = image.header
    pixels = join(tiles, header.grid, header.density, sharp=sharp)
    if header.scaled:
        pixels = scale(pixels, header.width, header.height)
    alpha = image.chunk(ALPHA)
    metadata = {kind: image.chunk(number) for kind, number in METADATA_TYPES.items()}
    return Picture(
        pixels,
        header.grey,
        None if alpha is None else unpack_alpha(alpha, header.width, header.height),
        {kind: decompress(data) for kind, data in metadata.items() if data is not None},
    )
