"""Conventional codecs at their best for a byte budget: each at native size, and scaled down before and up after.

Encoder options are those that give the highest PSNR for files of some hundred bytes; where two options win on
different pictures, both are tried. What is not in a file is not counted: the size that a picture is scaled up to
again is taken as known.
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

from onedpiece.bench.metrics import psnr

NAMES = ("jpeg", "webp", "avif", "jxl")
NATIVE = "-native"  # ending of the names of results without scaling
SCALES = (256, 192, 160, 128, 96, 80, 64, 48, 40, 32, 24, 16)  # of 256
SMALLEST = 8  # pixels; edges are not scaled down to fewer
PATIENCE = 2  # scales

Encode = Callable[[Image.Image, int], bytes]


@dataclass(frozen=True)
class Format:
    """A file format, and ways to write it.

    encoders: name of the options -> picture and quality to bytes; more quality nearly always makes more bytes.
    highest:  the highest quality there is; the lowest is 0.
    version:  of the software.
    """

    name: str
    suffix: str
    encoders: dict[str, Encode]
    decode: Callable[[bytes], Image.Image]
    highest: int
    version: str


@dataclass(frozen=True)
class Coded:
    """A file, its decoded pixels uint8 (H, W, 3) at the size of the original, and what it was made with.

    size: width and height of what the file holds. options: one of the format's encoders.
    """

    data: bytes
    pixels: np.ndarray
    size: tuple[int, int]
    options: str
    quality: int

    @property
    def how(self) -> str:
        """The last three in words."""
        return f"{self.size[0]}x{self.size[1]} {self.options} q{self.quality}"


def available() -> tuple[list[Format], list[str]]:
    """The formats that this machine can write, and a line about each that it cannot."""
    formats, missing = [], []
    for make in (_jpeg, _webp, avif, _jxl):
        try:
            formats.append(make())
        except ImportError as error:
            missing.append(f"{make.__name__.strip('_')}: {error}")
    return formats, missing


class Ladder:
    """All files worth having of one picture in one format: for each scale, by bisection over quality."""

    def __init__(self, format: Format, pixels: np.ndarray) -> None:
        self._format, self._pixels = format, pixels
        image = Image.fromarray(pixels)
        sizes = [(_of(image.width, scale), _of(image.height, scale)) for scale in SCALES]
        self._scaled = [
            _scaled(image, size)
            for size in dict.fromkeys(sizes)
            if size == image.size or min(size) >= SMALLEST
        ]
        self._files: dict[tuple[int, str, int], bytes] = {}

    def best(self, budget: int, native: bool = False) -> Coded | None:
        """The file of at most `budget` bytes with the highest PSNR; None if even the smallest is larger.

        native: only among files that hold the picture at its own size. Otherwise scales are tried from the smallest
        on, until PATIENCE of them in a row are no better: PSNR over scale has one maximum, nearly.
        """
        best, highest, worse = None, -np.inf, 0
        for rung in range(1) if native else reversed(range(len(self._scaled))):
            for options in self._format.encoders:
                quality = self._fitting(rung, options, budget)
                if quality is None:
                    continue
                coded = self._decoded(rung, options, quality)
                score = psnr(self._pixels, coded.pixels)
                if score > highest:
                    best, highest, worse = coded, score, -1
            worse += 1
            if best and worse == PATIENCE:
                break
        return best

    def _fitting(self, rung: int, options: str, budget: int) -> int | None:
        """The highest quality that fits, if sizes grow with quality."""
        low, high = 0, self._format.highest
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

    def _decoded(self, rung: int, options: str, quality: int) -> Coded:
        data = self._file(rung, options, quality)
        height, width = self._pixels.shape[:2]
        pixels = decoded(self._format, data, width, height)
        return Coded(data, pixels, self._scaled[rung].size, options, quality)


def encoded(format: Format, pixels: np.ndarray, coded: Coded) -> bytes:
    """The file of `coded` once more, from the pixels uint8 (H, W, 3) of the original."""
    image = _scaled(Image.fromarray(pixels), coded.size)
    return format.encoders[coded.options](image, coded.quality)


def decoded(format: Format, data: bytes, width: int, height: int) -> np.ndarray:
    """A file's pixels, uint8 (height, width, 3), scaled up if it holds fewer."""
    return np.asarray(_scaled(format.decode(data).convert("RGB"), (width, height)))


def _scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def _of(edge: int, scale: int) -> int:
    return max(1, round(edge * scale / SCALES[0]))


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
    """A JPEG file without its JFIF segment: 18 bytes that decoders do without."""
    return data[:2] + data[20:] if data[2:4] == b"\xff\xe0" else data


def _webp() -> Format:
    """One segment for the whole picture, which Pillow cannot ask for, saves bytes that matter in small files."""
    if not features.check("webp"):
        raise ImportError("this Pillow cannot write it")
    pillows = f"Pillow {pillow}, libwebp {features.version('webp')}"
    try:
        import webp
    except ImportError:
        encoders: dict[str, Encode] = {"m6": partial(_save, name="WEBP", method=6)}
        return Format("webp", ".webp", encoders, _open, 100, pillows)

    def write(image: Image.Image, quality: int) -> bytes:
        config = webp.WebPConfig.new(quality=quality, method=6)
        config.ptr.segments = 1
        return bytes(webp.WebPPicture.from_pil(image).encode(config).buffer())

    return Format("webp", ".webp", {"m6 1 segment": write}, _open, 100, "the package webp")


def avif(tune: str = "psnr") -> Format:
    """tune: what libaom's decisions aim for, psnr or ssim."""
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
    """Not quality 100, which is another mode."""
    try:
        import pillow_jxl  # noqa: F401  (it registers itself)
    except ImportError:
        return _cjxl()
    from importlib.metadata import version

    encoders: dict[str, Encode] = {
        f"effort {effort}": partial(_save, name="JXL", effort=effort, num_threads=0)
        for effort in (7, 9)
    }
    plugin = version("pillow-jxl-plugin")
    return Format("jxl", ".jxl", encoders, _open, 99, f"pillow-jxl-plugin {plugin}")


LOWEST_CJXL = 5  # below, versions before 0.8 fail


def _cjxl() -> Format:
    """The reference programs, which take and make files."""
    if not (shutil.which("cjxl") and shutil.which("djxl")):
        raise ImportError("install pillow-jxl-plugin, or cjxl and djxl")

    def write(image: Image.Image, quality: int, *, effort: int) -> bytes:
        png = _save(image, 0, name="PNG")
        quality = max(quality, LOWEST_CJXL)
        return _converted(png, ".png", ".jxl", "cjxl", "-q", str(quality), "-e", str(effort))

    def read(data: bytes) -> Image.Image:
        return _open(_converted(data, ".jxl", ".png", "djxl"))

    encoders: dict[str, Encode] = {
        f"effort {effort}": partial(write, effort=effort) for effort in (7, 9)
    }
    told = subprocess.run(["cjxl", "--version"], capture_output=True, text=True).stdout
    return Format("jxl", ".jxl", encoders, read, 99, told.partition("\n")[0])


def _converted(data: bytes, before: str, after: str, program: str, *options: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in").with_suffix(before), Path(folder, "out" + after)
        source.write_bytes(data)
        subprocess.run([program, source, target, *options], check=True, capture_output=True)
        return target.read_bytes()
