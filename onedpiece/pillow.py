"""The .odp format for Pillow: importing this module registers it.

    import onedpiece.pillow
    from PIL import Image

    with Image.open("in.odp") as image:        # reads the header only
        image.save("back.png")                 # decodes
    picture.save("out.odp", "ODP", tokens=64)

`Image.open` knows files by their first bytes. The file name extension is not registered, since it
also belongs to OpenDocument presentations; `register(extension=True)` does so.
"""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile

from onedpiece import api
from onedpiece.bitstream.chunks import METADATA_TYPES, decompress
from onedpiece.bitstream.front import Front
from onedpiece.bitstream.header import Header
from onedpiece.constants import DEFAULT_TOKEN_SET, MAGIC, MAX_FILE_BYTES, MAX_SIDE, MEDIA_TYPE
from onedpiece.errors import OdpError
from onedpiece.models.registry import DEFAULT

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

FORMAT = "ODP"
EXTENSION = ".odp"
MIME = MEDIA_TYPE

LONGEST_HEADER = 16  # bytes
INFO_KEYS = {"exif": "exif", "icc": "icc_profile", "xmp": "xmp"}
"""Kinds of metadata, and their names in `Image.info` and as options of `Image.save`."""
_KEYS_OF_CHUNKS = {METADATA_TYPES[kind]: key for kind, key in INFO_KEYS.items()}


class OdpImageFile(ImageFile.ImageFile):
    """An .odp file that Pillow has opened; its pixels are decoded by `load`.

    Opening reads the header, and whatever else lies before the tokens. `info` has

    tokens:    tokens of the complete file for each 256x256 tile, rounded up.
    token_set: "onedpiece-1", or the fingerprint of another token set in hexadecimal.
    bytes:     size of the file.
    exif, icc_profile, xmp: bytes, if the file has them.
    """

    format = FORMAT
    format_description = "One-D-Piece"

    def _open(self) -> None:
        assert self.fp is not None
        try:
            header, tokens, mode, metadata = _read_front(self.fp)
        except OdpError as error:
            raise SyntaxError(str(error)) from error  # Pillow then tries its other formats
        _check_size(header)
        self._size = header.width, header.height
        self._mode = mode
        self.info.update(
            tokens=tokens,
            token_set="onedpiece-1" if header.model == DEFAULT_TOKEN_SET else header.model.hex(),
            bytes=self.fp.seek(0, os.SEEK_END),
            **metadata,
        )
        self.tile = [ImageFile._Tile("raw", (0, 0, *self._size), 0, mode)]

    def load(self) -> PixelAccess | None:
        """Decode the pixels, unless they are there already.

        Raises OSError for a file that cannot be decoded, and for one that lost its end unless
        `ImageFile.LOAD_TRUNCATED_IMAGES` is set.
        """
        if self.tile:
            pixels = _decode(self._read()).tobytes()
            assert self.fp is not None
            if self._exclusive_fp:
                self.fp.close()
            self.fp = io.BytesIO(pixels)
        return super().load()

    def load_seek(self, pos: int) -> None:
        """Stay at the beginning of the pixels. Keeps Pillow from mapping the file into memory."""

    def verify(self) -> None:
        """Check that the file is complete and undamaged, without decoding; then close it.

        Raises OSError.
        """
        try:
            api.verify(self._read())
        except OdpError as error:
            raise OSError(str(error)) from error
        finally:
            super().verify()

    def _read(self) -> bytes:
        """The whole file."""
        if self.fp is None:
            raise ValueError("Operation on closed image")
        self.fp.seek(0)
        return _read_at_most(self.fp, MAX_FILE_BYTES)


def register(*, extension: bool = False) -> None:
    """Make the format known to Pillow: done by the import of this module; repeating is harmless.

    extension: also let names that end with .odp mean this format when Pillow saves, so that it
        need not be given. Programs that ask Pillow for the names of picture files then take
        OpenDocument presentations for pictures.
    """
    Image.register_open(FORMAT, OdpImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_mime(FORMAT, MIME)
    if extension:
        Image.register_extension(FORMAT, EXTENSION)


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _read_front(file: IO[bytes]) -> tuple[Header, int, str, dict[str, bytes]]:
    """The header, number of tokens, mode and metadata of a file. Raises OdpError."""
    data = file.read(LONGEST_HEADER)
    header = Header.unpack(data)[0]
    if not header.has_allocation and not header.has_chunks:  # nearly all files
        return header, header.num_tokens, header.mode, {}
    front = Front.unpack(data + _read_at_most(file, MAX_FILE_BYTES), MAX_SIDE**2)[0]
    return header, front.num_tokens, front.mode, _metadata(front)


def _read_at_most(file: IO[bytes], limit: int) -> bytes:
    data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(f"the file has more than {limit} bytes")
    return data


def _metadata(front: Front) -> dict[str, bytes]:
    """The metadata of a file, by its key in `info`. Raises DamagedFile or LimitExceeded."""
    return {
        _KEYS_OF_CHUNKS[chunk.type]: decompress(chunk.data)
        for chunk in front.chunks
        if chunk.type in _KEYS_OF_CHUNKS
    }


def _check_size(header: Header) -> None:
    """Raise DecompressionBombError where Pillow would if it knew of densities."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and header.decoded_pixels > 2 * limit:
        raise Image.DecompressionBombError(
            f"Image size ({header.decoded_pixels} pixels to decode) exceeds limit of {2 * limit} "
            "pixels, could be decompression bomb DOS attack."
        )


def _decode(data: bytes) -> Image.Image:
    """The decoded picture. Raises OSError."""
    try:
        image = api.open(data)
        if not ImageFile.LOAD_TRUNCATED_IMAGES:
            image.check_complete()
        # Unlike `api.decode`, this does not warn of truncated files, which the user allowed.
        return api._codec(DEFAULT, "auto", None, None).decode_pictures([image])[0].to_pillow()
    except OdpError as error:
        raise OSError(str(error)) from error


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Encode an image with the options that `Image.save` was given.

    Raises OSError for an image that cannot be encoded or a target that it cannot reach, ValueError
    or TypeError for bad options.
    """
    options: dict[str, Any] = image.encoderinfo
    metadata = _metadata_options(options)
    # As in Pillow's other formats, the Exif data of the original only counts if it is given.
    plain = image.copy()
    plain.info = {key: value for key, value in image.info.items() if key not in {"exif", "xmp"}}
    plain.info.update(metadata)
    try:
        data = api.encode(
            plain,
            tokens=options.get("tokens"),
            max_bytes=options.get("max_bytes"),
            bpp=options.get("bpp"),
            psnr=options.get("psnr"),
            effort=options.get("effort", 1),
            metadata=[kind for kind, key in INFO_KEYS.items() if key in metadata],
        )
    except OdpError as error:
        raise OSError(f"cannot write file as {FORMAT}: {error}") from error
    file.write(data)


def _metadata_options(options: dict[str, Any]) -> dict[str, bytes]:
    """The metadata among the options of `Image.save`, by its key in `info`."""
    metadata = {}
    for key in INFO_KEYS.values():
        value = options.get(key)
        if isinstance(value, Image.Exif):
            value = value.tobytes()
        if value is not None and not isinstance(value, bytes):
            raise TypeError(f"{key} must be bytes, not {type(value).__name__}")
        if value:
            metadata[key] = value
    return metadata


register()
