"""What a file says about itself, by name: the fields that `odp info` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onedpiece.bitstream.chunks import ALPHA, METADATA_TYPES, pack_chunks

if TYPE_CHECKING:
    from onedpiece.encoded_image import EncodedImage


def describe(image: EncodedImage) -> dict[str, Any]:
    """The fields of a file. `tokens_here` is None if the tokens cannot be read."""
    header, alpha = image.header, image.chunk(ALPHA)
    size, entropy_coded = len(image.to_bytes()), image.is_entropy_coded
    here = image.total_tokens if image.is_readable else None
    return {
        "format_version": header.version,
        "width": header.width,
        "height": header.height,
        "mode": ("grey" if header.grey else "RGB") + ("" if alpha is None else " with alpha"),
        "density": header.density,
        "tiles": header.grid.count,
        "overlap": header.overlap,
        "coding": "entropy" if entropy_coded else "12 bits",
        "scaled": header.scaled,
        "tokens": image.num_tokens,
        "adaptive": image.allocation.levels is not None,
        "tokens_in_all": image.allocation.total,
        "tokens_here": here,
        "model": header.model.hex(),
        "bytes": size,
        "bytes_by_section": _sections(image, size),
        "alpha_bytes": 0 if alpha is None else len(alpha),
        "metadata": [
            name for name, number in METADATA_TYPES.items() if image.chunk(number) is not None
        ],
        "bpp": round(8 * size / header.pixels, 5),
    }


def _sections(image: EncodedImage, size: int) -> dict[str, int]:
    """Bytes of the parts of a file of `size` bytes."""
    front = len(image.front.pack(image.is_entropy_coded))
    chunks = len(pack_chunks(image.chunks))
    return {"header": front - chunks, "chunks": chunks, "tokens": size - front}
