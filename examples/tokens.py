"""Pictures as arrays of tokens: encode, keep a prefix, decode, and write the prefix as a file.

    python examples/tokens.py [PICTURES...] [--num-tokens N] [--out DIR]

Every picture is scaled and cropped to 256x256 pixels, one tile of 256 tokens. For each NAME, writes
NAME.odp with the first N tokens, and NAME.png with what they decode to.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from onedpiece import EncodedImage, Tokenizer

BUNDLED = Path(__file__).parents[1] / "bench" / "pictures"


def main() -> None:
    arguments = parse_arguments()
    paths = arguments.pictures or sorted(BUNDLED.glob("*.png"))
    arguments.out.mkdir(parents=True, exist_ok=True)

    tokenizer = Tokenizer.from_pretrained("default")
    pixels = tokenizer.preprocess([Image.open(path) for path in paths])  # uint8 (B, 256, 256, 3)
    tokens = tokenizer.encode(pixels)  # uint16 (B, 256)
    print(f"{len(paths)} pictures, tokens {tokens.shape}")

    prefix = tokens[:, : arguments.num_tokens]
    decoded = tokenizer.decode(prefix)  # uint8 (B, 256, 256, 3)
    for path, row, picture in zip(paths, prefix, decoded, strict=True):
        data = EncodedImage.from_tokens(row[None], width=256, height=256).to_bytes()
        (arguments.out / f"{path.stem}.odp").write_bytes(data)
        Image.fromarray(picture).save(arguments.out / f"{path.stem}.png")
        print(f"{path.name}: first tokens {row[:4].tolist()}, {len(data)} bytes")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "pictures", nargs="*", type=Path, help="pictures; default: the bundled ones"
    )
    parser.add_argument("--num-tokens", type=int, default=64, help="tokens to keep, 1 to 256")
    parser.add_argument(
        "--out", type=Path, default=Path("demo/tokens"), help="folder for the results"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
