"""Learn classes of pictures from tokens, and from WebP files of the same size.

    python examples/classify.py FOLDER [--tokens 64] [--seconds 60] [--out DIR]

FOLDER has a folder of pictures for each class. Three quarters of the pictures are learned, in the
same processor time by networks of about the same size:

- a transformer on the first tokens, as the vectors that they stand for;
- a convolutional network on the sketch that these tokens describe, which takes no decoder;
- the same network on WebP files, each the best one that is no larger than the tokens' own file;
- the same network on the pictures as they are.

Prints the share of the other pictures whose class is found. Needs the extras `datasets` and
`torch`.
"""

from __future__ import annotations

import argparse
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from onedpiece import EncodedImage, Tokenizer
from onedpiece.bench.codecs import Ladder, available
from onedpiece.data import TokenDataset, collate
from onedpiece.datasets import encode
from onedpiece.tokenizer.spectral import cosine_basis

SIDE = 64  # pixels of the pictures that the convolutional network sees
BATCH, RATE, WIDTH = 64, 1e-3, 64


class TokenNetwork(nn.Module):
    """Classes from vectors (B, K, dim) and the number that the first token gives the picture."""

    def __init__(self, length: int, dim: int, kinds: int, classes: int) -> None:
        super().__init__()
        self.reads = nn.Parameter(torch.randn(length, dim, WIDTH) / dim**0.5)
        self.places = nn.Parameter(0.02 * torch.randn(length, WIDTH))
        self.kind = nn.Embedding(kinds, WIDTH)  # each kind has its own order of frequencies
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 4 * WIDTH, 0.2, "gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Dropout(0.2), nn.Linear(WIDTH, classes))

    def forward(self, vectors: Tensor, kinds: Tensor) -> Tensor:
        """Logits (B, classes)."""
        x = torch.einsum("bkd,kdw->bkw", vectors, self.reads) + self.places
        return self.head(self.body(x + self.kind(kinds)[:, None]).mean(1))


class PictureNetwork(nn.Module):
    """Classes from pictures (B, 3, SIDE, SIDE) in 0..1; mirrors half of them while it learns."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 32), (32, 64), (64, 128), (128, 192)):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))
        self.head = nn.Linear(192, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (B, classes)."""
        if self.training:
            mirrored = torch.rand(len(pictures)) < 0.5
            pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
        return self.head(self.body(2 * pictures - 1))


def main() -> None:
    arguments = parse_arguments()
    encode([arguments.folder], arguments.out / "tokens", 256, square=True, resume=True)
    rows = TokenDataset(arguments.out / "tokens", arguments.tokens, ["key"])
    tokens, _, _, columns = collate([rows[index] for index in range(len(rows))])
    names = sorted({key.split("/")[0] for key in columns["key"]})
    labels = torch.tensor([names.index(key.split("/")[0]) for key in columns["key"]])

    sizes = [
        len(EncodedImage.from_tokens(row[None].numpy(), 256, 256).to_bytes()) for row in tokens
    ]
    pictures, webp, too_large = read_pictures(arguments.folder, columns["key"], sizes)
    tokenizer = Tokenizer.from_pretrained("default")
    with torch.no_grad():
        quantize = tokenizer.module.quantize
        vectors, kinds = quantize.codes(tokens), quantize.class_id(tokens)
        basis = cosine_basis(quantize.shape.frequencies, SIDE)
        sketch = quantize.synthesise(quantize.coefficients(tokens, vectors), basis).clamp(0, 1)

    torch.manual_seed(arguments.seed)
    order = torch.randperm(len(labels))
    train, test = order[len(order) // 4 :], order[: len(order) // 4]
    most = labels[test].bincount().max() / len(test)
    print(f"{len(train)} pictures, {len(test)} held out, {len(names)} classes")
    print(f"{arguments.tokens} tokens, {np.mean(sizes):.0f} bytes a picture")
    print(f"{too_large} pictures have no WebP file so small: their smallest one is used")
    print(f"the most frequent class: {100 * most:.1f} %")
    token_network = TokenNetwork(*vectors.shape[1:], quantize.shape.classes, len(names))
    for name, network, inputs in (
        ("tokens", token_network, (vectors, kinds)),
        ("sketches of the tokens", PictureNetwork(len(names)), (sketch,)),
        ("WebP files of this size", PictureNetwork(len(names)), (webp,)),
        ("pictures as they are", PictureNetwork(len(names)), (pictures,)),
    ):
        epochs = fit(network, inputs, labels, train, arguments.seconds)
        found = (predict(network, inputs, test) == labels[test]).float().mean()
        print(f"{name}: {100 * found:.1f} % ({epochs:.0f} epochs)", flush=True)


def read_pictures(folder: Path, keys: list[str], limits: list[int]) -> tuple[Tensor, Tensor, int]:
    """Pictures as they are and from WebP files within limits, (B, 3, SIDE, SIDE) in 0..1.

    Also counts the pictures that have no file within their limit.
    """
    paths = {
        path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*")
    }
    (format,) = (one for one in available()[0] if one.name == "webp")

    def read(key: str, limit: int) -> tuple[np.ndarray, np.ndarray, bool]:
        with Image.open(paths[key]) as image:
            (pixels,) = Tokenizer.preprocess(image)
        ladder, size = Ladder(format, pixels), limit
        while not (best := ladder.best(size)):
            size += 1
        return small(pixels), small(best.pixels), size > limit

    with ThreadPoolExecutor() as pool:  # libwebp and Pillow release Python's lock
        whole, coded, missed = zip(*pool.map(read, keys, limits), strict=True)
    as_tensor = [
        torch.from_numpy(np.stack(one)).permute(0, 3, 1, 2) / 255 for one in (whole, coded)
    ]
    return *as_tensor, sum(missed)


def small(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))


def fit(
    network: nn.Module, inputs: tuple[Tensor, ...], labels: Tensor, train: Tensor, seconds: float
) -> float:
    """Train for so many seconds of processor time; returns the number of epochs."""
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.05)
    start, steps = time.process_time(), 0
    while (spent := (time.process_time() - start) / seconds) < 1 or not steps:
        optimizer.param_groups[0]["lr"] = RATE * math.cos(min(spent, 1) * math.pi / 2)
        chosen = train[torch.randint(len(train), (BATCH,))]
        logits = network.train()(*(one[chosen] for one in inputs))
        loss = F.cross_entropy(logits, labels[chosen], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    return steps * BATCH / len(train)


@torch.no_grad()
def predict(network: nn.Module, inputs: tuple[Tensor, ...], chosen: Tensor) -> Tensor:
    """The class of each picture, (B,)."""
    network.eval()
    parts = [network(*(one[part] for one in inputs)).argmax(1) for part in chosen.split(256)]
    return torch.cat(parts)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder of pictures for each class")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of each picture")
    parser.add_argument("--seconds", type=float, default=60, help="processor time of a training")
    parser.add_argument("--seed", type=int, default=0, help="of the pictures that are held out")
    parser.add_argument("--out", type=Path, default=Path("demo/classify"), help="for the tokens")
    return parser.parse_args()


if __name__ == "__main__":
    main()
