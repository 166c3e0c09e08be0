"""From pictures to encoded images: tiles, tokens, search for better tokens, rate control."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np

from onedpiece import rate_control
from onedpiece.bitstream.allocation import Allocation
from onedpiece.bitstream.alpha import pack_alpha
from onedpiece.bitstream.chunks import ALPHA, METADATA_TYPES, Chunk, compress
from onedpiece.bitstream.header import Header
from onedpiece.constants import MAX_PIXELS, MAX_TOKENS, TILE
from onedpiece.encoded_image import EncodedImage
from onedpiece.errors import TargetNotReached
from onedpiece.images.picture import Picture
from onedpiece.models.registry import Model
from onedpiece.rate_control import NATURAL, Densities, Target
from onedpiece.runtime import Proposer, Runtime
from onedpiece.search import ROUNDS, improve
from onedpiece.tiles.split import scale, split

Item = TypeVar("Item")

Progress = Callable[[int], None]
"""Called with the number of tiles in each batch after it has gone through a network."""

MeasurePsnr = Callable[[Picture, EncodedImage], float]
"""Decibels of a picture when its encoded image is decoded."""

EstimatePsnr = Callable[[Picture, EncodedImage], float | None]
"""A number that grows with `MeasurePsnr` and takes less time; None if the model has none."""

MeasureErrors = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Errors by number of tokens, (B, 257), of tiles (B, 256, 256, 3) and their tokens (B, 256)."""


class _SearchTile(NamedTuple):
    """A tile whose tokens are to become better (`search.improve`)."""

    pixels: np.ndarray
    tokens: np.ndarray
    num_tokens: int
    valid_size: tuple[int, int]


@dataclass(frozen=True)
class _Source:
    """A picture on its way to a file, at one density of its tiles."""

    picture: Picture
    header: Header

    def tiles(self) -> Iterator[np.ndarray]:
        """The tiles, uint8 (256, 256, 3), row by row."""
        grid, pixels = self.header.grid, self.picture.pixels
        if self.header.scaled:
            pixels = scale(pixels, grid.width, grid.height)
        return split(pixels, grid)

    def chunks(self) -> list[Chunk]:
        """The picture's metadata and transparency as chunks."""
        chunks = [
            Chunk(METADATA_TYPES[kind], compress(data))
            for kind, data in sorted(self.picture.metadata.items())
        ]
        if self.picture.alpha is not None:
            chunks.append(Chunk(ALPHA, pack_alpha(self.picture.alpha)))
        return chunks


class _Job(NamedTuple):
    """A picture, and its encoded image with all tokens that the encoder gives."""

    source: _Source
    image: EncodedImage


@dataclass(frozen=True)
class _Draft:
    """What a search is to improve.

    image:  as much of the job's image as the target asks for; all of it if that is too little.
    failed: why it does not meet the target; better tokens may reach decibels that it does not.
    """

    job: _Job
    image: EncodedImage
    failed: TargetNotReached | None = None

    def tiles(self) -> Iterator[_SearchTile]:
        """The tiles with all their tokens, and how many of these the image has."""
        source = self.job.source
        sizes = source.header.grid.valid_sizes()
        counts = self.image.counts.clip(min=1)
        for tile, tokens, count, size in zip(
            source.tiles(), self.job.image.tokens, counts, sizes, strict=True
        ):
            yield _SearchTile(tile, tokens, int(count), size)


