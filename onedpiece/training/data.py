"""Training pictures from tar files and folders, decoded once into a memory-mapped file.

Decoding WebP at every step would take as long as the step itself on a CPU. `Pictures.open` decodes
each source once into `<cache>/pixels.u8`, all pictures end to end in HWC order, with an index
beside it. Further sources are appended.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from onedpiece.constants import TILE
from onedpiece.images.reader import from_pillow
from onedpiece.images.scaling import LONGEST, center

LONGEST_EDGE = 512
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def normalise(picture: Image.Image) -> np.ndarray:
    """RGB uint8 (H, W, 3) as encoders see it: short edge scaled to 256, long edge cropped to 512.

    Raises PictureError or LimitExceeded.
    """
    rgb = Image.fromarray(from_pillow(picture).pixels)
    rgb = center(rgb, LONGEST * min(rgb.size))
    scale = TILE / min(rgb.size)
    if scale != 1:
        size = [max(TILE, round(edge * scale)) for edge in rgb.size]
        rgb = rgb.resize((size[0], size[1]), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(center(rgb, LONGEST_EDGE))


def centre_crop(picture: np.ndarray) -> np.ndarray:
    """The central 256x256 of a picture (H, W, 3) with H, W >= 256."""
    top, left = ((edge - TILE) // 2 for edge in picture.shape[:2])
    return picture[top : top + TILE, left : left + TILE]


def _stamp(source: Path) -> list[Any]:
    """Changes with the source: its name, number of files and total bytes."""
    files = [p for p in source.rglob("*") if p.is_file()] if source.is_dir() else [source]
    return [str(source), len(files), sum(file.stat().st_size for file in files)]


def shards(paths: list[Path]) -> list[Path]:
    """Replace each folder of tar files by its tar files, oldest first."""
    sources: list[Path] = []
    for path in paths:
        tars = sorted(path.glob("*.tar"), key=lambda tar: (tar.stat().st_mtime_ns, tar.name))
        sources += tars or [path]
    return sources


def iterate_sources(sources: list[Path]) -> Iterator[tuple[str, bytes]]:
    """(name, file bytes) of every picture in tar files and folders, in a fixed order.

    Raises ValueError for what is neither a folder nor a complete tar file.
    """
    for source in sources:
        if source.is_dir():
            found = (path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
            for path in sorted(path for path in found if path.is_file()):
                yield str(path.relative_to(source)), path.read_bytes()
        else:
            yield from _members(source)


def _members(source: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(source) as tar:
            for member in tar:
                if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES:
                    file = tar.extractfile(member)
                    assert file is not None
                    yield member.name, file.read()
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{source} is neither a folder nor a whole tar file") from error


@dataclass(frozen=True)
class Crops:
    """256x256 squares of pictures, mirrored or not; arrays of equal length."""

    picture: np.ndarray
    top: np.ndarray
    left: np.ndarray
    mirror: np.ndarray

    @classmethod
    def draw(cls, index: np.ndarray, picture: np.ndarray, rng: np.random.Generator) -> Crops:
        """One random crop of each of the given pictures; half of them are mirrored."""
        margin = index[picture, 1:] - TILE
        corner = rng.integers(margin + 1)
        return cls(picture, corner[:, 0], corner[:, 1], rng.random(len(picture)) < 0.5)


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures in one flat array; rows of `index` are (offset, height, width)."""

    pixels: np.ndarray
    index: np.ndarray

    @classmethod
    def open(cls, sources: list[Path], cache: Path) -> Pictures:
        """Open the cache; build it first if it is missing, or extend it if sources were added.

        Unreadable pictures are skipped with a line on stdout. Raises ValueError if no picture is
        left, or for a source that is neither a folder nor a tar file.
        """
        stamp = [_stamp(source) for source in sources]
        meta = cache / "index.json"
        cached = json.loads(meta.read_text()) if meta.exists() else {"sources": [], "index": []}
        if cached["sources"] != stamp:
            _build(sources, cache, stamp, cached)
        index = np.array(json.loads(meta.read_text())["index"], dtype=np.int64).reshape(-1, 3)
        return cls(np.memmap(cache / "pixels.u8", dtype=np.uint8, mode="r"), index)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> np.ndarray:
        """Picture i, uint8 (H, W, 3) with H, W >= 256."""
        offset, height, width = self.index[i]
        return self.pixels[offset : offset + height * width * 3].reshape(height, width, 3)

    def centre(self, i: int) -> np.ndarray:
        """The central 256x256 of picture i."""
        return centre_crop(self[i])

    def crops(self, crops: Crops) -> np.ndarray:
        """Pixels of crops, uint8 (B, 256, 256, 3)."""
        squares = []
        for i, top, left, mirror in zip(
            crops.picture, crops.top, crops.left, crops.mirror, strict=True
        ):
            square = self[i][top : top + TILE, left : left + TILE]
            squares.append(square[:, ::-1] if mirror else square)
        return np.stack(squares)

    def random_crops(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """One random crop of each of `size` random pictures, uint8 (size, 256, 256, 3)."""
        chosen = rng.integers(len(self), size=size)
        return self.crops(Crops.draw(self.index, chosen, rng))


def _build(sources: list[Path], cache: Path, stamp: list[Any], cached: dict[str, Any]) -> None:
    """Decode sources into the cache.

    If the cached sources are the first of `sources`, the rest is appended. Otherwise the cache is
    replaced, but only after a picture of the new sources could be read.
    """
    cache.mkdir(parents=True, exist_ok=True)
    meta, pixels, partial = (cache / name for name in ("index.json", "pixels.u8", "pixels.part"))
    kept = len(cached["sources"])
    if cached["sources"] != stamp[:kept]:
        kept, cached = 0, {"index": []}
    index = cached["index"]
    offset = sum(height * width * 3 for _, height, width in index)
    with pixels.open("r+b") if kept else partial.open("wb") as out:
        out.truncate(offset)
        out.seek(offset)
        _append(sources[kept:], out, index, offset)
    if not index:
        partial.unlink(missing_ok=True)
        raise ValueError(f"no readable picture in {', '.join(map(str, sources))}")
    if not kept:
        meta.unlink(missing_ok=True)
        os.replace(partial, pixels)
    written = meta.with_suffix(".part")
    written.write_text(json.dumps({"sources": stamp, "index": index}))
    os.replace(written, meta)


def _append(sources: list[Path], out: BinaryIO, index: list[Any], offset: int) -> None:
    """Write the pixels of all readable pictures to `out` and their rows to `index`."""
    for name, data in iterate_sources(sources):
        try:
            picture = normalise(Image.open(io.BytesIO(data)))
        except Exception as error:  # Pillow's plugins raise anything for broken files
            print(f"skipped {name}: {error}")
            continue
        out.write(picture.tobytes())
        index.append((offset, *picture.shape[:2]))
        offset += picture.size
