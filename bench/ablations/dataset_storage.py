"""What a token dataset takes on the disk beside pictures and .odp files, and how fast it is read.

    python -m onedpiece.bench.ablations.dataset_storage FOLDER PICTURES

PICTURES is a folder of pictures of 256x256 pixels, such as `datasets` makes; FOLDER is for the
other forms of them. Needs the extras `datasets` and `torch`.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import DataLoader

from onedpiece.data import TokenDataset, TokenStream, collate
from onedpiece.datasets import convert, encode

TOKENS = (256, 64, 32)
QUALITIES = {".jpg": (90, 75), ".webp": (80, 50)}
NAMES = {".jpg": "JPEG", ".webp": "WebP"}


def main(folder: Path, pictures: Path) -> None:
    """Print a table of storage, and one of reading."""
    shutil.rmtree(folder, ignore_errors=True)
    paths = sorted(path for path in pictures.iterdir() if path.is_file())
    forms: dict[str, Path] = {}
    for suffix, qualities in QUALITIES.items():
        for quality in qualities:
            form = folder / f"{suffix[1:]}-{quality}"
            forms[f"{NAMES[suffix]}, quality {quality}"] = form
            save(paths, form, suffix, quality)
    for count in TOKENS:
        tokens, tar, files = (folder / f"{kind}-{count}" for kind in ("tokens", "tar", "files"))
        encode([pictures], tokens, count)
        convert(tokens, tar, "tar")
        convert(tokens, files, "folder")
        forms |= {
            f"`.odp` files, {count} tokens": files,
            f"the same files in a tar, {count} tokens": tar,
            f"Parquet, {count} tokens": tokens,
        }
    print(f"{len(paths)} pictures\n\n| | bytes a picture | on the disk |\n|---|---|---|")
    for name, form in forms.items():
        print(f"| {name} | {size(form, len(paths)):.0f} | {blocks(form, len(paths)):.0f} |")
    print_reading(folder / f"tokens-{TOKENS[0]}")


def save(paths: list[Path], folder: Path, suffix: str, quality: int) -> None:
    """Write the pictures in another format."""
    folder.mkdir(parents=True)
    for path in paths:
        with Image.open(path) as picture:
            picture.convert("RGB").save(folder / f"{path.stem}{suffix}", quality=quality)


def size(folder: Path, count: int) -> float:
    """Mean size of files in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / count


def blocks(folder: Path, count: int) -> float:
    """The same with the blocks of the disk that files fill, where the system tells."""
    stats = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(512 * getattr(stat, "st_blocks", 0) for stat in stats) / count


def print_reading(tokens: Path) -> None:
    """Rows per second in one process."""
    whole, prefix = TokenDataset(tokens), TokenDataset(tokens, 32)

    def batches(rows: Any) -> Iterable[Any]:
        return DataLoader(rows, 256, collate_fn=collate)

    ways: dict[str, Callable[[], int]] = {
        "TokenDataset, 256 tokens, rows": lambda: len([whole[i] for i in range(len(whole))]),
        "TokenDataset, 256 tokens, batches": lambda: sum(len(b.lengths) for b in batches(whole)),
        "TokenDataset, 32 tokens, batches": lambda: sum(len(b.lengths) for b in batches(prefix)),
        "TokenStream, 256 tokens, shuffled, batches": lambda: sum(
            len(b.lengths) for b in batches(TokenStream(tokens, shuffle=True))
        ),
    }
    print("\n| | rows/s |\n|---|---|")
    for name, read in ways.items():
        start = time.perf_counter()
        rows = read()
        print(f"| {name} | {rows / (time.perf_counter() - start):.0f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
