"""`EncodedImage`: one object for the contents of an .odp file, on the way in and on the way out."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onedpiece.bitstream import payload
from onedpiece.bitstream.allocation import Allocation
from onedpiece.bitstream.alpha import check_alpha
from onedpiece.bitstream.chunks import ALPHA, METADATA_TYPES, Chunk, decompress
from onedpiece.bitstream.front import Front
from onedpiece.bitstream.header import Header
from onedpiece.constants import MAX_PIXELS, MAX_TOKENS
from onedpiece.description import describe
from onedpiece.entropy import Tables
from onedpiece.errors import DamagedFile, ModelError, OdpError, TruncatedFile, UnknownModel
from onedpiece.models.registry import DEFAULT, Model, find, installed_tables

TablesOf = Callable[[bytes], Tables | None]
"""Takes the 3 bytes that name a model; returns its entropy tables, or None if it has none.

Raises UnknownModel or ModelError.
"""


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """A picture as tokens, with everything else that its file holds. Immutable.

    Made by `from_bytes`, `from_tokens` or `truncate`. Its tokens may be entropy-coded with the
    tables of a model that is not installed. Then all the rest can be read, and what needs the
    tokens raises UnknownModel or ModelError.

    front:  header, allocation of tokens to tiles, chunks.
    tables: entropy tables of the model that made the tokens, if they are known.
    """

    front: Front
    tables: Tables | None
    # The file, where there is one, and tokens (tiles, K), at least as many of each as it counts.
    _source: bytes | None = field(default=None, repr=False)
    _known: NDArray[np.integer] = field(default_factory=lambda: np.zeros((0, 0), int), repr=False)
    _source_counts: NDArray[np.int64] | None = field(default=None, repr=False)
    _no_tables: OdpError | None = field(default=None, repr=False)

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        max_pixels: int = MAX_PIXELS,
        tables_of: TablesOf = installed_tables,
    ) -> EncodedImage:
        """Read a file, complete or truncated anywhere after its header, allocation and chunks.

        tables_of: where entropy tables come from; from the installed models by default.

        Raises NotAnOdpFile, UnsupportedFile or DamagedFile for data that cannot be read, and
        LimitExceeded for a picture of more than `max_pixels`, before anything is allocated for
        it. Takes up to some microseconds for each byte.
        """
        front, start = Front.unpack(data, max_pixels)
        tables: Tables | None = None
        try:
            tables = tables_of(front.header.model)
            if tables is None and front.header.entropy_coded:
                raise DamagedFile("the tokens are entropy-coded, but the model has no tables")
        except (UnknownModel, ModelError) as error:
            if front.header.entropy_coded:
                return cls(front, None, bytes(data), _no_tables=error)
        return cls(front, tables, bytes(data), *payload.read_tokens(front, data[start:], tables))

    @classmethod
    def from_tokens(
        cls,
        tokens: NDArray[np.integer],
        width: int,
        height: int,
        *,
        model: str | Path | Model = DEFAULT,
        grey: bool = False,
        density: int = 1,
        chunks: Sequence[Chunk] = (),
    ) -> EncodedImage:
        """The picture that tokens of a model describe, without any network.

        tokens: integers (tiles, K) of 0 to 4095, K in 1..256: the first K tokens of every tile of
            the grid that a picture of this size and density has, row by row. One tile may be (K,).
            All tiles have K tokens; the tokens of an adaptive file cannot be given.
        width, height: size of the picture in pixels.
        density: pixels of the tiles for each pixel of the picture, along each side, 1 to 4.
        model: name, directory or `Model` that the tokens are of.

        Raises ValueError for tokens of another shape or range, LimitExceeded for a side that is
        too large, UnknownModel or ModelError.
        """
        known = model if isinstance(model, Model) else find(model)
        width, height = operator.index(width), operator.index(height)
        tokens = np.array(tokens, ndmin=2)  # a copy: the caller may change the original
        if not 1 <= tokens.shape[1] <= MAX_TOKENS:
            raise ValueError(f"a tile has 1 to {MAX_TOKENS} tokens, not {tokens.shape[1]}")
        header = Header.for_picture(width, height, tokens.shape[1], known.key, grey, density)
        if len(tokens) != header.grid.count:
            raise ValueError(
                f"a picture of {width}x{height} pixels has {header.grid.count} tiles at density "
                f"{density}, not {len(tokens)}"
            )
        return cls.build(header, tokens, chunks, tables=known.tables)

    @classmethod
    def build(
        cls,
        header: Header,
        tokens: NDArray[np.integer],
        chunks: Sequence[Chunk] = (),
        allocation: Allocation | None = None,
        tables: Tables | None = None,
    ) -> EncodedImage:
        """The picture of a header and of tokens.

        tokens: integers (tiles, positions) of 0 to 4095, at least as many of each tile as the
            allocation gives it.
        allocation: if None, every tile has the header's tokens_per_tile.
        tables: of the header's model, if it has any; used where they save bytes.

        Raises ValueError if the arguments do not fit together.
        """
        tiles = header.grid.count
        allocation = allocation or Allocation(tiles * header.tokens_per_tile)
        if not tiles <= allocation.total <= tiles * MAX_TOKENS:
            raise ValueError(f"{tiles} tiles cannot have {allocation.total} tokens")
        header = replace(header, tokens_per_tile=-(-allocation.total // tiles))
        image = cls(Front(header, allocation, tuple(chunks)), tables, _known=tokens)
        payload.check_tokens(image._stream[0])
        return image

    @property
    def header(self) -> Header:
        """Size, colour mode and model; flags are those of the file that it was read from."""
        return self.front.header

    @property
    def allocation(self) -> Allocation:
        """How the tokens of the complete file are shared out among its tiles."""
        return self.front.allocation

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """The optional chunks, in the order of the file."""
        return self.front.chunks

    @property
    def width(self) -> int:
        """Width of the picture in pixels."""
        return self.header.width

    @property
    def height(self) -> int:
        """Height of the picture in pixels."""
        return self.header.height

    @property
    def num_tokens(self) -> int:
        """Tokens of the complete file for each tile that the picture has at density 1, rounded up.

        This is the number that `Target.tokens` and `truncate` mean.
        """
        return self.front.num_tokens

    @property
    def mode(self) -> str:
        """Pillow's mode of the decoded picture: "L", "LA", "RGB" or "RGBA"."""
        return self.front.mode

    @property
    def tokens(self) -> NDArray[np.uint16]:
        """Tokens (tiles, K) of 0 to 4095, tiles row by row; 0 beyond the first counts[i]."""
        if self._source is not None:
            self._check_tables()
            return self._known.astype(np.uint16)
        stream, tile, place = self._stream
        tokens = np.zeros((self.header.grid.count, int(place.max()) + 1), np.uint16)
        tokens[tile, place] = stream
        return tokens

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many tokens of each tile are there, (tiles,)."""
        self._check_tables()
        if self._source_counts is not None:
            return self._source_counts
        return np.bincount(self._stream[1], minlength=self.header.grid.count)

    @property
    def total_tokens(self) -> int:
        """How many tokens are there, of all tiles together."""
        return int(self.counts.sum())

    @property
    def is_truncated(self) -> bool:
        """Whether the file has lost tokens at its end."""
        return self.total_tokens < self.allocation.total

    @property
    def is_readable(self) -> bool:
        """Whether the tokens can be read: coded ones need the tables of their token set."""
        return self._no_tables is None

    @property
    def is_entropy_coded(self) -> bool:
        """Whether the tokens are coded with tables in the file."""
        return self._coded_payload[1] if self._source is None else self.header.entropy_coded

    @property
    def truncation(self) -> str | None:
        """What to tell a user of a truncated file; None if it is complete."""
        if not self.is_truncated:
            return None
        return (
            f"the file is truncated: it has {self.total_tokens} of {self.allocation.total} tokens"
        )

    def chunk(self, chunk_type: int) -> bytes | None:
        """The data of the first chunk of a type, None if there is no such chunk."""
        return self.front.chunk(chunk_type)

    def to_bytes(self) -> bytes:
        """The file. Raises LimitExceeded for too many chunks."""
        return self._bytes

    def truncate(
        self, num_tokens: int | None = None, *, max_bytes: int | None = None
    ) -> EncodedImage:
        """The same picture with only the first tokens.

        num_tokens: mean number of tokens for each tile that the picture has at density 1.
        max_bytes:  instead, a limit for the whole file.

        The bytes are those that encoding so few tokens gives, of tiles as fine. But an adaptive
        file keeps the shares of its tiles, and encoding chooses them for its target.

        Chunks are kept. Raises OdpError if not even one token of each tile fits, or if there are
        fewer tokens than that; ValueError unless exactly one of the two is given.
        """
        if (num_tokens is None) == (max_bytes is None):
            raise ValueError("give exactly one of num_tokens and max_bytes")
        if operator.index(num_tokens or max_bytes or 0) < 1:
            raise ValueError("num_tokens and max_bytes must be at least 1")
        tiles = self.header.grid.count
        if num_tokens is not None:
            num_tokens = operator.index(num_tokens)  # integers of NumPy overflow
            base_tiles = self.header.base_tiles
            if not tiles <= num_tokens * base_tiles <= self.total_tokens:
                raise OdpError(
                    f"{-(-tiles // base_tiles)} to {self.total_tokens // base_tiles} tokens for "
                    f"each 256x256 pixels can be kept, not {num_tokens}"
                )
            return self._with_total(num_tokens * base_tiles)
        assert max_bytes is not None
        max_bytes = operator.index(max_bytes)
        if self.total_tokens < tiles:
            raise OdpError(f"{self.total_tokens} tokens are not even one for each of {tiles} tiles")
        stream, _, place = self._stream
        return self._with_total(
            payload.largest_total(self.front, stream, place, self.tables, max_bytes)
        )

    def with_tokens(self, tokens: NDArray[np.integer]) -> EncodedImage:
        """The same picture, allocation and chunks with other tokens, (tiles, 256)."""
        return self.build(self.header, tokens, self.chunks, self.allocation, self.tables)

    def with_equal_counts(self) -> EncodedImage:
        """The same picture with the same number of tokens for every tile.

        Raises OdpError if a tile has too few.
        """
        if self._source is not None and self.counts.min() < self.header.tokens_per_tile:
            raise OdpError("some tiles have fewer tokens than others")
        allocation = Allocation(self.allocation.total)
        return self.build(self.header, self._known, self.chunks, allocation, self.tables)

    def info(self) -> dict[str, Any]:
        """What the file says, by name. `tokens_here` is None if the tokens cannot be read."""
        return describe(self)

    def verify(self) -> None:
        """Check that the file is complete and that everything in it can be read.

        Tokens carry no checksum: a wrong token is a wrong picture, not an error.

        Raises TruncatedFile if tokens at the end are missing, DamagedFile for a broken chunk,
        UnknownModel or ModelError if the tokens need entropy tables that are not there.
        """
        alpha = self.chunk(ALPHA)
        if alpha is not None:
            check_alpha(alpha, self.width, self.height)
        for chunk in self.chunks:
            if chunk.type in METADATA_TYPES.values():
                decompress(chunk.data)
        self.check_complete()

    def check_complete(self) -> None:
        """Raise TruncatedFile if tokens at the end of the file are missing."""
        if self.truncation:
            raise TruncatedFile(self.truncation)

    def _check_tables(self) -> None:
        if self._no_tables:
            raise self._no_tables

    @cached_property
    def _stream(self) -> tuple[NDArray[np.integer], NDArray[np.int64], NDArray[np.int64]]:
        """The tokens in the order of the payload, their tiles, and their places in these, (n,)."""
        tiles, allocation = self.header.grid.count, self.allocation
        tokens = self._known
        self._check_tables()
        if allocation.levels is not None and (tiles == 1 or len(allocation.levels) != tiles):
            raise ValueError(f"{tiles} tiles cannot have {len(allocation.levels)} levels")
        total = allocation.total if self._source is None else self.total_tokens
        tile, place = allocation.sequence(tiles, total)
        if len(tokens) != tiles or tokens.shape[1] <= place.max(initial=-1):
            raise ValueError(f"{tokens.shape} tokens are not enough for {total}")
        return tokens[tile, place], tile, place

    @cached_property
    def _coded_payload(self) -> tuple[bytes, bool]:
        """The payload, and whether it is entropy-coded."""
        stream, _, place = self._stream
        coded = payload.entropy_encode(stream, place, self.tables) if self.tables else None
        return (payload.pack_tokens(stream), False) if coded is None else (coded, True)

    @cached_property
    def _bytes(self) -> bytes:
        if self._source is not None:
            return self._source
        coded, is_entropy_coded = self._coded_payload
        return self.front.pack(is_entropy_coded) + coded

    def _with_total(self, total: int) -> EncodedImage:
        """The same picture with this many tokens of all tiles together."""
        allocation = replace(self.allocation, total=total)
        return self.build(self.header, self._known, self.chunks, allocation, self.tables)
