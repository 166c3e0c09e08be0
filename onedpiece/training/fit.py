"""Fit the spectral start: colour transform, classes of pictures, order of coefficients, codebooks, entropy tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onedpiece.constants import CODEBOOK_SIZE
from onedpiece.entropy.tables import frequencies
from onedpiece.tokenizer.config import Spectral
from onedpiece.tokenizer.spectral import SpectralQuantizer
from onedpiece.training.data import Crops, Pictures
from onedpiece.training.drawings import draw

CROPS = 2  # of each picture: the centre, and one anywhere
DRAWN = 0.05  # for each crop of a photograph
CANDIDATES = 4096  # coefficients that can win a place at all
CODED = 1000  # about as many are coded with all 256 tokens
CLASS_ROUNDS = 12
KMEANS_ROUNDS = 8
RESEEDING_ROUNDS = 4  # of these, in which vectors that nothing chose are placed anew
KMEANS_SAMPLES = 200_000
RARE = 0.05  # what a vector that is never chosen counts


@torch.no_grad()
def fit(shape: Spectral, pictures: Pictures, seed: int = 0) -> SpectralQuantizer:
    """Measure all tables of a `SpectralQuantizer` on training pictures; some minutes for 12,000 of them."""
    torch.manual_seed(seed)
    quantizer = SpectralQuantizer(shape)
    spectrum = _coefficients(quantizer, pictures, np.random.default_rng(seed))
    photographs = CROPS * len(pictures)
    quantizer.colour.copy_(_colour_axes(spectrum[:photographs]))
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
            parts.append(_analyse(quantizer, pixels))
    for _ in range(round(DRAWN * CROPS * len(pictures) / 64)):
        parts.append(_analyse(quantizer, np.stack([draw(rng) for _ in range(64)])))
    return torch.cat(parts).unflatten(1, (3, -1))


def _analyse(quantizer: SpectralQuantizer, pixels: np.ndarray) -> Tensor:
    return quantizer.analyse(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)


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
    start = (coarse + floor).log()
    label = nearest(start, kmeans(start, classes, 0).centres, torch.zeros(classes))
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
    book = None
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
        if block == 0:
            _fill(quantizer, block, _first_book(quantizer, [x.flatten(0, 1) for x in samples]))
        else:
            book = kmeans(
                torch.cat([x.flatten(0, 1) for x in samples]), CODEBOOK_SIZE, shape.lambda_, book
            )
            _fill(quantizer, block, book)
        codes, cost = quantizer.codebook(block), shape.lambda_ * quantizer.bits()[block]
        for label, (group, pick, scale, x) in enumerate(
            zip(groups, picks, scales, samples, strict=True)
        ):
            price = cost
            if block == 0:
                price = cost.masked_fill(quantizer.class_of != label, torch.inf)
            coded = codes[nearest(x.flatten(0, 1), codes, price)].reshape(x.shape) * scale[:, None]
            group[:, pick] -= coded.flatten(1)
        first += length
        left = sum(float(g.square().sum()) for g in groups) / sum(map(len, groups))
        print(f"{first:4d} tokens: energy left {left:.1f}", flush=True)


@dataclass
class Book:
    """Vectors (n, dim) and how often each is chosen (n,), commonest first."""

    centres: Tensor
    counts: Tensor

    def bits(self) -> Tensor:
        """What naming each costs, (n,). One that is never chosen is rare, not impossible."""
        share = self.counts + RARE
        return -(share / share.sum()).log2()

    def ordered(self) -> Book:
        order = self.counts.argsort(descending=True, stable=True)
        return Book(self.centres[order], self.counts[order])


def _first_book(quantizer: SpectralQuantizer, samples: list[Tensor]) -> Book:
    """The first token's: a small codebook for each class, 4096 vectors together; notes whose they are."""
    shape = quantizer.shape
    books = [kmeans(x, CODEBOOK_SIZE // shape.classes, shape.lambda_) for x in samples]
    together = Book(torch.cat([b.centres for b in books]), torch.cat([b.counts for b in books]))
    owner = torch.arange(shape.classes).repeat_interleave(CODEBOOK_SIZE // shape.classes)
    quantizer.class_of.copy_(owner[together.counts.argsort(descending=True, stable=True)])
    return together.ordered()


def _fill(quantizer: SpectralQuantizer, block: int, book: Book) -> None:
    quantizer.codebook(block).data.copy_(book.centres)
    quantizer.frequency[block] = torch.from_numpy(frequencies(book.counts.long().numpy())).int()


def kmeans(x: Tensor, count: int, rate: float, start: Book | None = None) -> Book:
    """Entropy-constrained Lloyd's algorithm (Chou, Lookabaugh and Gray, 1989).

    x: (n, dim); the cost of a vector is its squared error plus `rate` times the bits of its name.
    Starts from random points, with a rate that grows, unless told where.
    """
    x = x[torch.randperm(len(x))[:KMEANS_SAMPLES]]
    book = start or Book(x[torch.arange(count) % len(x)].clone(), torch.ones(count))
    for turn in range(KMEANS_ROUNDS):
        warm = 1.0 if start else min(1.0, (turn + 1) / RESEEDING_ROUNDS)
        chosen = nearest(x, book.centres, warm * rate * book.bits())
        members = torch.bincount(chosen, minlength=count)
        means = (
            torch.zeros_like(book.centres).index_add_(0, chosen, x) / members.clamp(min=1)[:, None]
        )
        empty = members == 0
        means[empty] = book.centres[empty]
        if turn < RESEEDING_ROUNDS:
            means[empty] = x[torch.randint(len(x), (int(empty.sum()),))]
            members = members.clamp(min=1)  # what was placed anew gets a chance
        book = Book(means, members.float())
    return book.ordered()


def nearest(x: Tensor, centres: Tensor, cost: Tensor) -> Tensor:
    """x (n, dim) -> index of the centre with the least squared distance plus cost, (n,), in pieces that fit the cache."""
    half = (centres.square().sum(1) + cost) / 2
    return torch.cat(
        [torch.addmm(half, part, centres.T, alpha=-1).argmin(1) for part in x.split(2048)]
    )
