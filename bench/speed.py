"""Speed and memory of `odp`, beside PyTorch with the same weights and beside the other codecs, in one run."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from onedpiece.bench import codecs
from onedpiece.bench.demo import PICTURES
from onedpiece.bench.measure import Spread, machine, process, repeat, spread
from onedpiece.codec import Codec
from onedpiece.errors import DeviceError
from onedpiece.images.reader import open_picture, to_pillow
from onedpiece.models.registry import Model
from onedpiece.runtime import Runtime
from onedpiece.runtime.onnx import OnnxRuntime

PICTURE = PICTURES / "coffee.png"
NETWORK_BATCH = 8
BATCH = 32
CODER_BATCH = 512  # pictures of 256 tokens
COLD_RUNS = 7
WARM_RUNS = 30
BATCH_RUNS = 5

# A whole process of the nearest rival: Python, Pillow, one WebP file of 64 pixels a side.
WEBP = {
    "encode": "Image.open(a).convert('RGB').resize((64, 64)).save(b, 'WEBP', quality=20, method=6)",
    "decode": "Image.open(a).resize((256, 256), 3).save(b)",
}


def speed(threads: Sequence[int], device: str) -> None:
    """Print tables in Markdown: networks and whole pictures, warm; the other codecs; whole processes, cold.

    threads: numbers of CPU threads to try. device: "cpu", "cuda", or "auto" for the CPU, and CUDA where it works.
    Raises DeviceError if CUDA is asked for and does not work.
    """
    print(f"{machine()}; 256x256 pixels, 256 tokens; median (quartiles)\n")
    places = [] if device == "cuda" else [("cpu", count) for count in threads]
    if device == "cuda" or (device == "auto" and _has_cuda()):
        places.append(("cuda", threads[-1]))
    _title("warm", "device", "one, ms", "in batches, pictures/s")
    for where, count in places:
        told = _place(where, count)
        codec = Codec(device=where, threads=count)
        for line in (*_networks(codec.model, where, count), *_pictures(codec)):
            _line(line[0], told, *line[1:])
    for line in _coder(Codec(device="cpu")):
        _line(line[0], "1 CPU thread", *line[1:])
    data = Codec(device="cpu").encode(to_pillow(open_picture(PICTURE)))
    for line in _others(len(data)):
        _line(line[0], "1 CPU thread", *line[1:])
    print(f"\nBatches are of {NETWORK_BATCH} tiles for networks, of {BATCH} pictures for odp and")
    print(f"of {CODER_BATCH} pictures, or {256 * CODER_BATCH} tokens, for the range coder.")
    print(f"The other codecs: their best file of at most {len(data)} bytes, scaled down and up,")
    print("without the search for it.\n")
    _title("cold process", "device", "wall, ms", "peak memory, MB")
    for where, count in places:
        for name, wall, memory in _processes(where, count):
            told = _place(where, count)
            _line(name, told, _milliseconds(wall), f"{memory / 1e6:.0f}")


def _place(device: str, threads: int) -> str:
    return device if device == "cuda" else f"{threads} CPU thread{'s' if threads > 1 else ''}"


def _has_cuda() -> bool:
    try:
        Codec(device="cuda").encode(to_pillow(open_picture(PICTURE)))
    except DeviceError:
        return False
    return True


Line = tuple[str, str, str]  # what, one, batches


def _networks(model: Model, device: str, threads: int) -> Iterator[Line]:
    runtimes: dict[str, Runtime] = {"ONNX Runtime": OnnxRuntime(model, device, threads)}
    try:
        import torch

        from onedpiece.runtime.torch import TorchRuntime
    except ImportError:
        print("| PyTorch is not installed | | | |")
    else:
        torch.set_num_threads(threads)
        runtimes["PyTorch eager"] = TorchRuntime(model, device)
    one = open_picture(PICTURE).pixels[None]
    many = np.repeat(one, NETWORK_BATCH, 0)
    for name, runtime in runtimes.items():
        tokens = runtime.encode(many)
        for verb, single, batch in (
            ("encoder", partial(runtime.encode, one), partial(runtime.encode, many)),
            ("decoder", partial(runtime.decode, tokens[:1]), partial(runtime.decode, tokens)),
        ):
            yield f"{name}, {verb}", *_timed(single, batch, NETWORK_BATCH)


def _pictures(codec: Codec) -> Iterator[Line]:
    """Pixels to file bytes, and back."""
    image = to_pillow(open_picture(PICTURE))
    data = codec.encode(image)
    encode, decode = partial(codec.encode, image), partial(codec.decode, data)
    yield "odp encode", *_timed(encode, lambda: codec.encode_many([image] * BATCH), BATCH)
    yield "odp decode", *_timed(decode, lambda: codec.decode_many([data] * BATCH), BATCH)


def _coder(codec: Codec) -> Iterator[Line]:
    """Tokens to payload bytes and back, without networks."""
    file = codec.parse(codec.encode(to_pillow(open_picture(PICTURE))))
    if file.tables is None:
        return
    tokens, places = file.tokens[0], np.arange(file.tokens.shape[1])
    many, everywhere = np.tile(tokens, CODER_BATCH), np.tile(places, CODER_BATCH)
    data, long = file.tables.encode(tokens, places), file.tables.encode(many, everywhere)
    for verb, single, batch in (
        ("encode", (tokens, places), (many, everywhere)),
        ("decode", (data, places), (long, everywhere)),
    ):
        code = getattr(file.tables, verb)
        yield (
            f"range coder, {verb}",
            *_timed(
                partial(code, *single),
                partial(code, *batch),
                CODER_BATCH,
            ),
        )


def _others(budget: int) -> Iterator[Line]:
    pixels = open_picture(PICTURE).pixels
    height, width = pixels.shape[:2]
    for format in codecs.available()[0]:
        coded = codecs.Ladder(format, pixels).best(budget)
        if coded is None:
            yield f"{format.name}: no file so small", "", ""
            continue
        encode = partial(codecs.encoded, format, pixels, coded)
        decode = partial(codecs.decoded, format, coded.data, width, height)
        yield f"{format.name} encode", _milliseconds(repeat(encode, WARM_RUNS)), ""
        yield f"{format.name} decode", _milliseconds(repeat(decode, WARM_RUNS)), ""


def _timed(single: Callable[[], object], batch: Callable[[], object], size: int) -> tuple[str, str]:
    one, many = repeat(single, WARM_RUNS), repeat(batch, BATCH_RUNS)
    return _milliseconds(one), _rate(many, size)


def _processes(device: str, threads: int) -> Iterator[tuple[str, Spread, int]]:
    """Wall time and the largest peak memory of whole processes, in bytes."""
    odp = [sys.executable, "-m", "onedpiece.cli"]
    options = ["--device", device, "--threads", str(threads)]
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded, small = (str(Path(folder, name)) for name in ("x.odp", "x.png", "x.webp"))
        webp = {
            "encode": _pillow(WEBP["encode"], str(PICTURE), small),
            "decode": _pillow(WEBP["decode"], small, decoded),
        }
        runs = {
            "odp encode": [*odp, "encode", "-f", *options, str(PICTURE), coded],
            "odp decode": [*odp, "decode", "-f", *options, coded, decoded],
            "odp info": [*odp, "info", coded],
            "odp --help": [*odp, "--help"],
            "Python and Pillow, WebP encode": webp["encode"],
            "Python and Pillow, WebP decode": webp["decode"],
        }
        for name, arguments in runs.items():
            process(arguments)
            results = [process(arguments) for _ in range(COLD_RUNS)]
            wall = spread([seconds for seconds, _ in results])
            yield name, wall, max(peak for _, peak in results)


def _pillow(action: str, *paths: str) -> list[str]:
    code = f"import sys; from PIL import Image; a, b = sys.argv[1:]; {action}"
    return [sys.executable, "-c", code, *paths]


def _title(*cells: str) -> None:
    _line(*cells)
    _line(*["---"] * len(cells))


def _line(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _milliseconds(value: Spread) -> str:
    return f"{1e3 * value.median:.1f} ({1e3 * value.low:.1f} to {1e3 * value.high:.1f})"


def _rate(value: Spread, count: int) -> str:
    low, high = count / value.high, count / value.low
    return f"{count / value.median:.1f} ({low:.1f} to {high:.1f})"
