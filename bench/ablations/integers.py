"""What it costs and gains that decoders multiply 8-bit integers, on a processor with VNNI.

    python -m onedpiece.bench.ablations.integers FOLDER LPIPS [THREADS]

FOLDER holds pictures, of which the central squares are used; LPIPS is the folder of weights that
`odp bench rd --lpips` reads. Each decoder is compared with its graph of floating-point numbers. The
two take turns, one tile at a time, with a pause before each; times are medians.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from onedpiece.bench import Protocol
from onedpiece.bench.ablations.realism import print_line
from onedpiece.bench.metrics import available as available_metrics
from onedpiece.bench.protocol import read
from onedpiece.bench.published import REST_SECONDS
from onedpiece.models.manifest import Model
from onedpiece.models.registry import find
from onedpiece.runtime.onnx import OnnxRuntime

LENGTHS = (16, 64, 256)
METRICS = ("psnr", "lpips_squeeze")


def main(folder: Path, lpips: Path, threads: int = 2) -> None:
    """Print a table: for each decoder and number of tokens, integers beside floats."""
    tiles = np.stack([read(path, Protocol.paper).pixels for path in sorted(folder.iterdir())])
    metrics = [metric for metric in available_metrics(lpips)[0] if metric.name in METRICS]
    natural = find("default")
    known = OnnxRuntime(natural, "cpu").encode(tiles)
    print_line("decoder", "tokens", "products of", "ms", "PSNR", "LPIPS")
    print_line(*["---"] * 6)
    for model in (natural.faithful, natural):
        runtimes = _runtimes(model, threads)
        for count in LENGTHS:
            pixels, seconds = _decoded(runtimes, known[:, :count])
            for name in runtimes:
                pairs = list(zip(tiles, pixels[name], strict=True))
                means = [np.mean([one.score(*pair) for pair in pairs]) for one in metrics]
                row = model.decoder.name, str(count), name
                time_ms = f"{1e3 * np.median(seconds[name]):.0f}"
                print_line(*row, time_ms, *(f"{mean:.4f}" for mean in means))


def _runtimes(model: Model, threads: int) -> dict[str, OnnxRuntime]:
    floats = replace(model, files={})  # the runtime knows no graph of integers then
    kinds = {"floats": floats, "integers": model}
    return {name: OnnxRuntime(one, "cpu", threads) for name, one in kinds.items()}


def _decoded(
    runtimes: dict[str, OnnxRuntime], tokens: np.ndarray
) -> tuple[dict[str, list[np.ndarray]], dict[str, list[float]]]:
    """Tiles decoded by each runtime, uint8, and how long each took in seconds."""
    pixels = {name: list[np.ndarray]() for name in runtimes}
    seconds = {name: list[float]() for name in runtimes}
    for runtime in runtimes.values():
        runtime.decode(tokens[:1])  # loads the network
    for row in tokens:
        for name, runtime in runtimes.items():
            time.sleep(REST_SECONDS)
            start = time.perf_counter()
            decoded = runtime.decode(row[None])
            seconds[name].append(time.perf_counter() - start)
            pixels[name].append(decoded[0].round().astype(np.uint8))
    return pixels, seconds


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *(int(number) for number in sys.argv[3:]))