@dataclass(frozen=True)
class Encoder:
    """Encodes pictures with one model.

    proposer:     proposes better tokens to a search.
    batch:        tiles that go through a network at once.
    measure_psnr: how a target in decibels is checked.
    estimate_psnr: how densities of the tiles are compared.
    measure_errors: by what tokens are shared out among tiles.
    max_pixels: finer tiles are used only if readers with this limit accept them.
    """

    model: Model
    runtime: Runtime
    proposer: Proposer
    batch: int
    measure_psnr: MeasurePsnr
    estimate_psnr: EstimatePsnr
    measure_errors: MeasureErrors
    max_pixels: int = MAX_PIXELS

    def encode(
        self,
        pictures: Sequence[Picture],
        target: Target,
        effort: int = 1,
        densities: Densities = NATURAL,
        progress: Progress | None = None,
    ) -> list[EncodedImage]:
        """Encode pictures, whose tiles go through the networks together.

        effort:    1 to 3; above 1 for models that are `Model.searchable`.
        densities: of the tiles, to choose from.

        Raises TargetNotReached, DeviceError or ModelError.
        """
        drafts = self._drafts(pictures, target, densities, progress if effort == 1 else None)
        if effort > 1:
            return self._search(drafts, target, ROUNDS[effort], progress)
        for draft in drafts:
            if draft.failed:
                raise draft.failed
        return [draft.image for draft in drafts]

    def _drafts(
        self,
        pictures: Sequence[Picture],
        target: Target,
        usable: Densities,
        progress: Progress | None,
    ) -> list[_Draft]:
        """A draft of each picture at the density that serves the target best."""
        drafts: dict[int, _Draft] = {}
        waiting = {
            index: rate_control.densities(*_size(picture), target, usable, self.max_pixels)
            for index, picture in enumerate(pictures)
        }
        while waiting:
            sources = [
                _Source(pictures[index], _header(pictures[index], self.model, possible[0]))
                for index, possible in waiting.items()
            ]
            jobs = self._with_all_tokens(sources, target, progress)
            finer = {}
            for (index, (_, *rest)), job in zip(waiting.items(), jobs, strict=True):
                draft, coarser = self._draft(job, target), drafts.get(index)
                if coarser and self._better(coarser, draft, target) is coarser:
                    continue
                drafts[index] = draft
                if rest and rate_control.may_be_better_finer(draft.image, usable):
                    finer[index] = rest
            waiting = finer
        return [drafts[index] for index in range(len(pictures))]

    def _better(self, coarse: _Draft, fine: _Draft, target: Target) -> _Draft:
        """The draft that reaches more decibels, or that reaches those of the target in less."""
        if coarse.failed or fine.failed:
            return coarse if fine.failed and not coarse.failed else fine
        if target.psnr is not None:
            return min(coarse, fine, key=lambda draft: len(draft.image.to_bytes()))
        picture = coarse.job.source.picture
        before, after = (self.estimate_psnr(picture, draft.image) for draft in (coarse, fine))
        if before is None or after is None:
            is_all = coarse.image.allocation.total == coarse.job.image.allocation.total
            return fine if is_all else coarse
        return fine if after > before else coarse

    def _with_all_tokens(
        self, sources: Sequence[_Source], target: Target, progress: Progress | None
    ) -> list[_Job]:
        """All 256 tokens of every tile, and levels of the tiles if the target is adaptive."""
        tiles = (tile for source in sources for tile in source.tiles())
        shared_out = target.adaptive and any(source.header.grid.count > 1 for source in sources)
        encoded = self._tokens(tiles, shared_out, progress)
        jobs = []
        for source in sources:
            count = source.header.grid.count
            tokens, errors = zip(*islice(encoded, count), strict=True)
            levels = _levels(source, target, np.stack(errors)) if shared_out and count > 1 else None
            allocation = Allocation(count * MAX_TOKENS, levels)
            image = EncodedImage.build(
                source.header, np.stack(tokens), source.chunks(), allocation, self.model.tables
            )
            jobs.append(_Job(source, image))
        return jobs

    def _tokens(
        self, tiles: Iterable[np.ndarray], with_errors: bool, progress: Progress | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """The tokens of tiles, and their errors by number of tokens, or None."""
        for group in batches(tiles, self.batch):
            pixels = np.stack(group)
            tokens = self.runtime.encode(pixels)
            if progress:
                progress(len(group))
            errors = self.measure_errors(pixels, tokens) if with_errors else [None] * len(group)
            yield from zip(tokens, errors, strict=True)

    def _meet(self, source: _Source, image: EncodedImage, target: Target) -> EncodedImage:
        return rate_control.meet(
            image, target, lambda candidate: self.measure_psnr(source.picture, candidate)
        )

    def _search(
        self, drafts: Sequence[_Draft], target: Target, rounds: int, progress: Progress | None
    ) -> list[EncodedImage]:
        """Images of better tokens, no more of them than without a search.

        Further tokens were chosen to follow the old ones, and would make the picture worse.
        """
        tiles = (tile for draft in drafts for tile in draft.tiles())
        better = self._improve(tiles, rounds, progress)
        results = []
        for draft in drafts:
            image = draft.image
            tokens = np.stack(list(islice(better, image.header.grid.count)))
            try:
                results.append(self._meet(draft.job.source, image.with_tokens(tokens), target))
            except TargetNotReached:
                if draft.failed:
                    raise
                results.append(image)
        return results

    def _draft(self, job: _Job, target: Target) -> _Draft:
        try:
            return _Draft(job, self._meet(job.source, job.image, target))
        except TargetNotReached as error:
            if target.psnr is None:
                raise
            return _Draft(job, job.image, error)

    def _improve(
        self, tiles: Iterable[_SearchTile], rounds: int, progress: Progress | None
    ) -> Iterator[np.ndarray]:
        for group in batches(tiles, self.batch):
            pixels, tokens, counts, valid_sizes = map(np.array, zip(*group, strict=True))
            yield from improve(self.proposer, pixels, tokens, counts, valid_sizes, rounds)
            if progress:
                progress(len(group))


def _size(picture: Picture) -> tuple[int, int]:
    """Width and height in pixels."""
    height, width = picture.pixels.shape[:2]
    return width, height


def _header(picture: Picture, model: Model, density: int) -> Header:
    return Header.for_picture(
        *_size(picture), MAX_TOKENS, model.key, grey=picture.grey, density=density
    )


def _levels(source: _Source, target: Target, errors: np.ndarray) -> tuple[int, ...] | None:
    """Levels of the tiles, given their errors by number of tokens, (tiles, 257)."""
    sizes = source.header.grid.valid_sizes()
    visible = np.array([width * height / TILE**2 for width, height in sizes])
    weighted = errors * visible[:, None]
    return rate_control.levels(
        weighted, rate_control.expected_tokens(target, source.header, weighted)
    )


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of at most `size` items, in order."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
