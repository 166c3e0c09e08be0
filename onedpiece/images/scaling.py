"""Scale and crop PIL images, in little memory also if they are long and thin."""

from __future__ import annotations

from PIL import Image

from onedpiece.constants import TILE

LONGEST = 16  # times the short side; longer images are cropped to that before they are scaled


def center_square(image: Image.Image) -> Image.Image:
    """The central 256x256 pixels after the short side is scaled to 256 (bicubic), as in papers."""
    image = center(image, LONGEST * min(image.size))
    if min(image.size) != TILE:
        factor = TILE / min(image.size)
        width, height = (max(TILE, round(edge * factor)) for edge in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return center(image, TILE)


def shrink(image: Image.Image, room: tuple[int, int]) -> Image.Image:
    """The image, reduced to fit where it is larger than the room, (width, height) in pixels.

    Every side keeps a pixel at least, unlike with `ImageOps.contain`.
    """
    factor = min(room[0] / image.width, room[1] / image.height)
    if factor >= 1:
        return image
    width, height = (max(1, round(edge * factor)) for edge in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def center(image: Image.Image, side: int) -> Image.Image:
    """The central part of an image, of at most `side` pixels along each side."""
    width, height = (min(edge, side) for edge in image.size)
    if (width, height) == image.size:
        return image
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
