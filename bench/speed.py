"""Speed and memory of `odp`, beside PyTorch with the same weights and beside WebP, in one run."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench.demo import PICTURES
from onedpiece.bench.measure import Spread, machine, process, repeat, spread
from onedpiece.codec import Codec
from onedpiece.image import open_picture, to_pillow
from onedpiece.models.registry import Model
from onedpiece.runtime import Runtime
from onedpiece.runtime.onnx import OnnxRuntime

PICTURE = PICTURES / "coffee.png"
BATCH = 32
COLD_RUNS = 7
WARM_RUNS = 30
BATCH_RUNS = 5


def speed(threads: int, device: str = "cpu") -> None:
    """Print three tables: networks warm, whole pictures warm, whole processes cold."""
    codec = Codec(device=device, threads=threads)
    print(f"{machine(threads)}, device {device}\n")
    _networks(codec.model, threads, device)
    _pictures(codec)
    _processes(threads, device)


def _networks(model: Model, threads: int, device: str) -> None:
    print("Networks, 256 tokens, warm          1 picture, ms        pictures/s in batches of 8")
    runtimes: list[tuple[str, Runtime]] = [("ONNX Runtime", OnnxRuntime(model, device, threads))]
    try:
        import torch

        from onedpiece.runtime.torch import TorchRuntime
    except ImportError:
        print("PyTorch is not installed and not compared")
    else:
        torch.set_num_threads(threads)
        runtimes.append(("PyTorch eager", TorchRuntime(model, runtimes[0][1].device)))
    one = open_picture(PICTURE).pixels[None]
    eight = np.repeat(one, 8, 0)
    for name, runtime in runtimes:
        tokens = runtime.encode(eight)
        _row(f"{name} encode", lambda r=runtime: r.encode(one), lambda r=runtime: r.encode(eight))
        _row(
            f"{name} decode",
            lambda r=runtime, t=tokens: r.decode(t[:1]),
            lambda r=runtime, t=tokens: r.decode(t),
        )


def _row(name: str, single: Callable[[], object], batch: Callable[[], object]) -> None:
    one, eight = repeat(single, WARM_RUNS), repeat(batch, BATCH_RUNS)
    print(f"{name:30s} {_milliseconds(one):>24s} {8 / eight.median:22.1f}")


def _pictures(codec: Codec) -> None:
    print("\nPictures, pixels to file bytes and back, warm, ms")
    image = to_pillow(open_picture(PICTURE))
    data = codec.encode(image)
    print(
        f"odp encode                     {_milliseconds(repeat(lambda: codec.encode(image), WARM_RUNS)):>24s}"
    )
    print(
        f"odp decode                     {_milliseconds(repeat(lambda: codec.decode(data), WARM_RUNS)):>24s}"
    )
    encoding = repeat(lambda: codec.encode_many([image] * BATCH), BATCH_RUNS)
    decoding = repeat(lambda: codec.decode_many([data] * BATCH), BATCH_RUNS)
    print(f"odp encode, {BATCH} pictures        {BATCH / encoding.median:20.1f} pictures/s")
    print(f"odp decode, {BATCH} pictures        {BATCH / decoding.median:20.1f} pictures/s")
    small = _webp(image)
    print(
        f"WebP (64 pixels wide) encode   {_milliseconds(repeat(lambda: _webp(image), WARM_RUNS)):>24s}"
    )
    print(
        f"WebP (64 pixels wide) decode   {_milliseconds(repeat(lambda: _unwebp(small), WARM_RUNS)):>24s}"
    )


def _processes(threads: int, device: str) -> None:
    print("\nWhole processes, cold              wall, ms                peak memory, MB")
    odp = [sys.executable, "-m", "onedpiece.cli"]
    options = ["--device", device, "--threads", str(threads)]
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded = Path(folder) / "x.odp", Path(folder) / "x.png"
        runs = {
            "odp --help": [*odp, "--help"],
            "odp info": [*odp, "info", str(coded)],
            "odp encode": [*odp, "encode", "-f", *options, str(PICTURE), str(coded)],
            "odp decode": [*odp, "decode", "-f", *options, str(coded), str(decoded)],
        }
        process(runs["odp encode"])
        for name, arguments in runs.items():
            results = [process(arguments) for _ in range(COLD_RUNS)]
            wall = spread([seconds for seconds, _ in results])
            memory = max(peak for _, peak in results)
            print(f"{name:30s} {_milliseconds(wall):>24s} {memory / 1e6:16.0f}")


def _webp(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.resize((64, 64), Image.Resampling.LANCZOS).save(out, "WEBP", quality=20, method=6)
    return out.getvalue()


def _unwebp(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).resize((256, 256), Image.Resampling.BICUBIC)


def _milliseconds(value: Spread) -> str:
    return f"{1e3 * value.median:.1f} ({1e3 * value.low:.1f} to {1e3 * value.high:.1f})"
