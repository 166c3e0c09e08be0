"""What fine-tuning (`odp train`) gains and loses, by several metrics.

    python -m onedpiece.bench.ablations.fine_tuning FOLDER LPIPS MODEL

FOLDER holds pictures that took no part in training, of which the central squares are used; LPIPS is
the folder of weights that `odp bench rd --lpips` reads, and MODEL a model directory that `odp
train` wrote. The default model encodes, so that all decoders paint the same files.
"""

from __future__ import annotations

import sys
from pathlib import Path

from onedpiece.bench import Protocol
from onedpiece.bench.ablations.realism import COLUMNS, print_line, scores_of
from onedpiece.bench.odp import Odp
from onedpiece.bench.protocol import read
from onedpiece.models.registry import DEFAULT

LENGTHS = (16, 64, 256)


def main(folder: str, lpips: str, tuned: str) -> None:
    """Print a table: for each number of tokens and realism, the scores of both models."""
    pictures = [read(path, Protocol.paper) for path in sorted(Path(folder).iterdir())]
    scores = scores_of([picture.pixels for picture in pictures], Path(lpips))
    encoder = Odp()
    print_line("tokens", "realism", "model", *COLUMNS)
    print_line(*["---"] * (3 + len(COLUMNS)))
    for tokens in LENGTHS:
        files = encoder.encode_many(pictures, tokens)
        for realism in (0.0, 1.0):
            for name, model in (("default", DEFAULT), ("fine-tuned", tuned)):
                decoded = Odp(model, realism=realism).decode_many(files)
                print_line(str(tokens), f"{realism:g}", name, *scores(decoded))


if __name__ == "__main__":
    main(*sys.argv[1:])
