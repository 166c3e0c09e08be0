"""The bytes of an .odp file. `docs/format.md` is the specification."""

from onedpiece.bitstream.allocation import LEVELS, Allocation
from onedpiece.bitstream.chunks import ALPHA, EXIF, ICC, MAX_PART_BYTES, XMP, Part, expand, squeeze
from onedpiece.bitstream.container import OdpFile, build, fitting, parse, truncate
from onedpiece.bitstream.header import MAGIC, VERSION, Header, can_be_scaled
from onedpiece.constants import MAX_PIXELS, MAX_SIDE, MAX_TOKENS

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
