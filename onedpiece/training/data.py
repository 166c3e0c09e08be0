"""Training pictures: tar shards or folders, decoded once into a memory-mapped uint8 file.

Decoding WebP again at every step would cost as much as the training step itself on a CPU, so `Pictures.open`
decodes each source once into `<cache>/pixels.u8` (all pictures end to end, HWC) with an index beside it. More
sources later are added at its end.
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

import numpy as np
from PIL import Image, ImageOps

SHORT_EDGE = 256
LONGEST_EDGE = 512
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def normalise(picture: Image.Image) -> np.ndarray:
    """RGB uint8 (H, W, 3), upright, short edge scaled to 256 (antialiased bicubic), long edge cropped to 512."""
    rgb = ImageOps.exif_transpose(picture).convert("RGB")
    scale = SHORT_EDGE / min(rgb.size)
    if scale != 1:
        size = [max(SHORT_EDGE, round(edge * scale)) for edge in rgb.size]
        rgb = rgb.resize((size[0], size[1]), Image.Resampling.BICUBIC, reducing_gap=3.0)
    left = max(0, (rgb.width - LONGEST_EDGE) // 2)
    top = max(0, (rgb.height - LONGEST_EDGE) // 2)
    box = (left, top, min(rgb.width, left + LONGEST_EDGE), min(rgb.height, top + LONGEST_EDGE))
    return np.asarray(rgb.crop(box))


def central(picture: np.ndarray) -> np.ndarray:
    """The central 256x256 of a picture (H, W, 3) with H, W >= 256."""
    top, left = ((edge - SHORT_EDGE) // 2 for edge in picture.shape[:2])
    return picture[top : top + SHORT_EDGE, left : left + SHORT_EDGE]


def _stamp(source: Path) -> list:
    """What tells whether a source has changed: its name, and how many files of how many bytes it has."""
    files = [p for p in source.rglob("*") if p.is_file()] if source.is_dir() else [source]
    return [str(source), len(files), sum(file.stat().st_size for file in files)]


def shards(places: list[Path]) -> list[Path]:
    """Sources at the given places: a folder of tar files stands for its tar files, in the order of their arrival."""
    found: list[Path] = []
    for place in places:
        tars = sorted(place.glob("*.tar"), key=lambda tar: (tar.stat().st_mtime_ns, tar.name))
        found += tars or [place]
    return found


def iterate_sources(sources: list[Path]) -> Iterator[tuple[str, bytes]]:
    """(name, file bytes) of every picture in the given tar files and folders, in a fixed order. Raises ValueError."""
    for source in sources:
        if source.is_dir():
            for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES):
                yield str(path.relative_to(source)), path.read_bytes()
        else:
            yield from _members(source)


def _members(source: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(source) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file and Path(member.name).suffix.lower() in SUFFIXES:
                    yield member.name, file.read()
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{source} is neither a folder nor a whole tar file") from error


@dataclass(frozen=True)
class Crops:
    """Which 256x256 squares of which pictures, mirrored or not; arrays of equal length."""

    picture: np.ndarray
    top: np.ndarray
    left: np.ndarray
    mirror: np.ndarray

    @classmethod
    def draw(cls, index: np.ndarray, picture: np.ndarray, rng: np.random.Generator) -> Crops:
        """One crop anywhere in each of the given pictures, mirrored half of the time."""
        room = index[picture, 1:] - SHORT_EDGE
        corner = rng.integers(room + 1)
        return cls(picture, corner[:, 0], corner[:, 1], rng.random(len(picture)) < 0.5)


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures in one flat array; `index` rows are (offset, height, width)."""

    pixels: np.ndarray
    index: np.ndarray

    @classmethod
    def open(cls, sources: list[Path], cache: Path) -> Pictures:
        """Open the cache, building it first if it is missing or was made from other sources.

        Unreadable pictures are skipped with a line on stdout. Raises ValueError if nothing is left, or for what
        is neither a folder nor a tar file.
        """
        stamp = [_stamp(source) for source in sources]
        meta = cache / "index.json"
        held = json.loads(meta.read_text()) if meta.exists() else {"sources": [], "index": []}
        if held["sources"] != stamp:
            cls._build(sources, cache, stamp, held)
        index = np.array(json.loads(meta.read_text())["index"], dtype=np.int64).reshape(-1, 3)
        return cls(np.memmap(cache / "pixels.u8", dtype=np.uint8, mode="r"), index)

    @staticmethod
    def _build(sources: list[Path], cache: Path, stamp: list, held: dict) -> None:
        """Decode into the cache; sources that it begins with already are kept, and all of it until there is another."""
        cache.mkdir(parents=True, exist_ok=True)
        meta, pixels, partial = (
            cache / name for name in ("index.json", "pixels.u8", "pixels.part")
        )
        kept = len(held["sources"])
        if held["sources"] != stamp[:kept]:
            kept, held = 0, {"index": []}
        index = held["index"]
        offset = sum(height * width * 3 for _, height, width in index)
        with pixels.open("r+b") if kept else partial.open("wb") as out:
            out.truncate(offset)
            out.seek(offset)
            for name, data in iterate_sources(sources[kept:]):
                try:
                    decoded = normalise(Image.open(io.BytesIO(data)))
                except Exception as error:  # Pillow's plugins raise what they like for broken files
                    print(f"skipped {name}: {error}")
                    continue
                out.write(decoded.tobytes())
                index.append((offset, *decoded.shape[:2]))
                offset += decoded.size
        if not index:
            partial.unlink(missing_ok=True)
            raise ValueError(f"no readable picture in {', '.join(map(str, sources))}")
        if not kept:
            meta.unlink(missing_ok=True)
            os.replace(partial, pixels)
        written = meta.with_suffix(".part")
        written.write_text(json.dumps({"sources": stamp, "index": index}))
        os.replace(written, meta)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> np.ndarray:
        """Picture i, uint8 (H, W, 3) with H, W >= 256."""
        offset, height, width = self.index[i]
        return self.pixels[offset : offset + height * width * 3].reshape(height, width, 3)

    def centre(self, i: int) -> np.ndarray:
        """The central 256x256 of picture i."""
        return central(self[i])

    def crops(self, draw: Crops) -> np.ndarray:
        """The crops of a draw, uint8 (B, 256, 256, 3)."""
        squares = []
        for i, top, left, mirror in zip(
            draw.picture, draw.top, draw.left, draw.mirror, strict=True
        ):
            square = self[i][top : top + SHORT_EDGE, left : left + SHORT_EDGE]
            squares.append(square[:, ::-1] if mirror else square)
        return np.stack(squares)
