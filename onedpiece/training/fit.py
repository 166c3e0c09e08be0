"""Fit the tables of the spectral quantiser to training pictures.

Colour transform, picture classes, order of coefficients, codebooks and entropy tables.
"""

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

CROPS = 2  # of each picture: the centre, and a random one
DRAWINGS = 0.05  # for each crop of a photograph
CANDIDATES = 4096  # coefficients with the largest variance; the rest is never coded
CODED = 1000  # about as many are coded with all 256 tokens
CLASS_ITERATIONS = 12
KMEANS_ITERATIONS = 8
RESEEDING_ITERATIONS = 4  # of these, in which unused vectors are moved to random samples
KMEANS_SAMPLES = 200_000
UNUSED_COUNT = 0.05  # assumed for vectors that are never chosen


@torch.no_grad()
def fit(shape: Spectral, pictures: Pictures, seed: int = 0) -> SpectralQuantizer:
    """Measure all tables of a `SpectralQuantizer`; takes some minutes for 12,000 pictures.

    Raises RuntimeError if there are too few pictures for the number of classes.
    """
    torch.manual_seed(seed)
    quantizer = SpectralQuantizer(shape)
    spectrum = _coefficients(quantizer, pictures, np.random.default_rng(seed))
    photographs = CROPS * len(pictures)
    quantizer.colour.copy_(_colour_axes(spectrum[:photographs]))
    rows = (quantizer.colour.T @ spectrum).flatten(1)
    del spectrum
    used = rows.var(0).topk(min(CANDIDATES, rows.shape[1])).indices.sort().values
    rows = rows[:, used].contiguous()

    class_ids = _find_classes(rows, quantizer, used)
    by_class = class_ids.argsort()
    rows, sizes = rows[by_class], torch.bincount(class_ids, minlength=shape.classes)
    print("pictures in each class:", sizes.tolist(), flush=True)
    _fit_blocks(quantizer, list(rows.split(sizes.tolist())), used)
    # Stored as float16: training must use the same numbers as the decoder.
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
    spectra = []
    for crop in range(CROPS):
        for start in range(0, len(pictures), 64):
            batch = range(start, min(start + 64, len(pictures)))
            if crop:
                pixels = pictures.crops(Crops.draw(pictures.index, np.array(batch), rng))
            else:
                pixels = np.stack([pictures.centre(i) for i in batch])
            spectra.append(_analyse(quantizer, pixels))
    for _ in range(round(DRAWINGS * CROPS * len(pictures) / 64)):
        spectra.append(_analyse(quantizer, np.stack([draw(rng) for _ in range(64)])))
    return torch.cat(spectra).unflatten(1, (3, -1))


def _analyse(quantizer: SpectralQuantizer, pixels: np.ndarray) -> Tensor:
    return quantizer.analyse(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)


def _colour_axes(spectrum: Tensor) -> Tensor:
    """Principal axes of RGB over all frequencies but the mean (Karhunen-Loeve transform).

    The columns are the axes, that of the largest variance first.
    """
    varying = spectrum[:, :, 1:]
    covariance = torch.einsum("ncf,ndf->cd", varying, varying)
    return torch.linalg.eigh(covariance).eigenvectors.flip(1)


def _find_classes(rows: Tensor, quantizer: SpectralQuantizer, used: Tensor) -> Tensor:
    """Cluster pictures by the statistics of their coefficients; fills the classifier's tables.

    A picture joins the class that codes it in the fewest bits: the likelihood of magnitudes plus
    `floor` under a Laplacian of the class. `floor` keeps small coefficients, which are not coded
    anyway, from deciding. Returns the class of each row.
    """
    classes = quantizer.shape.classes
    magnitude = rows.abs()
    floor = magnitude.mean(0).topk(min(CODED, len(used))).values[-1]
    ranked = magnitude[:, magnitude.mean(0).argsort(descending=True)[:CODED]]
    coarse = torch.stack([group.mean(1) for group in ranked.split(16, dim=1)], 1)
    start = (coarse + floor).log()
    class_ids = nearest(start, kmeans(start, classes, 0).centres, torch.zeros(classes))
    for _ in range(CLASS_ITERATIONS):
        scale = torch.stack([magnitude[class_ids == c].mean(0) for c in range(classes)]) + floor
        prior = torch.bincount(class_ids, minlength=classes) / len(class_ids)
        bias = (scale.log() + floor / scale).sum(1) - prior.log()
        class_ids = (magnitude @ (1 / scale).T + bias).argmin(1)
        if torch.bincount(class_ids, minlength=classes).min() < 2:
            raise RuntimeError(
                "a class of pictures became empty: use fewer classes or more pictures"
            )
    quantizer.class_mean[:, used] = torch.stack(
        [rows[class_ids == c].mean(0) for c in range(classes)]
    )
    quantizer.class_weight[:, used] = 1 / scale
    quantizer.class_bias.copy_(bias - bias.mean())
    return class_ids


