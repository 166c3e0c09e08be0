"""What it takes to encode a billion pictures and to train on them, from rates measured for few.

    python -m onedpiece.bench.ablations.billion --core-rate 200 --bytes 400 --read-rate 30000

Arithmetic only: no picture is read. Give what `datasets` and `dataset_storage` measure on your
machine. A cluster is taken to be as fast as so many cores, or GPUs, side by side; what it loses to
the network, to disks and to failures is not in the tables.
"""

from __future__ import annotations

import argparse

from onedpiece.datasets.encoding import SAMPLES_PER_PART
from onedpiece.datasets.order import WINDOW
from onedpiece.datasets.part_writer import ROWS_OF_GROUP

SCALES = (8, 64, 512)
HOUR = 3600


def main() -> None:
    """Print the tables."""
    given = parse_arguments()
    print_encoding(given)
    print_storage(given)
    print_training(given)


def print_encoding(given: argparse.Namespace) -> None:
    """Hours of encoding, and how fast the pictures must arrive."""
    units = {"cores": given.core_rate, "GPUs": given.gpu_rate}
    print("| encoded by | pictures/s | hours | pictures to read, MB/s | tokens to write, MB/s |")
    print("|---" * 5 + "|")
    for unit, rate in units.items():
        for count in SCALES if rate else ():
            speed = count * rate
            hours = given.pictures / speed / HOUR
            megabytes = speed * given.source_bytes / 1e6, speed * given.bytes / 1e6
            cells = [f"{count} {unit}", f"{speed:,.0f}", f"{hours:,.1f}"]
            print(f"| {' | '.join(cells)} | {megabytes[0]:,.0f} | {megabytes[1]:,.1f} |")


def print_storage(given: argparse.Namespace) -> None:
    """Terabytes of the pictures and of their tokens, and in how many pieces."""
    print("\n| | TB |\n|---|---|")
    for name, each in (("pictures", given.source_bytes), ("tokens in Parquet", given.bytes)):
        print(f"| {name} | {given.pictures * each / 1e12:.2f} |")
    files, groups = (given.pictures / rows for rows in (SAMPLES_PER_PART, ROWS_OF_GROUP))
    print(f"\n{files:,.0f} files of {SAMPLES_PER_PART:,} rows, {groups:,.0f} row groups")


def print_training(given: argparse.Namespace) -> None:
    """What must be read while so many GPUs train, each at the given speed."""
    print(
        "\n| training on | rows/s | hours an epoch | MB/s | row groups/s |\n|---|---|---|---|---|"
    )
    for count in SCALES:
        speed = count * given.train_rate
        hours, megabytes = given.pictures / speed / HOUR, speed * given.bytes / 1e6
        cells = [f"{count} GPUs", f"{speed:,.0f}", f"{hours:,.1f}", f"{megabytes:,.1f}"]
        print(f"| {' | '.join(cells)} | {speed / ROWS_OF_GROUP:,.0f} |")
    share, window = given.train_rate / given.read_rate, WINDOW * 2 * given.tokens / 1e6
    print(f"\nreading for one GPU takes {share:.2f} of the time of a process")
    print(f"rows that a process shuffles: {WINDOW:,}, {window:.1f} MB of tokens")


def parse_arguments() -> argparse.Namespace:
    """The rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=float, default=1e9)
    parser.add_argument(
        "--core-rate", type=float, required=True, help="pictures/s that a core encodes"
    )
    parser.add_argument(
        "--gpu-rate", type=float, help="pictures/s that a GPU encodes, once measured"
    )
    parser.add_argument("--source-bytes", type=float, default=30e3, help="of a picture to encode")
    parser.add_argument("--bytes", type=float, required=True, help="of a row in Parquet")
    parser.add_argument("--tokens", type=int, default=256, help="tokens of a row")
    parser.add_argument(
        "--read-rate", type=float, required=True, help="rows/s of a reading process"
    )
    parser.add_argument(
        "--train-rate", type=float, default=2000, help="pictures/s that a GPU trains on"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
