"""How much of the original networks that chose nothing here see at each realism.

    python -m onedpiece.bench.ablations.held_out_realism FOLDER

Prints, for the central squares of the pictures in FOLDER, the mean cosine between what each network
of `onedpiece.bench.held_out` makes of the original and of the decoded picture. WebP files are at
most as large as those of `odp`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from onedpiece.bench import Protocol, held_out
from onedpiece.bench.ablations.realism import print_line, webp_picture
from onedpiece.bench.downstream import embedding
from onedpiece.bench.odp import Odp
from onedpiece.bench.protocol import read

LENGTHS = (64, 256)
NETWORKS = (held_out.resnet50, held_out.text_detector, held_out.yolo)


def main(folder: Path) -> None:
    """Print a table with a row for each number of tokens and kind of picture."""
    pictures = [read(path, Protocol.paper) for path in sorted(folder.iterdir())]
    originals = [picture.pixels for picture in pictures]
    networks = [create() for create in NETWORKS]
    known = [[network(_tensor(pixels)) for pixels in originals] for network in networks]
    codecs = {f"realism {amount}": Odp(realism=amount) for amount in (0, 1)}
    print_line("tokens", "picture", *(create.__name__ for create in NETWORKS))
    print_line(*["---"] * (2 + len(NETWORKS)))
    for tokens in LENGTHS:
        files = codecs["realism 0"].encode_many(pictures, tokens)
        rows = {name: codec.decode_many(files) for name, codec in codecs.items()}
        sized = zip(originals, files, strict=True)
        rows["WebP"] = [p for p in (webp_picture(o, len(f)) for o, f in sized) if p is not None]
        for name, decoded in rows.items():
            means = []
            for network, seen in zip(networks, known, strict=True):
                pairs = zip(seen, decoded, strict=True)
                means.append(np.mean([embedding(o, network(_tensor(d))) for o, d in pairs]))
            print_line(str(tokens), name, *(f"{mean:.3f}" for mean in means))


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    """uint8 (H, W, 3) -> float32 (1, 3, H, W) in 0..1."""
    return torch.tensor(pixels).permute(2, 0, 1)[None].float() / 255


if __name__ == "__main__":
    main(Path(sys.argv[1]))
