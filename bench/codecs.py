"""The best file of each conventional codec for a byte budget, at native size or scaled down.

Encoder options are those with the highest PSNR for files of some hundred bytes; where different
options win on different pictures, all of them are tried. The size to which a decoded picture is
scaled up again is not in such a file and not counted.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, features
from PIL import __version__ as pillow

from onedpiece.constants import TILE
from onedpiece.metrics import psnr

NAMES = ("jpeg", "webp", "avif", "jxl")
NATIVE = "-native"  # suffix of a codec's name in results without scaling
SCALES = (256, 192, 160, 128, 96, 80, 64, 48, 40, 32, 24, 16)  # in units of 1 / TILE
MIN_EDGE = 8  # pixels; no edge is scaled down further
PATIENCE = 2  # scales without improvement after which the search stops

Encode = Callable[[Image.Image, int], bytes]


@dataclass(frozen=True)
class Format:
    """A file format, and the encoders and the decoder for it.

    suffix:      of file names, with the dot.
    encoders:    name of the options -> function of a picture and a quality that returns a file.
                 Files grow with quality, nearly always.
    max_quality: the highest quality; the lowest is 0.
    version:     of the software.
    """

    name: str
    suffix: str
    encoders: dict[str, Encode]
    decode: Callable[[bytes], Image.Image]
    max_quality: int
    version: str


@dataclass(frozen=True)
class Candidate:
    """A file, its decoded pixels uint8 (H, W, 3) at the size of the original, and its settings.

    size:    width and height of the picture in the file.
    options: name of one of the format's encoders.
    """

    data: bytes
    pixels: np.ndarray
    size: tuple[int, int]
    options: str
    quality: int

    @property
    def settings(self) -> str:
        """Size, options and quality in words."""
        return f"{self.size[0]}x{self.size[1]} {self.options} q{self.quality}"


def available() -> tuple[list[Format], list[str]]:
    """The formats that this machine can write, and a line about each that it cannot."""
    formats, missing = [], []
    for create in (_jpeg, _webp, avif, _jxl):
        try:
            formats.append(create())
        except ImportError as error:
            missing.append(f"{create.__name__.strip('_')}: {error}")
    return formats, missing


class Ladder:
    """Files of one picture in one format: at each scale, quality is found by bisection.

    Files are kept, so that several budgets share them.
    """

    def __init__(self, format: Format, pixels: np.ndarray) -> None:
        self._format, self._pixels = format, pixels
        image = Image.fromarray(pixels)
        sizes = [
            (_scaled_edge(image.width, scale), _scaled_edge(image.height, scale))
            for scale in SCALES
        ]
        self._scaled = [
            _resize(image, size)
            for size in dict.fromkeys(sizes)
            if size == image.size or min(size) >= MIN_EDGE
        ]
        self._files: dict[tuple[int, str, int], bytes] = {}

    def best(self, budget: int, native: bool = False) -> Candidate | None:
        """The file of at most `budget` bytes with the highest PSNR; None if no file is so small.

        native: consider only files that hold the picture at its own size. Otherwise scales are
                tried from the smallest up, until PATIENCE of them in a row bring no improvement:
                PSNR as a function of scale has, nearly always, one maximum.
        """
        best, best_score, without_gain = None, -np.inf, 0
        for rung in range(1) if native else reversed(range(len(self._scaled))):
            for options in self._format.encoders:
                quality = self._highest_quality(rung, options, budget)
                if quality is None:
                    continue
                candidate = self._candidate(rung, options, quality)
                score = psnr(self._pixels, candidate.pixels)
                if score > best_score:
                    best, best_score, without_gain = candidate, score, -1
            without_gain += 1
            if best and without_gain == PATIENCE:
                break
        return best

    def _highest_quality(self, rung: int, options: str, budget: int) -> int | None:
        """The highest quality whose file fits, provided that sizes grow with quality."""
        low, high = 0, self._format.max_quality
        if len(self._file(rung, options, low)) > budget:
            return None
        while low < high:
            middle = (low + high + 1) // 2
            if len(self._file(rung, options, middle)) <= budget:
                low = middle
            else:
                high = middle - 1
        return low

    def _file(self, rung: int, options: str, quality: int) -> bytes:
        key = rung, options, quality
        if key not in self._files:
            self._files[key] = self._format.encoders[options](self._scaled[rung], quality)
        return self._files[key]

    def _candidate(self, rung: int, options: str, quality: int) -> Candidate:
        data = self._file(rung, options, quality)
        height, width = self._pixels.shape[:2]
        pixels = decode(self._format, data, width, height)
        return Candidate(data, pixels, self._scaled[rung].size, options, quality)


def encode(format: Format, pixels: np.ndarray, candidate: Candidate) -> bytes:
    """The candidate's file once more, from the original's pixels uint8 (H, W, 3)."""
    image = _resize(Image.fromarray(pixels), candidate.size)
    return format.encoders[candidate.options](image, candidate.quality)


def decode(format: Format, data: bytes, width: int, height: int) -> np.ndarray:
    """The pixels of a file, uint8 (height, width, 3), scaled up if it holds fewer."""
    return np.asarray(_resize(format.decode(data).convert("RGB"), (width, height)))


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def _scaled_edge(edge: int, scale: int) -> int:
    return max(1, round(edge * scale / TILE))


def _save(image: Image.Image, quality: int, *, name: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, name, quality=quality, **options)
    return out.getvalue()


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def _jpeg() -> Format:
    def write(image: Image.Image, quality: int, *, subsampling: int, progressive: bool) -> bytes:
        options = {"subsampling": subsampling, "progressive": progressive, "optimize": True}
        return _without_jfif(_save(image, quality, name="JPEG", **options))

    encoders: dict[str, Encode] = {
        "4:2:0": partial(write, subsampling=2, progressive=False),
        "4:4:4": partial(write, subsampling=0, progressive=False),
        "4:2:0 progressive": partial(write, subsampling=2, progressive=True),
    }
    library = features.version("libjpeg_turbo") or features.version("jpg")
    return Format("jpeg", ".jpg", encoders, _open, 95, f"Pillow {pillow}, libjpeg {library}")


def _without_jfif(data: bytes) -> bytes:
    """A JPEG file without its JFIF segment, 18 bytes that decoders do not need."""
    return data[:2] + data[20:] if data[2:4] == b"\xff\xe0" else data


def _webp() -> Format:
    """With the package webp: one segment per picture, a shorter header that Pillow cannot write."""
    if not features.check("webp"):
        raise ImportError("this Pillow cannot write it")
    pillow_version = f"Pillow {pillow}, libwebp {features.version('webp')}"
    try:
        import webp
    except ImportError:
        encoders: dict[str, Encode] = {"m6": partial(_save, name="WEBP", method=6)}
        return Format("webp", ".webp", encoders, _open, 100, pillow_version)

    def write(image: Image.Image, quality: int) -> bytes:
        config = webp.WebPConfig.new(quality=quality, method=6)
        config.ptr.segments = 1
        return bytes(webp.WebPPicture.from_pil(image).encode(config).buffer())

    return Format("webp", ".webp", {"m6 1 segment": write}, _open, 100, "the package webp")


def avif(tune: str = "psnr") -> Format:
    """AVIF by libaom. tune: the metric that its decisions optimise, psnr or ssim."""
    if not features.check("avif"):
        raise ImportError("this Pillow cannot write it")
    encoders: dict[str, Encode] = {
        f"{subsampling} speed {speed}": partial(
            _save,
            name="AVIF",
            speed=speed,
            subsampling=subsampling,
            max_threads=1,
            advanced={"tune": tune},
        )
        for subsampling, speed in (("4:4:4", 4), ("4:2:0", 6))
    }
    version = f"Pillow {pillow}, libavif {features.version('avif')}"
    return Format("avif", ".avif", encoders, _open, 100, version)


def _jxl() -> Format:
    """JPEG XL up to quality 99, because 100 is the lossless mode."""
    try:
        import pillow_jxl  # noqa: F401  (registers its Pillow plugin)
    except ImportError:
        return _cjxl()
    from importlib.metadata import version

    encoders: dict[str, Encode] = {
        f"effort {effort}": partial(_save, name="JXL", effort=effort, num_threads=0)
        for effort in (7, 9)
    }
    plugin = version("pillow-jxl-plugin")
    return Format("jxl", ".jxl", encoders, _open, 99, f"pillow-jxl-plugin {plugin}")


MIN_CJXL_QUALITY = 5  # versions before 0.8 fail below


def _cjxl() -> Format:
    """JPEG XL by the reference programs, which read and write files."""
    if not (shutil.which("cjxl") and shutil.which("djxl")):
        raise ImportError("install pillow-jxl-plugin, or cjxl and djxl")

    def write(image: Image.Image, quality: int, *, effort: int) -> bytes:
        png = _save(image, 0, name="PNG")
        quality = max(quality, MIN_CJXL_QUALITY)
        return _convert(png, ".png", ".jxl", "cjxl", "-q", str(quality), "-e", str(effort))

    def read(data: bytes) -> Image.Image:
        return _open(_convert(data, ".jxl", ".png", "djxl"))

    encoders: dict[str, Encode] = {
        f"effort {effort}": partial(write, effort=effort) for effort in (7, 9)
    }
    version = subprocess.run(["cjxl", "--version"], capture_output=True, text=True).stdout
    return Format("jxl", ".jxl", encoders, read, 99, version.partition("\n")[0])


def _convert(data: bytes, before: str, after: str, program: str, *options: str) -> bytes:
    """A file converted by a program. before, after: suffixes of its input and output."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in").with_suffix(before), Path(folder, "out" + after)
        source.write_bytes(data)
        subprocess.run([program, source, target, *options], check=True, capture_output=True)
        return target.read_bytes()
