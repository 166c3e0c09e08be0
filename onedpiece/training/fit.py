"""Fit the spectral start: colour transform, classes of pictures, order of coefficients, codebooks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from onedpiece.tokenizer.config import CODES, Spectral
from onedpiece.tokenizer.spectral import SpectralQuantizer
from onedpiece.training.data import Crops, Pictures

CROPS = 2  # of each picture: the centre, and one anywhere
CANDIDATES = 4096  # coefficients that can win a place at all
CODED = 1000  # about as many are coded with all 256 tokens
CLASS_ROUNDS = 12
KMEANS_ROUNDS = 8
KMEANS_SAMPLES = 200_000


def fit(shape: Spectral, pictures: Pictures, seed: int = 0) -> SpectralQuantizer:
    """Measure all tables of a `SpectralQuantizer` on training pictures; some minutes for 12,000 of them."""
    torch.manual_seed(seed)
    quantizer = SpectralQuantizer(shape)
    spectrum = _coefficients(quantizer, pictures, np.random.default_rng(seed))
    quantizer.colour.copy_(_colour_axes(spectrum))
    rows = (quantizer.colour.T @ spectrum).flatten(1)
    del spectrum
    used = rows.var(0).topk(min(CANDIDATES, rows.shape[1])).indices.sort().values
    rows = rows[:, used].contiguous()

    label = _find_classes(rows, quantizer, used)
    by_class = label.argsort()
    rows, sizes = rows[by_class], torch.bincount(label, minlength=shape.classes)
    print("pictures in each class:", sizes.tolist(), flush=True)
    _fit_blocks(quantizer, list(rows.split(sizes.tolist())), used)
    # Shipped as float16: training must see the same numbers as the decoder.
    for table in (
        quantizer.class_mean,
        quantizer.class_weight,
        quantizer.scale,
        quantizer.codebooks.data,
    ):
        table.copy_(table.half().float())
    return quantizer


def _coefficients(
    quantizer: SpectralQuantizer, pictures: Pictures, rng: np.random.Generator
) -> Tensor:
    """Spectra in RGB, (crops * pictures, 3, frequencies**2); `colour` is still the identity."""
    parts = []
    for crop in range(CROPS):
        for start in range(0, len(pictures), 64):
            chosen = range(start, min(start + 64, len(pictures)))
            if crop:
                pixels = pictures.crops(Crops.draw(pictures.index, np.array(chosen), rng))
            else:
                pixels = np.stack([pictures.centre(i) for i in chosen])
            parts.append(
                quantizer.analyse(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)
            )
    return torch.cat(parts).unflatten(1, (3, -1))


def _colour_axes(spectrum: Tensor) -> Tensor:
    """Columns: principal axes of RGB over all frequencies but the mean (Karhunen-Loeve), most important first."""
    details = spectrum[:, :, 1:]
    covariance = torch.einsum("ncf,ndf->cd", details, details)
    return torch.linalg.eigh(covariance).eigenvectors.flip(1)


def _find_classes(rows: Tensor, quantizer: SpectralQuantizer, used: Tensor) -> Tensor:
    """Cluster pictures so that each is cheap to code with the statistics of its class; fills the classifier.

    The cost is the likelihood of magnitudes plus `floor` under a Laplacian of the class: coefficients below it are
    not going to be coded, and must not decide. Returns the class of each row.
    """
    classes = quantizer.shape.classes
    size = rows.abs()
    floor = size.mean(0).topk(min(CODED, len(used))).values[-1]
    ranked = size[:, size.mean(0).argsort(descending=True)[:CODED]]
    coarse = torch.stack([part.mean(1) for part in ranked.split(16, dim=1)], 1)
    label = nearest((coarse + floor).log(), kmeans((coarse + floor).log(), classes))
    for _ in range(CLASS_ROUNDS):
        scale = torch.stack([size[label == c].mean(0) for c in range(classes)]) + floor
        share = torch.bincount(label, minlength=classes) / len(label)
        bias = (scale.log() + floor / scale).sum(1) - share.log()
        label = (size @ (1 / scale).T + bias).argmin(1)
        if torch.bincount(label, minlength=classes).min() < 2:
            raise RuntimeError("a class of pictures died out: use fewer classes or more pictures")
    quantizer.class_mean[:, used] = torch.stack([rows[label == c].mean(0) for c in range(classes)])
    quantizer.class_weight[:, used] = 1 / scale
    quantizer.class_bias.copy_(bias - bias.mean())
    return label


def _fit_blocks(quantizer: SpectralQuantizer, groups: list[Tensor], used: Tensor) -> None:
    """Greedy: each block takes the coefficients with the most left over, class by class, and codes them.

    groups: for each class, what is left of its pictures' coefficients (n, len(used)); changed in place.
    """
    shape = quantizer.shape
    for label, group in enumerate(groups):
        group -= quantizer.class_mean[label, used]
    first = 0
    books: list[Tensor] = []
    for block, length in enumerate(shape.blocks):
        picks, scales, samples = [], [], []
        for group in groups:
            energy, pick = group.square().mean(0).topk(length * shape.dim)
            picks.append(pick)
            scales.append(energy.reshape(length, shape.dim).mean(1).sqrt())
            samples.append(
                group[:, pick].reshape(len(group), length, shape.dim) / scales[-1][:, None]
            )
        quantizer.order[:, first : first + length] = (
            used[torch.stack(picks)].reshape(-1, length, shape.dim).int()
        )
        quantizer.scale[:, first : first + length] = torch.stack(scales)
        books = _books(samples, books)
        quantizer.codebooks.data[block * CODES : (block + 1) * CODES] = torch.cat(books)
        for group, pick, scale, x, book in zip(
            groups, picks, scales, samples, books * (len(groups) // len(books)), strict=True
        ):
            coded = book[nearest(x.flatten(0, 1), book)].reshape(x.shape) * scale[:, None]
            group[:, pick] -= coded.flatten(1)
        first += length
        left = sum(float(g.square().sum()) for g in groups) / sum(map(len, groups))
        print(f"{first:4d} tokens: energy left {left:.1f}", flush=True)


def _books(samples: list[Tensor], before: list[Tensor]) -> list[Tensor]:
    """A block's codebook, starting from that of the block before.

    The first token's is one small codebook for each class; together they make 4096 vectors.
    """
    if not before:
        return [kmeans(x.flatten(0, 1), CODES // len(samples)) for x in samples]
    return [
        kmeans(
            torch.cat([x.flatten(0, 1) for x in samples]),
            CODES,
            before[0] if len(before) == 1 else None,
        )
    ]


def kmeans(x: Tensor, count: int, centres: Tensor | None = None) -> Tensor:
    """Lloyd's algorithm: x (n, dim) -> centres (count, dim); starts from random points unless told where."""
    x = x[torch.randperm(len(x))[:KMEANS_SAMPLES]]
    centres = x[torch.arange(count) % len(x)].clone() if centres is None else centres.clone()
    for _ in range(KMEANS_ROUNDS):
        chosen = nearest(x, centres)
        members = torch.bincount(chosen, minlength=count)
        centres = torch.zeros_like(centres).index_add_(0, chosen, x) / members.clamp(min=1)[:, None]
        empty = members == 0
        centres[empty] = x[torch.randint(len(x), (int(empty.sum()),))]
    return centres


def nearest(x: Tensor, centres: Tensor) -> Tensor:
    """x (n, dim) -> index of the nearest centre, (n,), in pieces that fit the cache."""
    half_norm = centres.square().sum(1) / 2
    return torch.cat(
        [torch.addmm(half_norm, part, centres.T, alpha=-1).argmin(1) for part in x.split(2048)]
    )
