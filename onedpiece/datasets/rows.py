"""A row of a token dataset: what an .odp file holds, with its tokens as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onedpiece.bitstream.front import Front
from onedpiece.constants import MAX_PIXELS
from onedpiece.encoded_image import EncodedImage, TablesOf
from onedpiece.errors import DamagedFile
from onedpiece.models.registry import installed_tables


class Row(NamedTuple):
    """A picture as tokens.

    tokens: uint16 (n,) in the order of the payload of .odp files: the first token of every tile,
        then the second of every tile, and so on; an adaptive file visits detailed tiles more
        often. A prefix is the same picture with less detail.
    front:  the start of the .odp file, up to its tokens.
    odp:    the whole file; only where it was asked for.
    """

    width: int
    height: int
    grid_rows: int
    grid_columns: int
    tokens: NDArray[np.uint16]
    front: bytes
    odp: bytes | None = None


def row_of(image: EncodedImage, keep_file: bool = False) -> Row:
    """The row of an encoded image. Raises TruncatedFile, UnknownModel or ModelError."""
    image.check_complete()
    grid = image.header.grid
    tile, place = image.allocation.sequence(grid.count, image.allocation.total)
    return Row(
        image.width,
        image.height,
        grid.rows,
        grid.columns,
        image.tokens[tile, place],
        image.front.pack(image.is_entropy_coded),
        image.to_bytes() if keep_file else None,
    )


def image_of(
    front: bytes,
    tokens: NDArray[np.integer] | Sequence[int],
    max_pixels: int = MAX_PIXELS,
    tables_of: TablesOf = installed_tables,
) -> EncodedImage:
    """The encoded image of a row.

    tokens: all tokens of the row, or its first ones; at least one for each tile.

    Raises NotAnOdpFile, UnsupportedFile, DamagedFile or LimitExceeded for a row that breaks the
    rules of the format, UnknownModel or ModelError.
    """
    parsed, end = Front.unpack(front, max_pixels)
    tiles, total = parsed.header.grid.count, parsed.allocation.total
    stream = np.asarray(tokens)
    if end != len(front) or not tiles <= len(stream) <= total:
        raise DamagedFile(f"{len(stream)} tokens do not belong to {tiles} tiles of {total} tokens")
    allocation = replace(parsed.allocation, total=len(stream))
    try:
        tile, place = allocation.sequence(tiles, len(stream))
        by_tile = np.zeros((tiles, int(place.max()) + 1), stream.dtype)
        by_tile[tile, place] = stream
        tables = tables_of(parsed.header.model)
        return EncodedImage.build(parsed.header, by_tile, parsed.chunks, allocation, tables)
    except (ValueError, IndexError) as error:
        raise DamagedFile(f"the row is damaged: {error}") from error
