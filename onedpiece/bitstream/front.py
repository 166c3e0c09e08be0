"""Everything before the tokens: header, allocation, chunks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onedpiece.bitstream.allocation import Allocation
from onedpiece.bitstream.chunks import ALPHA, Chunk, pack_chunks, unpack_chunks
from onedpiece.bitstream.header import Header
from onedpiece.constants import MAX_PIXELS


@dataclass(frozen=True)
class Front:
    """The sections of a file that do not depend on its tokens.

    header:     size, colour mode and model. `pack` sets its number of tokens and its flags
                according to the other fields.
    allocation: how the tokens are shared out among the tiles.
    chunks:     the optional chunks, in the order of the file.
    """

    header: Header
    allocation: Allocation
    chunks: tuple[Chunk, ...] = ()

    @property
    def num_tokens(self) -> int:
        """Tokens of the complete file for each tile that the picture has at density 1, rounded up.

        This is the number that `Target.tokens` and `EncodedImage.truncate` mean.
        """
        return -(-self.allocation.total // self.header.base_tiles)

    @property
    def mode(self) -> str:
        """Pillow's mode of the decoded picture: "L", "LA", "RGB" or "RGBA"."""
        return self.header.mode + ("" if self.chunk(ALPHA) is None else "A")

    def chunk(self, chunk_type: int) -> bytes | None:
        """The data of the first chunk of a type, None if there is no such chunk."""
        return next((chunk.data for chunk in self.chunks if chunk.type == chunk_type), None)

    def pack(self, entropy_coded: bool) -> bytes:
        """The sections as bytes. Raises LimitExceeded for too many chunks."""
        tiles = self.header.grid.count
        plain = self.allocation.is_plain(tiles)
        header = replace(
            self.header,
            tokens_per_tile=-(-self.allocation.total // tiles),  # rounded up
            entropy_coded=entropy_coded,
            has_allocation=not plain,
            has_chunks=bool(self.chunks),
        )
        allocation = b"" if plain else self.allocation.pack(tiles)
        return header.pack() + allocation + pack_chunks(self.chunks)

    @classmethod
    def unpack(cls, data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[Front, int]:
        """The front of a file, and the position of the first byte of the tokens.

        Raises NotAnOdpFile, UnsupportedFile or DamagedFile for data that cannot be read, and
        LimitExceeded if more than `max_pixels` are to be decoded, before anything is allocated.
        """
        header, position = Header.unpack(data)
        header.check_pixels(max_pixels)
        tiles = header.grid.count
        allocation = Allocation(tiles * header.tokens_per_tile)
        if header.has_allocation:
            allocation, position = Allocation.unpack(data, position, tiles, header.tokens_per_tile)
        chunks: tuple[Chunk, ...] = ()
        if header.has_chunks:
            chunks, position = unpack_chunks(data, position)
        return cls(header, allocation, chunks), position
