"""Train a small transformer that continues tokens, and let it invent pictures.

    odp dataset encode photos/ tokens/ --square
    python examples/prior.py tokens/ [--minutes 4] [--out DIR]

The transformer learns the first tokens of the pictures, each from those before it. A number means
something else at each position, so each position has its own embeddings and its own logits. Both
are functions of the vectors that the codes stand for, which lets a few thousand pictures suffice.
Before training, the logits are those of the entropy coder: what is gained is what it does not know.

Reports bits per token of pictures that were held out, beside the files of these pictures. Writes
before.png and after.png, pictures of sampled tokens. Needs the extras `datasets` and `torch`.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from onedpiece import EncodedImage, Tokenizer
from onedpiece.data import TokenDataset, collate

LAYERS, HEADS, WIDTH = 4, 4, 128
BATCH, RATE, WARMUP, REPORTS = 32, 1e-3, 50, 5


class Block(nn.Module):
    """A transformer block: attention to what came before, then an MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.attention = nn.Linear(WIDTH, 3 * WIDTH)
        self.join = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, WIDTH) -> the same shape."""
        parts = self.attention(self.norms[0](x)).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.join(seen.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norms[1](x))


class Prior(nn.Module):
    """Logits of each of the first `length` tokens, given those before it."""

    def __init__(self, tokenizer: Tokenizer, length: int) -> None:
        super().__init__()
        every = torch.arange(tokenizer.codebook_size)[:, None].expand(-1, length)
        vectors = tokenizer.codes(every).transpose(0, 1)  # (length, 4096, dim)
        squares = vectors.square()
        features = torch.cat([vectors, squares, squares.sum(-1, keepdim=True).sqrt()], -1)
        features = (features - features.mean(1, keepdim=True)) / (features.std(1, keepdim=True) + 1)
        quantize = tokenizer.module.quantize
        coder = -math.log(2) * quantize.bits()[quantize.block_of[:length]]
        self.register_buffer("features", features)
        self.register_buffer("coder", coder)  # (length, 4096)
        size = features.shape[-1]
        self.reads = nn.Parameter(torch.randn(length, size, WIDTH) / size**0.5)
        self.writes = nn.Parameter(torch.zeros(length, WIDTH, size))
        self.places = nn.Parameter(0.02 * torch.randn(length, WIDTH))
        self.body = nn.Sequential(*(Block() for _ in range(LAYERS)), nn.LayerNorm(WIDTH))

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, n) -> logits of the tokens 0 to n, (n + 1, B, 4096)."""
        n = tokens.shape[1]
        known = self.features[torch.arange(n), tokens]
        known = torch.einsum("bnf,nfw->bnw", known, self.reads[:n])
        x = self.body(F.pad(known, (0, 0, 1, 0)) + self.places[: n + 1])
        x = torch.einsum("bnw,nwf->nbf", x, self.writes[: n + 1])
        return torch.baddbmm(self.coder[: n + 1, None], x, self.features[: n + 1].mT)

    def bits(self, tokens: Tensor) -> Tensor:
        """Mean bits of a token."""
        logits = self(tokens[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), tokens.T.flatten()) / math.log(2)

    @torch.no_grad()
    def sample(self, count: int) -> Tensor:
        """Tokens of new pictures, (count, length)."""
        tokens = torch.zeros(count, 0, dtype=torch.int64)
        for _ in range(len(self.places)):
            chances = self(tokens)[-1].softmax(-1)
            tokens = torch.cat([tokens, torch.multinomial(chances, 1)], 1)
        return tokens


def main() -> None:
    arguments = parse_arguments()
    torch.manual_seed(0)
    rows = TokenDataset(arguments.dataset, num_tokens=arguments.tokens)
    tokens = collate([rows[index] for index in torch.randperm(len(rows)).tolist()]).tokens
    if len(tokens) < 10:
        raise SystemExit("10 pictures are needed, and some thousands for a result")
    held_out, train = tokens[: len(tokens) // 10], tokens[len(tokens) // 10 :]
    tokenizer = Tokenizer.from_pretrained("default")
    prior = Prior(tokenizer, tokens.shape[1])
    print(f"{len(train)} pictures, {len(held_out)} held out, {tokens.shape[1]} tokens of each")
    print(f"held out, as files: {size_of_files(held_out)}")

    arguments.out.mkdir(parents=True, exist_ok=True)
    paint(tokenizer, prior.eval().sample(arguments.samples), arguments.out / "before.png")
    fit(prior, train, held_out, 60 * arguments.minutes)
    paint(tokenizer, prior.sample(arguments.samples), arguments.out / "after.png")


def fit(prior: Prior, train: Tensor, held_out: Tensor, seconds: float) -> None:
    """Train for so many seconds; the learning rate falls to 0 at the end of them."""
    optimizer = torch.optim.AdamW(prior.parameters(), RATE, weight_decay=0.01)
    start, step, reports = time.monotonic(), 0, 0
    while (spent := (time.monotonic() - start) / seconds) < 1 or not step:
        if spent * REPORTS >= reports:
            report(prior, held_out, step)
            reports += 1
        rate = RATE * min(1, (step + 1) / WARMUP) * math.cos(min(spent, 1) * math.pi / 2)
        optimizer.param_groups[0]["lr"] = rate
        loss = prior.train().bits(train[torch.randint(len(train), (BATCH,))])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(prior.parameters(), 1.0)
        optimizer.step()
        step += 1
    report(prior, held_out, step)


def report(prior: Prior, held_out: Tensor, step: int) -> None:
    with torch.no_grad():
        bits = sum(prior.eval().bits(batch) * len(batch) for batch in held_out.split(BATCH))
    print(f"step {step}: {bits / len(held_out):.3f} bits per token held out", flush=True)


def size_of_files(tokens: Tensor) -> str:
    """What the codec makes of the same tokens."""
    images = [EncodedImage.from_tokens(row[None].numpy(), width=256, height=256) for row in tokens]
    whole = sum(len(image.to_bytes()) for image in images) / len(images)
    front = sum(len(image.front.pack(image.is_entropy_coded)) for image in images) / len(images)
    bits = 8 * (whole - front) / tokens.shape[1]
    return f"{whole:.1f} bytes, {front:.1f} of them before the tokens; {bits:.3f} bits per token"


def paint(tokenizer: Tokenizer, tokens: Tensor, path: Path) -> None:
    """Decode the tokens into one picture."""
    pictures = tokenizer.decode(tokens.numpy())
    across = math.ceil(len(pictures) ** 0.5)
    sheet = Image.new("RGB", (256 * across, 256 * math.ceil(len(pictures) / across)))
    for place, pixels in enumerate(pictures):
        sheet.paste(Image.fromarray(pixels), (256 * (place % across), 256 * (place // across)))
    sheet.save(path)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="token dataset of square pictures")
    parser.add_argument("--tokens", type=int, default=32, help="tokens of each picture to learn")
    parser.add_argument("--minutes", type=float, default=4, help="time of training")
    parser.add_argument("--samples", type=int, default=16, help="pictures to sample")
    parser.add_argument("--out", type=Path, default=Path("demo/prior"), help="folder for results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