def _fit_blocks(quantizer: SpectralQuantizer, classes: list[Tensor], used: Tensor) -> None:
    """Greedy: each block takes the coefficients with the most energy left, class by class.

    classes: for each class, the residual coefficients of its pictures (n, len(used)); changed in
    place.
    """
    shape = quantizer.shape
    for class_id, residual in enumerate(classes):
        residual -= quantizer.class_mean[class_id, used]
    first = 0
    book = None
    for block, length in enumerate(shape.blocks):
        chosen = [_strongest(residual, length, shape.dim) for residual in classes]
        orders, scales, samples = (list(column) for column in zip(*chosen, strict=True))
        order = used[torch.stack(orders)].reshape(-1, length, shape.dim)
        quantizer.order[:, first : first + length] = order.int()
        quantizer.scale[:, first : first + length] = torch.stack(scales)
        vectors = [sample.flatten(0, 1) for sample in samples]
        if block == 0:
            _fill(quantizer, block, _first_book(quantizer, vectors))
        else:
            book = kmeans(torch.cat(vectors), CODEBOOK_SIZE, shape.lambda_, book)
            _fill(quantizer, block, book)
        for class_id, residual in enumerate(classes):
            sample, scale = samples[class_id], scales[class_id]
            coded = _coded(quantizer, block, class_id, sample) * scale[:, None]
            residual[:, orders[class_id]] -= coded.flatten(1)
        first += length
        energy = sum(float(x.square().sum()) for x in classes) / sum(map(len, classes))
        print(f"{first:4d} tokens: energy left {energy:.1f}", flush=True)


def _strongest(residual: Tensor, length: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """The coefficients for `length` tokens: columns, scales (length,), samples (n, length, dim)."""
    energy, columns = residual.square().mean(0).topk(length * dim)
    scale = energy.reshape(length, dim).mean(1).sqrt()
    samples = residual[:, columns].reshape(len(residual), length, dim) / scale[:, None]
    return columns, scale, samples


def _coded(quantizer: SpectralQuantizer, block: int, class_id: int, samples: Tensor) -> Tensor:
    """The codebook's vector for each of the samples (n, length, dim)."""
    codes, cost = quantizer.codebook(block), quantizer.shape.lambda_ * quantizer.bits()[block]
    if block == 0:  # the first token names the class
        cost = cost.masked_fill(quantizer.class_of != class_id, torch.inf)
    return codes[nearest(samples.flatten(0, 1), codes, cost)].reshape(samples.shape)


@dataclass
class Book:
    """Vectors (n, dim) and how often each is chosen (n,), most frequent first."""

    centres: Tensor
    counts: Tensor

    def bits(self) -> Tensor:
        """Ideal code length of each, (n,)."""
        counts = self.counts + UNUSED_COUNT
        return -(counts / counts.sum()).log2()

    def ordered(self) -> Book:
        order = self.counts.argsort(descending=True, stable=True)
        return Book(self.centres[order], self.counts[order])


def _first_book(quantizer: SpectralQuantizer, vectors: list[Tensor]) -> Book:
    """The codebook of the first token: an equal part of the 4096 vectors for each class.

    Fills `class_of`, the class of each vector.
    """
    shape = quantizer.shape
    books = [kmeans(x, CODEBOOK_SIZE // shape.classes, shape.lambda_) for x in vectors]
    joined = Book(torch.cat([b.centres for b in books]), torch.cat([b.counts for b in books]))
    class_ids = torch.arange(shape.classes).repeat_interleave(CODEBOOK_SIZE // shape.classes)
    quantizer.class_of.copy_(class_ids[joined.counts.argsort(descending=True, stable=True)])
    return joined.ordered()


def _fill(quantizer: SpectralQuantizer, block: int, book: Book) -> None:
    quantizer.codebook(block).data.copy_(book.centres)
    quantizer.frequency[block] = torch.from_numpy(frequencies(book.counts.long().numpy())).int()


def kmeans(x: Tensor, count: int, lambda_: float, start: Book | None = None) -> Book:
    """Entropy-constrained Lloyd's algorithm (Chou, Lookabaugh and Gray, 1989).

    The cost of a vector is its squared error plus `lambda_` times its code length.

    x:     (n, dim).
    start: begin with this codebook; otherwise with random samples and a growing `lambda_`.
    """
    x = x[torch.randperm(len(x))[:KMEANS_SAMPLES]]
    book = start or Book(x[torch.arange(count) % len(x)].clone(), torch.ones(count))
    for iteration in range(KMEANS_ITERATIONS):
        warmup = 1.0 if start else min(1.0, (iteration + 1) / RESEEDING_ITERATIONS)
        nearest_ids = nearest(x, book.centres, warmup * lambda_ * book.bits())
        members = torch.bincount(nearest_ids, minlength=count)
        means = (
            torch.zeros_like(book.centres).index_add_(0, nearest_ids, x)
            / members.clamp(min=1)[:, None]
        )
        empty = members == 0
        means[empty] = book.centres[empty]
        if iteration < RESEEDING_ITERATIONS:
            means[empty] = x[torch.randint(len(x), (int(empty.sum()),))]
            members = members.clamp(min=1)  # else their code length would keep them unused
        book = Book(means, members.float())
    return book.ordered()


def nearest(x: Tensor, centres: Tensor, cost: Tensor) -> Tensor:
    """Index of the centre with the least squared distance plus cost: (n, dim) -> (n,).

    Works in chunks that fit the cache.
    """
    half = (centres.square().sum(1) + cost) / 2
    return torch.cat(
        [torch.addmm(half, chunk, centres.T, alpha=-1).argmin(1) for chunk in x.split(2048)]
    )
