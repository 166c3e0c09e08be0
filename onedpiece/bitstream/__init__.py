"""The bytes of an .odp file. `docs/format.md` is the specification."""

from onedpiece.bitstream.container import MAX_PIXELS, OdpFile, build, parse, truncate
from onedpiece.bitstream.header import MAGIC, MAX_SIDE, MAX_TOKENS, VERSION, Header
from onedpiece.bitstream.parts import Part
from onedpiece.bitstream.payload import CODEBOOK_SIZE, pack_tokens, unpack_tokens

__all__ = [
    "CODEBOOK_SIZE",
    "MAGIC",
    "MAX_PIXELS",
    "MAX_SIDE",
    "MAX_TOKENS",
    "VERSION",
    "Header",
    "OdpFile",
    "Part",
    "build",
    "pack_tokens",
    "parse",
    "truncate",
    "unpack_tokens",
]
