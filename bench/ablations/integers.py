"""What it costs and gains that decoders multiply 8-bit integers.

    python -m onedpiece.bench.ablations.integers FOLDER LPIPS [THREADS]

FOLDER holds pictures, of which the central squares are used; LPIPS is the folder of weights that
`odp bench rd --lpips` reads. The same weights are compared with graphs that multiply floating-point
numbers. The two take turns, one tile at a time; times are medians.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from onedpiece.bench import Protocol
from onedpiece.bench.ablations.realism import print_line
from onedpiece.bench.metrics import available as available_metrics
from onedpiece.bench.protocol import read
from onedpiece.export.precisions import export_variant
from onedpiece.models.registry import find
from onedpiece.runtime.onnx import OnnxRuntime

LENGTHS = (64, 256)
METRICS = ("psnr", "lpips_squeeze")
DECODERS = {0.0: "least error", 1.0: "natural"}


def main(folder: Path, lpips: Path, threads: int = 2) -> None:
    """Print a table: for each decoder and number of tokens, integers beside floats."""
    tiles = np.stack([read(path, Protocol.paper).pixels for path in sorted(folder.iterdir())])
    metrics = [metric for metric in available_metrics(lpips)[0] if metric.name in METRICS]
    model = find("default")
    print_line("decoder", "tokens", "products of", "ms", "PSNR", "LPIPS")
    print_line(*["---"] * 6)
    with tempfile.TemporaryDirectory() as temporary:
        floats = export_variant(model, Path(temporary, "floats"), "float16")
        floats = floats.with_decoder(
            next(one for one in floats.decoders if one.name == model.decoder.name)
        )
        runtimes = {
            name: OnnxRuntime(one, "cpu", threads)
            for name, one in (("floats", floats), ("integers", model))
        }
        known = runtimes["integers"].encode(tiles)
        for realism, decoder in DECODERS.items():
            for count in LENGTHS:
                pixels, seconds = _decoded(runtimes, known[:, :count], realism)
                for name in runtimes:
                    pairs = list(zip(tiles, pixels[name], strict=True))
                    means = [np.mean([one.score(*pair) for pair in pairs]) for one in metrics]
                    time_taken = f"{1e3 * np.median(seconds[name]):.0f}"
                    row = decoder, str(count), name, time_taken
                    print_line(*row, *(f"{mean:.4f}" for mean in means))


def _decoded(
    runtimes: dict[str, OnnxRuntime], tokens: np.ndarray, realism: float
) -> tuple[dict[str, list[np.ndarray]], dict[str, list[float]]]:
    """Tiles decoded by each runtime, uint8, and how long each took in seconds."""
    pixels = {name: list[np.ndarray]() for name in runtimes}
    seconds = {name: list[float]() for name in runtimes}
    for runtime in runtimes.values():
        runtime.decode(tokens[:1], realism)  # loads the network
    for row in tokens:
        for name, runtime in runtimes.items():
            start = time.perf_counter()
            decoded = runtime.decode(row[None], realism)
            seconds[name].append(time.perf_counter() - start)
            pixels[name].append(decoded[0].round().astype(np.uint8))
    return pixels, seconds


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *(int(number) for number in sys.argv[3:]))
