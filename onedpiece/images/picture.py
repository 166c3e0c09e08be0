"""`Picture`: the input of encoding and the output of decoding."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from onedpiece.images.color import Color, blend, to_rgb_array, to_srgb
from onedpiece.images.metadata import INFO_KEYS
from onedpiece.metrics import psnr


@dataclass(frozen=True)
class Picture:
    """An upright picture of 8 bits, in sRGB unless `metadata` has an ICC profile.

    pixels:   uint8 (H, W, 3), RGB.
    grey:     whether the source had no colour channels.
    alpha:    uint8 (H, W), 0 transparent to 255 opaque; None if the picture is opaque.
    metadata: "exif", "icc", "xmp" -> bytes; only the kinds that are kept and present.
    """

    pixels: np.ndarray
    grey: bool
    alpha: np.ndarray | None = None
    metadata: dict[str, bytes] = field(default_factory=dict)

    def to_pillow(self) -> Image.Image:
        """Mode "L" if grey, else "RGB"; "LA" or "RGBA" with transparency. Metadata is in `info`."""
        image = Image.fromarray(self.pixels)
        if self.grey:
            image = image.convert("L")
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        for kind, data in self.metadata.items():
            image.info[INFO_KEYS[kind][0]] = data
        return image

    def flattened(self, background: Color) -> Picture:
        """The picture on a background colour, without transparency."""
        if self.alpha is None:
            return self
        grey = self.grey and len(set(background)) == 1
        picture = self if grey == self.grey else self.in_srgb()  # its profile is of grey pixels
        pixels = blend(picture.pixels, self.alpha, background)
        return Picture(pixels, grey, None, picture.metadata)

    def in_srgb(self) -> Picture:
        """The picture converted from its ICC profile, if it has one, to sRGB."""
        metadata = dict(self.metadata)
        profile = metadata.pop("icc", None)
        if profile is None:
            return self
        image = to_srgb(Image.fromarray(self.pixels), profile, self.grey)
        return Picture(to_rgb_array(image), self.grey, self.alpha, metadata)


def visible_psnr(original: Picture, decoded: Picture) -> float:
    """PSNR in decibels: of luma if the original is grey, else of RGB. Ignores transparency."""
    reference, other = (
        np.asarray(Picture(picture.pixels, original.grey).to_pillow())
        for picture in (original, decoded)
    )
    return psnr(reference, other)
