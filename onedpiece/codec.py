"""The codec: pictures to .odp bytes and back, with the networks kept loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
from PIL import Image

from onedpiece import bitstream
from onedpiece import rate_control as budget
from onedpiece.bitstream import (
    MAX_PIXELS,
    MAX_SIDE,
    MAX_TOKENS,
    Allocation,
    Header,
    OdpFile,
    Part,
    build,
    can_be_scaled,
    fitting,
    parse,
)
from onedpiece.bitstream.alpha import pack_alpha, unpack_alpha
from onedpiece.entropy import Tables
from onedpiece.errors import ModelError, OdpError
from onedpiece.images.reader import Picture, Reading, from_pillow, to_pillow
from onedpiece.models.registry import DEFAULT, Model, find, find_by_key
from onedpiece.rate_control import Target
from onedpiece.runtime import Runtime
from onedpiece.runtime.onnx import DEVICES, OnnxRuntime
from onedpiece.search import ROUNDS, improve
from onedpiece.tiles import join as tiles
from onedpiece.tiles.grid import TILE

METADATA_KINDS = {"exif": bitstream.EXIF, "icc": bitstream.ICC, "xmp": bitstream.XMP}
WINDOW = 4  # batches of tiles among which those with equally many tokens are decoded together

Item = TypeVar("Item")


class Codec:
    """Encodes with one model, and decodes files of any installed model.

    model: name of an installed model, or a model directory.
    device: "auto", "cpu" or "cuda".
    threads: CPU threads of the networks; all cores if None.
    batch: tiles that go through a network at once; memory grows with it.
    max_pixels: larger pictures are refused.
    progress: called with a number of tiles whenever so many more have gone through a network.
    effort: 1 to 3; above 1, encoding searches for better tokens, for seconds a tile.
    grain: how much detail that no token describes is added to decoded pictures, 0 to 1: 0 gives the smallest squared
        error, 1 looks most like the original. For models that have it.

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
        progress: Callable[[int], None] | None = None,
        effort: int = 1,
        grain: float = 1.0,
    ) -> None:
        if not 0 <= grain <= 1:
            raise ValueError("grain must be 0 to 1")
        if batch < 1 or device not in DEVICES or effort not in ROUNDS:
            raise ValueError(
                f"batch must be at least 1, device one of {', '.join(DEVICES)}, and effort 1 to {max(ROUNDS)}"
            )
        self.model = find(model)
        self.batch, self.max_pixels = batch, max_pixels
        self._device, self._threads, self._progress = device, threads, progress
        self._grain = grain
        self._rounds = ROUNDS[effort]
        if self._rounds and not self.model.searchable:
            raise ModelError(f"{self.model.name} has no search for better tokens: use effort 1")
        self._runtimes: dict[str, Runtime] = {}

    def encode(self, image: Image.Image, target: Target | int = MAX_TOKENS) -> bytes:
        """One picture to .odp bytes. A number as target means so many tokens for each tile.

        Transparency is kept. Raises PictureError or LimitExceeded for a picture that cannot be encoded, OdpError for
        a target that cannot be reached.
        """
        return self.encode_many([image], target)[0]

    def decode(self, data: bytes, tokens: int = MAX_TOKENS) -> Image.Image:
        """.odp bytes, complete or cut anywhere in the tokens, to a picture of its original size.

        tokens: use at most so many of each tile. The picture has mode "RGB", or "L" if the original was grey, and an
        alpha channel if the original was transparent somewhere.
        Raises OdpError for data that cannot be decoded, UnknownModel if its model is not installed.
        """
        return self.decode_many([data], tokens)[0]

    def encode_many(
        self, images: Sequence[Image.Image], target: Target | int = MAX_TOKENS
    ) -> list[bytes]:
        """Like `encode` for several pictures, whose tiles go through the network together."""
        reading = Reading(self.max_pixels)
        return self.encode_pictures([from_pillow(image, reading) for image in images], target)

    def decode_many(self, data: Sequence[bytes], tokens: int = MAX_TOKENS) -> list[Image.Image]:
        """Like `decode` for several files, whose tiles go through the network together."""
        files = [self.parse(one) for one in data]
        return [to_pillow(picture) for picture in self.decode_files(files, tokens)]

    def encode_pictures(
        self, pictures: Sequence[Picture], target: Target | int = MAX_TOKENS
    ) -> list[bytes]:
        """`encode_many` from pixels."""
        if not isinstance(target, Target):
            target = Target(tokens=target)
        headers = [self._header(picture) for picture in pictures]
        details: list[list[float]] = [[] for _ in pictures]
        coded = self._analyse(self._cut(pictures, headers, details if target.adaptive else []))
        tokens = [np.stack(list(islice(coded, header.grid.count))) for header in headers]

        most = [
            Allocation(header.grid.count * MAX_TOKENS, budget.levels(detail))
            for header, detail in zip(headers, details, strict=True)
        ]
        if not self._rounds:
            return [
                self._fit(*one, target) for one in zip(pictures, headers, tokens, most, strict=True)
            ]
        return self._search(pictures, headers, tokens, most, target)

    def _search(
        self,
        pictures: Sequence[Picture],
        headers: Sequence[Header],
        tokens: list[np.ndarray],
        most: list[Allocation],
        target: Target,
    ) -> list[bytes]:
        """Files of better tokens, no more of them than the files without a search have.

        What those files do not have was chosen to follow the old tokens, and would make the picture worse.
        """
        quick = [
            self._draft(*one, target) for one in zip(pictures, headers, tokens, most, strict=True)
        ]
        drafts = [parse(data, MAX_SIDE**2, self._tables_of) for data, _ in quick]
        better = self._improve(self._cut(pictures, headers, []), drafts, tokens)
        files = []
        for picture, header, known, draft, (data, meets) in zip(
            pictures, headers, better, drafts, quick, strict=True
        ):
            try:
                files.append(self._fit(picture, header, known, draft.allocation, target))
            except OdpError:
                if not meets:
                    raise
                files.append(data)
        return files

    def _draft(
        self,
        picture: Picture,
        header: Header,
        tokens: np.ndarray,
        most: Allocation,
        target: Target,
    ) -> tuple[bytes, bool]:
        """The file to improve, and whether it meets the target: decibels may be reached by improvement only."""
        try:
            return self._fit(picture, header, tokens, most, target), True
        except OdpError:
            if target.psnr is None:
                raise
            return build(header, tokens, _parts(picture), most, self.model.tables), False

    def _improve(
        self, cut: Iterator[np.ndarray], drafts: Sequence[OdpFile], tokens: list[np.ndarray]
    ) -> list[np.ndarray]:
        """All tokens of pictures, those that the drafts have of them better."""
        if not drafts:
            return []
        runtime, better = self._runtime(self.model), []
        counts = np.concatenate([draft.counts for draft in drafts]).clip(min=1)
        shown = np.concatenate([budget.shown(draft.header.grid) for draft in drafts])
        known, done = np.concatenate(tokens), 0
        for batch in self._batches(cut):
            here = slice(done, done + len(batch))
            now = known[here], counts[here], shown[here]
            better.append(improve(runtime, np.stack(batch), *now, self._rounds))
            done = here.stop
            self._advance(len(batch))
        return np.split(np.concatenate(better), np.cumsum([len(one) for one in tokens])[:-1])

    def _cut(
        self, pictures: Sequence[Picture], headers: Sequence[Header], details: list[list[float]]
    ) -> Iterator[np.ndarray]:
        """Tiles of all pictures; how much detail each has is added to the lists, if there are any."""
        for index, (picture, header) in enumerate(zip(pictures, headers, strict=True)):
            grid = header.grid
            pixels = picture.pixels
            if header.scaled:
                pixels = tiles.scale(pixels, grid.width, grid.height)
            for tile, (width, height) in zip(
                tiles.split(pixels, grid), budget.shown(grid), strict=True
            ):
                if details and grid.count > 1:
                    details[index].append(budget.detail(tile, width, height))
                yield tile

    def _analyse(self, cut: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """All 256 tokens of each tile."""
        for batch in self._batches(cut):
            tokens = self._runtime(self.model).encode(np.stack(batch))
            if not self._rounds:
                self._advance(len(batch))
            yield from tokens

    def _fit(
        self,
        picture: Picture,
        header: Header,
        tokens: np.ndarray,
        most: Allocation,
        target: Target,
    ) -> bytes:
        """The file that meets the target, with at most so many tokens. Raises OdpError if there is none."""
        parts, tables = _parts(picture), self.model.tables
        count = header.grid.count

        def with_tokens(mean: int) -> bytes:
            return build(header, tokens, parts, Allocation(count * mean, most.levels), tables)

        if target.tokens is not None:
            return with_tokens(target.tokens)
        max_bytes = target.bytes_for(header.pixels)
        if max_bytes is not None:
            try:
                return fitting(header, tokens, parts, most, tables, max_bytes)
            except OdpError:  # levels take some bytes themselves
                return fitting(header, tokens, parts, Allocation(most.total), tables, max_bytes)
        assert target.psnr is not None
        return self._reach(target.psnr, picture, with_tokens, most.total // count)

    def _reach(
        self,
        psnr: float,
        picture: Picture,
        written: Callable[[int], bytes],
        most: int,
    ) -> bytes:
        """The first file, by tokens for each tile, that decodes with so many decibels. Raises OdpError."""

        def reached(mean: int) -> float:
            file = parse(written(mean), MAX_SIDE**2, self._tables_of)
            return _psnr(picture, self.decode_files([file])[0])

        best = reached(most)
        if best < psnr:
            raise OdpError(f"{psnr:g} dB cannot be reached: {most} tokens give {best:.2f} dB")
        too_few, enough = 0, most
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            if reached(middle) >= psnr:
                enough = middle
            else:
                too_few = middle
        return written(enough)

    def decode_files(self, files: Sequence[OdpFile], tokens: int = MAX_TOKENS) -> list[Picture]:
        """`decode_many` from parsed files to pixels."""
        if tokens < 1:
            raise ValueError("at least one token is needed")
        models = [self.model_of(file) for file in files]
        painted = self._paint(files, models, tokens)
        return [_picture(file, islice(painted, file.header.grid.count)) for file in files]

    def _paint(
        self, files: Sequence[OdpFile], models: Sequence[Model], tokens: int
    ) -> Iterator[np.ndarray]:
        """Decoded tiles, float32 (256, 256, 3), of all files in order.

        Within a window of tiles, those that have the same model and number of tokens share batches.
        """
        every = (
            (model, known[:count])
            for file, model in zip(files, models, strict=True)
            for known, count in zip(file.tokens, np.minimum(file.counts, tokens), strict=True)
        )
        while window := list(islice(every, WINDOW * self.batch)):
            alike: dict[tuple[str, int], list[int]] = {}
            for index, (model, known) in enumerate(window):
                alike.setdefault((model.fingerprint, len(known)), []).append(index)
            painted: dict[int, np.ndarray] = {}
            for indices in alike.values():
                for batch in self._batches(indices):
                    made = self._paint_batch(window[batch[0]][0], [window[i][1] for i in batch])
                    painted.update(zip(batch, made, strict=True))
                    self._advance(len(batch))
            yield from (painted.pop(index) for index in range(len(window)))

    def _paint_batch(self, model: Model, known: list[np.ndarray]) -> np.ndarray:
        """Tiles (B, 256, 256, 3) from equally many tokens each; the model's blank colour from none."""
        if len(known[0]) == 0:
            return np.broadcast_to(np.array(model.blank, np.float32), (len(known), TILE, TILE, 3))
        return self._runtime(model).decode(np.stack(known))

    def parse(self, data: bytes) -> OdpFile:
        """`bitstream.parse` for files of this codec's model and of installed ones."""
        return parse(data, self.max_pixels, self._tables_of)

    def _tables_of(self, key: bytes) -> Tables | None:
        return find_by_key(key, also=self.model).tables

    def model_of(self, file: OdpFile) -> Model:
        """The model that wrote a file. Raises UnknownModel if it is not installed."""
        return find_by_key(file.header.model, also=self.model)

    def _header(self, picture: Picture) -> Header:
        height, width = picture.pixels.shape[:2]
        scaled = can_be_scaled(width, height)
        return Header(width, height, MAX_TOKENS, self.model.key, 0, picture.grey, scaled=scaled)

    def _advance(self, count: int) -> None:
        if self._progress:
            self._progress(count)

    def _runtime(self, model: Model) -> Runtime:
        if model.fingerprint not in self._runtimes:
            self._runtimes[model.fingerprint] = OnnxRuntime(
                model, self._device, self._threads, self._grain
            )
        return self._runtimes[model.fingerprint]

    def _batches(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        coming = iter(items)
        while batch := list(islice(coming, self.batch)):
            yield batch


def _parts(picture: Picture) -> list[Part]:
    parts = [
        Part(METADATA_KINDS[kind], bitstream.squeeze(data))
        for kind, data in sorted(picture.metadata.items())
    ]
    if picture.alpha is not None:
        parts.append(Part(bitstream.ALPHA, pack_alpha(picture.alpha)))
    return parts


def _picture(file: OdpFile, painted: Iterator[np.ndarray]) -> Picture:
    header = file.header
    alpha = file.part(bitstream.ALPHA)
    metadata = {name: file.part(kind) for name, kind in METADATA_KINDS.items()}
    pixels = tiles.join(painted, header.grid)
    if header.scaled:
        pixels = tiles.scale(pixels, header.width, header.height)
    return Picture(
        pixels,
        header.grey,
        None if alpha is None else unpack_alpha(alpha, header.width, header.height),
        {name: bitstream.expand(data) for name, data in metadata.items() if data is not None},
    )


def _psnr(original: Picture, decoded: Picture) -> float:
    """Decibels of what a user sees: of luma for a grey picture. Transparency does not count."""
    one, other = (
        np.asarray(to_pillow(Picture(picture.pixels, original.grey)))
        for picture in (original, decoded)
    )
    squares = sum(
        float(((a.astype(np.float32) - b) ** 2).sum(dtype=np.float64))
        for a, b in zip(one, other, strict=True)
    )
    return float("inf") if squares == 0 else 10 * float(np.log10(255**2 * one.size / squares))
