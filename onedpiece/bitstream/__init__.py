"""The bytes of an .odp file. `docs/format.md` is the specification."""

from onedpiece.bitstream.allocation import LEVELS, MAX_TOKENS, Allocation
from onedpiece.bitstream.container import MAX_PIXELS, OdpFile, build, fitting, parse, truncate
from onedpiece.bitstream.header import MAGIC, MAX_SIDE, VERSION, Header, can_be_scaled
from onedpiece.bitstream.parts import ALPHA, EXIF, ICC, MAX_PART_BYTES, XMP, Part, expand, squeeze

__all__ = [
    "ALPHA",
    "EXIF",
    "ICC",
    "LEVELS",
    "MAGIC",
    "MAX_PART_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "MAX_TOKENS",
    "VERSION",
    "XMP",
    "Allocation",
    "Header",
    "OdpFile",
    "Part",
    "build",
    "can_be_scaled",
    "expand",
    "fitting",
    "parse",
    "squeeze",
    "truncate",
]
