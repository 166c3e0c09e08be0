"""Speed and memory of `odp`, of PyTorch with the same weights, and of the other codecs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from onedpiece.bench import codecs, gpu
from onedpiece.bench.cold import PICTURE, cold
from onedpiece.bench.odp import Odp
from onedpiece.bench.timing import Spread, machine, repeat
from onedpiece.constants import MAX_TOKENS
from onedpiece.errors import DeviceError
from onedpiece.images.picture import Picture
from onedpiece.images.reader import open_picture
from onedpiece.models.registry import Model
from onedpiece.runtime import Runtime
from onedpiece.runtime.onnx import OnnxRuntime


@dataclass(frozen=True)
class Workload:
    """Number of repetitions and size of batches of each measurement. Runs are at least two.

    network_batch: tiles. batch: pictures of `odp`. coder_batch: pictures of 256 tokens.
    """

    warm_runs: int = 30
    batch_runs: int = 5
    cold_runs: int = 7
    network_batch: int = 8
    batch: int = 32
    coder_batch: int = 512


Line = tuple[str, str, str]
"""What was measured, milliseconds of one, and rate in batches."""


def speed(threads: Sequence[int], device: str, workload: Workload = Workload()) -> None:
    """Print tables in Markdown: warm networks, pictures and other codecs, and cold processes.

    threads: numbers of CPU threads to try.
    device:  "cpu", "cuda", or "auto" for the CPU and, where it works, CUDA.
    Raises DeviceError if CUDA is requested and does not work.
    """
    picture = open_picture(PICTURE)
    if device == "cuda":
        Odp(device=device).encode(picture, MAX_TOKENS)  # raises before a table begins
    print(f"{machine()}; 256x256 pixels, 256 tokens; median (quartiles)\n")
    places = [] if device == "cuda" else [("cpu", count) for count in threads]
    if device == "cuda" or (device == "auto" and _has_cuda(picture)):
        places.append(("cuda", threads[-1]))
    _warm(places, picture, workload)
    if ("cuda", threads[-1]) in places:
        _gpu(Odp(device="cuda").model, workload)
    _title("cold process", "device", "wall, ms", "peak memory, MB")
    for name, count in places:
        options = ("--device", name, "--threads", str(count))
        for command, wall, memory in cold(sys.executable, options, workload.cold_runs):
            _line(command, _place(name, count), wall.milliseconds(), f"{memory / 1e6:.0f}")


def _warm(places: Sequence[tuple[str, int]], picture: Picture, workload: Workload) -> None:
    _title("warm", "device", "one, ms", "in batches, pictures/s")
    for device, threads in places:
        codec = Odp(device=device, threads=threads)
        networks = _networks(codec.model, device, threads, picture, workload)
        for line in (*networks, *_pictures(codec, picture, workload)):
            _line(line[0], _place(device, threads), *line[1:])
    codec = Odp(device="cpu")
    data = codec.encode(picture, MAX_TOKENS)
    for line in _coder(codec, data, workload):
        _line(line[0], "1 CPU thread", *line[1:])
    for line in _others(picture.pixels, len(data), workload):
        _line(line[0], "1 CPU thread", *line[1:])
    print(f"\nBatches are of {workload.network_batch} tiles for networks, of {workload.batch}")
    print(f"pictures for odp, and of {workload.coder_batch} pictures, or")
    print(f"{MAX_TOKENS * workload.coder_batch} tokens, for the range coder.")
    print(f"The other codecs: their best file of at most {len(data)} bytes. Times include scaling")
    print("down and up, but not the search for that file.\n")


def _gpu(model: Model, workload: Workload) -> None:
    """What else ONNX Runtime can do on a GPU, and what it gains."""
    _title("decoder on CUDA", "one, ms", *(f"{size} at once, tiles/s" for size in gpu.BATCHES[1:]))
    for row in gpu.compare(model, workload.batch_runs):
        _line(*row)
    print()
    sizes = f"{gpu.IN_TURN[0]} to {gpu.IN_TURN[-1]}"
    _title(f"batches of {sizes} tiles in turn", "first pass, s", "second, s", "all alike, s")
    for row in gpu.in_turn(model):
        _line(*row)
    print()


def _place(device: str, threads: int) -> str:
    return device if device == "cuda" else f"{threads} CPU thread{'s' if threads > 1 else ''}"


def _has_cuda(picture: Picture) -> bool:
    try:
        Odp(device="cuda").encode(picture, MAX_TOKENS)
    except DeviceError:
        return False
    return True


def _networks(
    model: Model, device: str, threads: int, picture: Picture, workload: Workload
) -> Iterator[Line]:
    runtimes: dict[str, Runtime] = {"ONNX Runtime": OnnxRuntime(model, device, threads)}
    try:
        import torch

        from onedpiece.runtime.torch import TorchRuntime
    except ImportError:
        print("| PyTorch is not installed | | | |")
    else:
        torch.set_num_threads(threads)
        if device == "cpu" or torch.cuda.is_available():
            runtimes["PyTorch eager"] = TorchRuntime(model, device)
        else:
            print("| this PyTorch has no CUDA | | | |")
    one = picture.pixels[None]
    many = np.repeat(one, workload.network_batch, 0)
    for name, runtime in runtimes.items():
        tokens = runtime.encode(many)
        for verb, single, batch in (
            ("encoder", partial(runtime.encode, one), partial(runtime.encode, many)),
            ("decoder", partial(runtime.decode, tokens[:1]), partial(runtime.decode, tokens)),
        ):
            yield f"{name}, {verb}", *_timed(single, batch, len(many), workload)


def _pictures(codec: Odp, picture: Picture, workload: Workload) -> Iterator[Line]:
    """From pixels to the bytes of a file, and back."""
    data, count = codec.encode(picture, MAX_TOKENS), workload.batch
    pictures, files = [picture] * count, [data] * count
    encode, decode = partial(codec.encode, picture, MAX_TOKENS), partial(codec.decode, data)
    encode_many = partial(codec.encode_many, pictures)
    decode_many = partial(codec.decode_many, files)
    yield "odp encode", *_timed(encode, encode_many, count, workload)
    yield "odp decode", *_timed(decode, decode_many, count, workload)


def _coder(codec: Odp, data: bytes, workload: Workload) -> Iterator[Line]:
    """From tokens to the bytes of a payload, and back."""
    tables, tokens = codec.entropy_coded(data)
    if tables is None:
        return
    count, positions = workload.coder_batch, np.arange(len(tokens))
    all_tokens, all_positions = np.tile(tokens, count), np.tile(positions, count)
    payload, long_payload = (
        tables.encode(tokens, positions),
        tables.encode(all_tokens, all_positions),
    )
    encode = partial(tables.encode, tokens, positions)
    encode_many = partial(tables.encode, all_tokens, all_positions)
    decode = partial(tables.decode, payload, positions)
    decode_many = partial(tables.decode, long_payload, all_positions)
    yield "range coder, encode", *_timed(encode, encode_many, count, workload)
    yield "range coder, decode", *_timed(decode, decode_many, count, workload)


def _others(pixels: np.ndarray, budget: int, workload: Workload) -> Iterator[Line]:
    """The other codecs, at the settings of their best file."""
    height, width = pixels.shape[:2]
    for format in codecs.available()[0]:
        best = codecs.Ladder(format, pixels).best(budget)
        if best is None:
            yield f"{format.name}: no file so small", "", ""
            continue
        encode = partial(codecs.encode, format, pixels, best)
        decode = partial(codecs.decode, format, best.data, width, height)
        yield f"{format.name} encode", repeat(encode, workload.warm_runs).milliseconds(), ""
        yield f"{format.name} decode", repeat(decode, workload.warm_runs).milliseconds(), ""


def _timed(
    single: Callable[[], object], batch: Callable[[], object], size: int, workload: Workload
) -> tuple[str, str]:
    one, many = repeat(single, workload.warm_runs), repeat(batch, workload.batch_runs)
    return one.milliseconds(), _rate(many, size)


def _title(*cells: str) -> None:
    _line(*cells)
    _line(*["---"] * len(cells))


def _line(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _rate(value: Spread, count: int) -> str:
    low, high = count / value.high, count / value.low
    return f"{count / value.median:.1f} ({low:.1f} to {high:.1f})"
