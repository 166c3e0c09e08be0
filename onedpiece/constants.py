"""Numbers that several modules share. Importing this module imports nothing else."""

TILE = 256
"""Side of a tile in pixels: what the networks see at once."""

PATCH = 16
"""Side of a patch of the transformers in pixels."""

MAX_TOKENS = 256
"""Largest number of tokens of a tile."""

MAX_DENSITY = 4
"""Most pixels of the tiles for each pixel of the picture, along each side, in the format."""

MAX_TOKENS_OF_PICTURE = 1024
"""Most tokens for each tile that a picture has at density 1, if the encoder makes its tiles
finer."""

TOKEN_BITS = 12
"""Bits of a token that is not entropy-coded."""

CODEBOOK_SIZE = 1 << TOKEN_BITS
"""Tokens are 0 to CODEBOOK_SIZE - 1."""

MAX_SIDE = 32768
"""Largest width and height in pixels that the format holds."""

MAX_PIXELS = 16384**2
"""Pixels that a picture may have unless the caller says otherwise."""

MAX_FILE_BYTES = 512 << 20
"""Longer files are refused; far above the largest .odp file that the limits on pixels allow."""

MAGIC = b"\x9dP"
"""First bytes of a file: 0x1D for 1-D with the high bit set, which shows a transfer of 7 bits, and
P for Piece."""

MEDIA_TYPE = "image/x-onedpiece"

DEFAULT_TOKEN_SET = bytes.fromhex("97ace4")
"""First bytes of the SHA-256 of the token set `onedpiece-1`, which is frozen (docs/format.md)."""
