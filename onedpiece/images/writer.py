"""Write decoded pictures in the formats of Pillow."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, PngImagePlugin

from onedpiece.errors import OutputError
from onedpiece.images.color import Color
from onedpiece.images.metadata import INFO_KEYS
from onedpiece.images.picture import Picture
from onedpiece.images.reader import FORMATS

WITH_ALPHA = {"PNG", "WEBP", "TIFF", "AVIF", "JPEG2000", "TGA", "QOI", "SGI"}
WITH_METADATA = {"PNG", "JPEG", "WEBP", "TIFF", "AVIF"}
COLOR_ONLY = {("QOI", "L"): "RGB", ("QOI", "LA"): "RGBA", ("SGI", "LA"): "RGBA"}
TIFF_XMP = 700  # tag

# A lossy output must not add visible losses of its own. PNG files of Pillow's own level, 6, are 6 %
# smaller, but take three times as long to write, about as long as the faster decoder runs.
SAVE_OPTIONS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 95},
    "PNG": {"compress_level": 3},
    "WEBP": {"lossless": True},
}


def format_for(path: Path) -> str:
    """Pillow's name of the format for a file name extension.

    Raises OutputError if the format cannot be written.
    """
    suffix = path.suffix.lower()
    for load in (Image.preinit, Image.init):  # the usual formats, then all, which takes longer
        if suffix not in Image.EXTENSION:
            load()
    name = Image.EXTENSION.get(suffix)
    if name not in FORMATS or name not in Image.SAVE:
        raise OutputError(f"{path}: the extension is not that of a writable picture format")
    return name


def to_file_bytes(picture: Picture, format_name: str, background: Color | None = None) -> bytes:
    """The picture as a file of a format, such as "PNG".

    background: colour to put behind transparent pixels.
    Raises OutputError if the format cannot hold the picture, or Pillow cannot write it.
    """
    file = io.BytesIO()
    try:
        if background is not None:
            picture = picture.flattened(background)
        image = _fitting_image(picture, format_name)
        options = {**SAVE_OPTIONS.get(format_name, {}), **_metadata_options(image, format_name)}
        image.save(file, format_name, **options)
    except OutputError:
        raise
    except MemoryError as error:
        raise OutputError("there is not enough memory to write the picture") from error
    except Exception as error:  # Pillow's plugins raise many types, for broken metadata too
        raise OutputError(f"cannot be written as {format_name}: {error}") from error
    return file.getvalue()


def _fitting_image(picture: Picture, format_name: str) -> Image.Image:
    """The picture in a mode that fits the format.

    Raises OutputError if transparency would be lost.
    """
    if format_name not in WITH_METADATA:
        picture = picture.in_srgb()  # the format cannot contain a profile
    image = picture.to_pillow()
    if image.mode in {"LA", "RGBA"} and format_name not in WITH_ALPHA:
        raise OutputError(
            f"{format_name} cannot hold transparency: write a PNG, or use --background"
        )
    mode = COLOR_ONLY.get((format_name, image.mode))
    return image.convert(mode) if mode else image


def _metadata_options(image: Image.Image, format_name: str) -> dict[str, object]:
    """Arguments with which Pillow writes the metadata that the format supports."""
    options: dict[str, object] = {}
    if format_name in WITH_METADATA:
        keys = [names[0] for names in INFO_KEYS.values()]
        options = {key: image.info[key] for key in keys if key in image.info}
    if format_name == "PNG" and "xmp" in options:
        text = PngImagePlugin.PngInfo()
        xmp: bytes = options.pop("xmp")  # type: ignore[assignment]
        text.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
        options["pnginfo"] = text
    if format_name == "TIFF" and "xmp" in options:
        tags = Image.Exif()
        tags.load(image.info.get("exif", b""))
        tags[TIFF_XMP] = options.pop("xmp")
        options["exif"] = tags
    return options
