"""The codec: pictures to .odp bytes and back, with the networks kept loaded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from onedpiece import tiles
from onedpiece.bitstream import MAX_PIXELS, MAX_TOKENS, Header, OdpFile, build, parse
from onedpiece.errors import LimitExceeded
from onedpiece.grid import TILE
from onedpiece.image import Picture, from_pillow, to_pillow
from onedpiece.models.registry import DEFAULT, Model, find, find_by_key
from onedpiece.runtime import Runtime
from onedpiece.runtime.onnx import OnnxRuntime


class Codec:
    """Encodes with one model, and decodes files of any installed model.

    model: name of an installed model, or a model directory.
    device: "auto", "cpu" or "cuda".
    threads: CPU threads of the networks; all cores if None.
    batch: tiles that go through a network at once; memory grows with it.

    Raises UnknownModel or ModelError.
    """

    def __init__(
        self,
        model: str = DEFAULT,
        device: str = "auto",
        threads: int | None = None,
        batch: int = 8,
    ) -> None:
        self.model = find(model)
        self.batch = batch
        self._device, self._threads = device, threads
        self._runtimes: dict[str, Runtime] = {}

    def encode(self, image: Image.Image, tokens: int = MAX_TOKENS) -> bytes:
        """One picture to .odp bytes with `tokens` (1 to 256) tokens for each 256x256 tile.

        Raises PictureError or LimitExceeded for a picture that cannot be encoded.
        """
        return self.encode_many([from_pillow(image)], tokens)[0]

    def decode(self, data: bytes, tokens: int = MAX_TOKENS) -> Image.Image:
        """.odp bytes, complete or cut anywhere after the header, to a picture of its original size.

        tokens: use at most so many of each tile. The picture has mode "RGB", or "L" if the original was grey.
        Raises OdpError for data that cannot be decoded, UnknownModel if its model is not installed.
        """
        return to_pillow(self.decode_many([parse(data)], tokens)[0])

    def encode_many(self, pictures: Sequence[Picture], tokens: int = MAX_TOKENS) -> list[bytes]:
        """Like `encode` for several pictures, whose tiles share batches."""
        headers = [self._header(picture, tokens) for picture in pictures]
        grids = [header.grid for header in headers]
        cut = [tiles.split(p.pixels, grid) for p, grid in zip(pictures, grids, strict=True)]
        coded = self._batched(self._runtime(self.model).encode, np.concatenate(cut))
        ends = np.cumsum([grid.count for grid in grids])[:-1]
        return [
            build(header, part[:, :tokens])
            for header, part in zip(headers, np.split(coded, ends), strict=True)
        ]

    def decode_many(self, files: Sequence[OdpFile], tokens: int = MAX_TOKENS) -> list[Picture]:
        """Like `decode` for several files from `bitstream.parse`, whose tiles share batches."""
        if tokens < 1:
            raise ValueError("at least one token is needed")
        models = [self.model_of(file) for file in files]
        painted = [
            np.tile(np.array(model.blank, np.float32), (file.header.grid.count, TILE, TILE, 1))
            for file, model in zip(files, models, strict=True)
        ]
        # Tiles that go through the same network with the same number of tokens, whatever their file.
        alike: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        for index, (file, model) in enumerate(zip(files, models, strict=True)):
            for tile, count in enumerate(np.minimum(file.counts, tokens)):
                if count:
                    alike[model.fingerprint, int(count)].append((index, tile))
        by_fingerprint = {model.fingerprint: model for model in models}
        for (fingerprint, count), members in alike.items():
            known = np.stack([files[index].tokens[tile, :count] for index, tile in members])
            decoded = self._batched(self._runtime(by_fingerprint[fingerprint]).decode, known)
            for (index, tile), pixels in zip(members, decoded, strict=True):
                painted[index][tile] = pixels
        return [
            Picture(tiles.join(paint, file.header.grid), file.header.grey)
            for file, paint in zip(files, painted, strict=True)
        ]

    def model_of(self, file: OdpFile) -> Model:
        """The model that wrote a file. Raises UnknownModel if it is not installed."""
        return find_by_key(file.header.model, also=self.model)

    def _header(self, picture: Picture, tokens: int) -> Header:
        height, width = picture.pixels.shape[:2]
        if width * height > MAX_PIXELS:
            raise LimitExceeded(f"the picture has {width}x{height} pixels, more than {MAX_PIXELS}")
        overlap = tiles.free_overlap(width, height)
        return Header(width, height, tokens, self.model.key, overlap, picture.grey)

    def _runtime(self, model: Model) -> Runtime:
        if model.fingerprint not in self._runtimes:
            self._runtimes[model.fingerprint] = OnnxRuntime(model, self._device, self._threads)
        return self._runtimes[model.fingerprint]

    def _batched(self, network: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [network(rows[start : start + self.batch]) for start in range(0, len(rows), self.batch)]
        )
