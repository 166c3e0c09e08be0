"""Encode pictures once into a token dataset, and read it as batches for training.

    python examples/token_dataset.py [PICTURES...] [--out DIR]

Needs the extras `datasets` and `torch`. Where Hugging Face `datasets` is installed, the same files
are read with it too.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

from torch.utils.data import DataLoader

from onedpiece.data import TokenDataset, collate
from onedpiece.datasets import encode

BUNDLED = Path(__file__).parents[1] / "bench" / "pictures"


def main() -> None:
    arguments = parse_arguments()
    inputs = arguments.pictures or sorted(BUNDLED.glob("*.png"))
    progress = encode(inputs, arguments.out, 256, square=True, resume=True, workers=1)
    print(f"{progress.done} encoded, {progress.before} before, {progress.failed} failed")

    dataset = TokenDataset(arguments.out, num_tokens=(1, 32), columns=["key"])
    for batch in DataLoader(dataset, batch_size=4, shuffle=True, collate_fn=collate):
        print(f"tokens {tuple(batch.tokens.shape)}, lengths {batch.lengths.tolist()}")

    try:
        from datasets import load_dataset
    except ImportError:
        return
    rows = load_dataset(
        "parquet",
        data_files=f"{arguments.out}/*.parquet",
        split="train",
        cache_dir=str(arguments.out / ".cache"),
    )
    function = functools.partial(collate, num_tokens=32)
    batch = next(iter(DataLoader(rows, batch_size=4, collate_fn=function)))
    print(f"Hugging Face: tokens {tuple(batch.tokens.shape)}, keys {batch.columns['key']}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "pictures", nargs="*", type=Path, help="pictures or folders; default: the bundled ones"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo/token-dataset"), help="folder for the dataset"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
