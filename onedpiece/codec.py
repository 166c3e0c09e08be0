"""The codec: pictures to .odp bytes and back, with the networks kept loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from typing import TypeVar

import numpy as np
from PIL import Image

from onedpiece import tiles
from onedpiece.bitstream import MAX_PIXELS, MAX_TOKENS, Header, OdpFile, build, parse
from onedpiece.grid import TILE
from onedpiece.image import Picture, from_pillow, to_pillow
from onedpiece.models.registry import DEFAULT, Model, find, find_by_key
from onedpiece.runtime import Runtime
from onedpiece.runtime.onnx import DEVICES, OnnxRuntime

Item = TypeVar("Item")


class Codec:
    """Encodes with one model, and decodes files of any installed model.

    model: name of an installed model, or a model directory.
    device: "auto", "cpu" or "cuda".
    threads: CPU threads of the networks; all cores if None.
    batch: tiles that go through a network at once; memory grows with it.
    max_pixels: larger pictures are refused.

    An object is for one thread at a time. Raises UnknownModel or ModelError; networks are loaded when they are
    first needed, so that any call can raise DeviceError or ModelError too.
    """

    def __init__(
        self,
        model: str = DEFAULT,
        device: str = "auto",
        threads: int | None = None,
        batch: int = 8,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if batch < 1 or device not in DEVICES:
            raise ValueError(f"batch must be at least 1 and device one of {', '.join(DEVICES)}")
        self.model = find(model)
        self.batch, self.max_pixels = batch, max_pixels
        self._device, self._threads = device, threads
        self._runtimes: dict[str, Runtime] = {}

    def encode(self, image: Image.Image, tokens: int = MAX_TOKENS) -> bytes:
        """One picture to .odp bytes with `tokens` (1 to 256) tokens for each 256x256 tile.

        Raises PictureError or LimitExceeded for a picture that cannot be encoded.
        """
        return self.encode_many([image], tokens)[0]

    def decode(self, data: bytes, tokens: int = MAX_TOKENS) -> Image.Image:
        """.odp bytes, complete or cut anywhere after the header, to a picture of its original size.

        tokens: use at most so many of each tile. The picture has mode "RGB", or "L" if the original was grey.
        Raises OdpError for data that cannot be decoded, UnknownModel if its model is not installed.
        """
        return self.decode_many([data], tokens)[0]

    def encode_many(self, images: Sequence[Image.Image], tokens: int = MAX_TOKENS) -> list[bytes]:
        """Like `encode` for several pictures, whose tiles go through the network together."""
        pictures = [from_pillow(image, self.max_pixels) for image in images]
        return self.encode_pictures(pictures, tokens)

    def decode_many(self, data: Sequence[bytes], tokens: int = MAX_TOKENS) -> list[Image.Image]:
        """Like `decode` for several files, whose tiles go through the network together."""
        files = [parse(one, self.max_pixels) for one in data]
        return [to_pillow(picture) for picture in self.decode_files(files, tokens)]

    def encode_pictures(self, pictures: Sequence[Picture], tokens: int = MAX_TOKENS) -> list[bytes]:
        """`encode_many` from pixels."""
        headers = [self._header(picture, tokens) for picture in pictures]
        cut = chain.from_iterable(
            tiles.split(picture.pixels, header.grid)
            for picture, header in zip(pictures, headers, strict=True)
        )
        network = self._runtime(self.model).encode
        coded = chain.from_iterable(network(np.stack(batch)) for batch in self._batches(cut))
        return [
            build(header, np.stack(list(islice(coded, header.grid.count)))[:, :tokens])
            for header in headers
        ]

    def decode_files(self, files: Sequence[OdpFile], tokens: int = MAX_TOKENS) -> list[Picture]:
        """`decode_many` from parsed files to pixels."""
        if tokens < 1:
            raise ValueError("at least one token is needed")
        models = [self.model_of(file) for file in files]
        painted = self._paint(files, models, tokens)
        return [
            Picture(
                tiles.join(islice(painted, file.header.grid.count), file.header.grid),
                file.header.grey,
            )
            for file in files
        ]

    def _paint(
        self, files: Sequence[OdpFile], models: Sequence[Model], tokens: int
    ) -> Iterator[np.ndarray]:
        """Decoded tiles, float32 (256, 256, 3), of all files in order.

        Neighbours that have the same model and the same number of tokens share batches; a cut file has at most
        two numbers of tokens.
        """
        every = (
            (index, tile, int(count))
            for index, file in enumerate(files)
            for tile, count in enumerate(np.minimum(file.counts, tokens))
        )
        for (_, count), run in groupby(
            every, key=lambda member: (models[member[0]].fingerprint, member[2])
        ):
            for batch in self._batches(run):
                model = models[batch[0][0]]
                if count == 0:
                    blank = np.array(model.blank, np.float32)
                    yield from (np.broadcast_to(blank, (TILE, TILE, 3)) for _ in batch)
                    continue
                known = np.stack([files[index].tokens[tile, :count] for index, tile, _ in batch])
                yield from self._runtime(model).decode(known)

    def model_of(self, file: OdpFile) -> Model:
        """The model that wrote a file. Raises UnknownModel if it is not installed."""
        return find_by_key(file.header.model, also=self.model)

    def _header(self, picture: Picture, tokens: int) -> Header:
        height, width = picture.pixels.shape[:2]
        overlap = tiles.free_overlap(width, height)
        return Header(width, height, tokens, self.model.key, overlap, picture.grey)

    def _runtime(self, model: Model) -> Runtime:
        if model.fingerprint not in self._runtimes:
            self._runtimes[model.fingerprint] = OnnxRuntime(model, self._device, self._threads)
        return self._runtimes[model.fingerprint]

    def _batches(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        coming = iter(items)
        while batch := list(islice(coming, self.batch)):
            yield batch
