"""Scale a PIL image to a square or into a room, in little memory also if it is long and thin."""

from __future__ import annotations

from PIL import Image

from onedpiece.constants import TILE

LONGEST = 16  # times the short side; what a longer picture has beyond is cut off first


def center_square(image: Image.Image) -> Image.Image:
    """The central 256x256 pixels after the short side is scaled to 256 (bicubic), as in papers."""
    side = LONGEST * min(image.size)
    if max(image.size) > side:
        image = _center(image, min(image.width, side), min(image.height, side))
    if min(image.size) != TILE:
        factor = TILE / min(image.size)
        width, height = (max(TILE, round(edge * factor)) for edge in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return _center(image, TILE, TILE)


def shrink(image: Image.Image, room: tuple[int, int]) -> Image.Image:
    """The image, reduced to fit where it is larger than the room, (width, height) in pixels.

    No side becomes 0, as with `ImageOps.contain`.
    """
    factor = min(room[0] / image.width, room[1] / image.height)
    if factor >= 1:
        return image
    width, height = (max(1, round(edge * factor)) for edge in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _center(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
