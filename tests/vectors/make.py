"""Writes the conformance vectors of the current format version: `python tests/vectors/make.py`.

    tables.json                             entropy tables of the token set A1B2C3, an invented one
    version-2/valid/NAME.odp, NAME.json     files, and all that a reader must find in them
    version-2/invalid/NAME.odp              files that a reader must refuse; errors.json says how
    version-2/decoded/NAME.odp              files of the default token set
    pictures/NAME.png                       their pictures, which those of version 1 share

Files of earlier versions, in folders of their own, are frozen: this script does not write them.
Those of the current version change only by additions. The pictures change with the
default model: run this when it does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from onedpiece.bitstream.allocation import Allocation
from onedpiece.bitstream.alpha import pack_alpha
from onedpiece.bitstream.chunks import ALPHA, EXIF, Chunk, compress
from onedpiece.bitstream.header import Header
from onedpiece.codec import Codec
from onedpiece.constants import DEFAULT_TOKEN_SET
from onedpiece.encoded_image import EncodedImage
from onedpiece.entropy import Tables
from onedpiece.errors import UnknownModel
from onedpiece.models.registry import BUNDLED
from onedpiece.models.tensors import read_tensor
from onedpiece.rate_control import Target
from onedpiece.runtime import onnx as onnx_runtime

sys.path.insert(0, str(Path(__file__).parents[1]))
from odp_files import build, fingerprint, parse, raw_header, side

HERE = Path(__file__).parent
FOLDER = HERE / "version-2"
MODEL = bytes.fromhex("a1b2c3")
TOKEN_SET = BUNDLED / "default" / "token-set.safetensors"
NAMED = fingerprint(MODEL)
LEVELS = (15, 11, 9, 15, 0, 12)


def tables_of(key: bytes) -> Tables:
    """Tables of the invented token set and of the default one."""
    if key == DEFAULT_TOKEN_SET:
        arrays = (
            read_tensor(TOKEN_SET, f"quantize.{name}") for name in ("frequency", "block_sizes")
        )
        return Tables(*arrays)
    if key != MODEL:
        raise UnknownModel(key.hex())
    known = json.loads((HERE / "tables.json").read_text())
    return Tables(np.array(known["frequency"]), np.array(known["block_sizes"]))


def facts(file: EncodedImage) -> dict:
    """What a reader must find in a file."""
    header = file.header
    return {
        "version": header.version,
        "width": header.width,
        "height": header.height,
        "density": header.density,
        "grey": header.grey,
        "overlap": header.overlap,
        "scaled": header.scaled,
        "entropy_coded": header.entropy_coded,
        "tiles": header.grid.count,
        "model": header.model.hex(),
        "tokens_per_tile": header.tokens_per_tile,
        "total": file.allocation.total,
        "levels": file.allocation.levels and list(file.allocation.levels),
        "parts": [[chunk.type, chunk.data.hex()] for chunk in file.chunks],
        "tokens": [
            known[:count].tolist() for known, count in zip(file.tokens, file.counts, strict=True)
        ],
    }


def even(tiles: int) -> np.ndarray:
    """Tokens of which all are equally frequent: too rare for the tables to help."""
    return np.random.default_rng(0).integers(0, 4096, (tiles, 256), np.uint16)


def common(tiles: int) -> np.ndarray:
    """Tokens of which small ones are frequent, as the tables expect."""
    return even(tiles).astype(int) ** 3 >> 24


def valid() -> dict[str, bytes]:
    return valid_named() | valid_default() | valid_density()


def valid_named() -> dict[str, bytes]:
    """Files of the invented token set at density 1, as version 1 has them."""
    tables = tables_of(MODEL)
    one = Header(256, 256, 4, MODEL)
    two = Header(300, 200, 3, MODEL, overlap=16, grey=True)
    six = Header(700, 300, 5, MODEL)
    coded = build(Header(256, 256, 256, MODEL), common(1), tables=tables)
    notes = [Chunk(0x7E, b"note"), Chunk(0x7F, b"")]
    whole = build(one, np.array([[1, 2, 0xABC, 4095]]))
    alpha = [Chunk(ALPHA, pack_alpha(np.full((6, 9), 255, np.uint8)))]
    return {
        "one-tile": whole,
        "one-tile-cut-in-a-token": whole[:10],
        "one-tile-cut-after-the-header": whole[:8],
        "one-tile-odd": build(Header(256, 256, 3, MODEL), even(1)),
        "scaled": build(Header(700, 300, 2, MODEL, scaled=True), even(3)),
        "one-pixel": build(Header(1, 1, 1, MODEL), even(1)),
        "all-tokens": build(Header(256, 256, 256, MODEL), even(1)),
        "overlap-grey-chunks": build(two, even(2), notes),
        "overlap-cut-within-a-round": build(two, even(2), notes)[:-4],
        "most-overlap": build(Header(300, 200, 3, MODEL, overlap=120), even(2)),
        "longest-side": build(Header(32768, 1, 1, MODEL), even(128)),
        "fewer-tokens-in-the-last-round": build(six, even(6), (), Allocation(26)),
        "mean-of-a-power-of-two": build(six, even(6), (), Allocation(22)),
        "levels": build(six, even(6), (), Allocation(30, LEVELS)),
        "levels-cut": build(six, even(6), (), Allocation(29, LEVELS))[:-9],
        "alpha": build(Header(9, 6, 2, MODEL), even(1), alpha),
        "exif": build(one, even(1), [Chunk(EXIF, compress(b"Exif\0\0"))]),
        "coded": coded,
        "coded-cut": coded[:100],
        "coded-cut-in-the-first-token": coded[:9],
        "coded-one-token": build(Header(256, 256, 1, MODEL), np.array([[0]]), tables=tables),
        "coded-levels": build(six, common(6), (), Allocation(900, LEVELS), tables),
    }


def valid_default() -> dict[str, bytes]:
    """Files of the default token set at density 1."""
    key, tables = DEFAULT_TOKEN_SET, tables_of(DEFAULT_TOKEN_SET)
    coded = build(Header(256, 256, 64, key), common(1), tables=tables)
    six = Header(700, 300, 5, key)
    chunks = [Chunk(EXIF, compress(b"Exif\0\0"))]
    files = {
        f"default-{count}-tokens": build(Header(256, 256, count, key), even(1))
        for count in (1, 2, 4, 8, 16, 32, 64, 128, 256, 3, 255)
    }
    return files | {
        "default-scaled": build(Header(300, 200, 5, key, scaled=True), even(1)),
        "default-scaled-chunks": build(Header(300, 200, 8, key, scaled=True), even(1), chunks),
        "default-native": build(Header(2049, 200, 2, key), even(9)),
        "default-overlap": build(Header(300, 200, 2, key, overlap=8), even(2)),
        "default-grey": build(Header(256, 256, 2, key, grey=True), even(1)),
        "default-levels": build(six, even(6), (), Allocation(24, LEVELS)),
        "default-coded": coded,
        "default-coded-cut": coded[:40],
        "default-coded-levels": build(six, common(6), (), Allocation(255, LEVELS), tables),
    }


def valid_density() -> dict[str, bytes]:
    """Files whose tiles are finer than their pictures."""
    key, tables = DEFAULT_TOKEN_SET, tables_of(MODEL)
    files = {}
    for density in (2, 3, 4):
        square = Header(256, 256, 4, key, scaled=True, density=density)
        wide = Header(300, 200, 3, MODEL, scaled=True, density=density)
        tiles = wide.grid.count
        levels = tuple((15 - 3 * tile) % 16 for tile in range(tiles))
        files |= {
            f"density-{density}": build(square, even(density**2)),
            f"density-{density}-named": build(wide, even(tiles)),
            f"density-{density}-uneven": build(wide, even(tiles), (), Allocation(4 * tiles - 1)),
            f"density-{density}-levels": build(
                wide, common(tiles), (), Allocation(20 * tiles, levels), tables
            ),
        }
    square = Header(256, 256, 5, key, scaled=True, density=2)
    long = Header(16384, 1, 1, key, scaled=True, density=2)
    small = Header(40, 30, 9, MODEL, grey=True, scaled=True, density=3)
    alpha = [Chunk(ALPHA, pack_alpha(np.full((30, 40), 51, np.uint8)))]
    whole, levels = files["density-2"], files["density-2-levels"]
    return files | {
        "density-2-cut-after-the-header": whole[:5],
        "density-2-cut-in-a-token": whole[:15],
        "density-2-cut-within-a-round": whole[:-9],
        "density-2-levels-cut": levels[:-7],
        "density-2-uneven-256x256": build(square, even(4), (), Allocation(18)),
        "density-2-longest-side": build(long, even(long.grid.count)),
        "density-3-one-tile-alpha-grey": build(small, even(1), alpha),
        "density-4-one-pixel": build(Header(1, 1, 2, MODEL, scaled=True, density=4), even(1)),
    }


def invalid() -> dict[str, tuple[bytes, str]]:
    return invalid_beginnings() | invalid_headers() | invalid_sections()


def invalid_beginnings() -> dict[str, tuple[bytes, str]]:
    one = valid()["one-tile"]
    return {
        "empty": (b"", "NotAnOdpFile"),
        "png": (b"\x89PNG\r\n\x1a\n" + bytes(20), "NotAnOdpFile"),
        "seven-bits": (bytes(octet & 0x7F for octet in one), "NotAnOdpFile"),
        "magic-alone": (one[:2], "DamagedFile"),
        "version-alone": (one[:3], "DamagedFile"),
        "version-0": (raw_header("0000 0 0 0 0", "00 00 0010"), "UnsupportedFile"),
        "version-3": (one[:2] + b"\x30" + one[3:], "UnsupportedFile"),
        "header-cut": (one[:7], "DamagedFile"),
        "default-header-cut": (valid()["default-64-tokens"][:4], "DamagedFile"),
        "header-bit-flipped": (one[:4] + b"\xa0" + one[5:], "DamagedFile"),
        "flag-flipped": (one[:2] + b"\x28" + one[3:], "DamagedFile"),
        "density-flipped": (one[:3] + b"\x92" + one[4:], "DamagedFile"),
    }


def invalid_headers() -> dict[str, tuple[bytes, str]]:
    """Headers with a right checksum; those that are not too large are followed by a payload."""

    def header(*fields: str, payload: int = 6) -> bytes:
        return raw_header("0010 0 0 0 0", *fields) + bytes(payload)

    named, long, small = "10 00 0010", "01 00 0010", side(100) + side(100)
    at_density_2 = "01 01 0010"
    unsupported = {
        "must-refuse": raw_header("0010 1 0 0 0", named, NAMED) + bytes(6),
        "layout-3": header(long, small, "11"),
        "density-with-layout-3": header(at_density_2, small, "11"),
    } | {f"tokens-code-{code}": header("00 00", f"{code:04b}") for code in range(11, 16)}
    damaged = {
        "default-token-set-named": header(named, fingerprint(DEFAULT_TOKEN_SET)),
        "explicit-4-tokens": header("00 00 1001", "00000011"),
        "explicit-4-tokens-named": header("10 00 1001", NAMED, "00000011"),
        "header-padding-not-zero": header(long, small, "00 0001"),
        "256x256-long": header(long, side(256) + side(256), "00"),
        "256x256-long-at-density-2": header(at_density_2, side(256) + side(256), "01", payload=24),
        "256x256-with-allocation": header("00 00 1010", "00000011"),
        "density-with-layout-0": header(at_density_2, small, "00"),
        "density-with-layout-2": header(at_density_2, small, "10 0001"),
        "overlap-of-0": header(long, small, "10 0000"),
        "scaled-whole-tiles": header(long, side(512) + side(256), "01", payload=12),
        "scaled-too-long": header(long, side(2049) + side(1), "01", payload=48),
        "size-without-end": header(long, "0" * 400),
    }
    too_large = {
        "side-too-long": header(long, side(32769) + side(1), "00", payload=0),
        "side-too-long-at-density-2": header(at_density_2, side(1) + side(16385), "01", payload=0),
        "too-many-pixels": Header(32768, 32768, 1, MODEL).pack(),
        "too-many-pixels-at-density-2": (
            Header(8192, 8193, 1, MODEL, scaled=True, density=2).pack()
        ),
    }
    return {
        name: (data, error)
        for error, files in (
            ("UnsupportedFile", unsupported),
            ("DamagedFile", damaged),
            ("LimitExceeded", too_large),
        )
        for name, data in files.items()
    }


def invalid_sections() -> dict[str, tuple[bytes, str]]:
    """Faults behind the header."""
    good = valid()
    one, levels = good["one-tile"], good["levels"]
    coded, chunks = good["coded"], good["overlap-grey-chunks"]
    start = len(Header(700, 300, 5, MODEL, has_allocation=True).pack())
    other = Header(256, 256, 4, bytes.fromhex("a1b2c4"), entropy_coded=True)
    four_coded = Header(256, 256, 4, MODEL, entropy_coded=True).pack()
    all_coded = Header(256, 256, 256, MODEL, entropy_coded=True).pack()
    one_tile = Header(100, 100, 2, MODEL, has_allocation=True).pack()
    too_few = Header(700, 300, 1, MODEL, has_allocation=True).pack()
    finer = Header(300, 200, 4, MODEL, scaled=True, density=3, has_allocation=True).pack()
    rare = tables_of(MODEL).encode(np.full(4, 4095), np.arange(4))
    critical = build(Header(256, 256, 1, MODEL), np.array([[5]]), [Chunk(0xF0, b"?")])
    damaged = {
        "coded-no-token": all_coded + b"\xff" * 8,
        "coded-too-long": coded + b"\0",
        "coded-not-the-first-number": coded[:-1] + bytes([coded[-1] ^ 1]),
        "coded-as-long-as-12-bits-each": four_coded + rare,
        "too-long": one + b"\0",
        "too-long-at-density-2": good["density-2"] + b"\0",
        "padding-not-zero": good["one-tile-odd"][:-1] + b"\xff",
        "chunk-damaged": chunks.replace(b"note", b"nope"),
        "one-tile-with-levels": one_tile + Allocation(2, (15,)).pack(1) + bytes(3),
        "fewer-tokens-than-tiles": too_few + Allocation(3).pack(6) + bytes(5),
        "allocation-cut": levels[: start + 1],
        "allocation-damaged": levels[: start + 1] + b"\0" + levels[start + 2 :],
        "allocation-not-needed-at-density-3": finer + Allocation(48).pack(12) + bytes(72),
    }
    return {name: (data, "DamagedFile") for name, data in damaged.items()} | {
        "coded-of-another-token-set": (other.pack() + one[8:], "UnknownModel"),
        "critical-chunk": (critical, "UnsupportedFile"),
    }


def decoded(codec: Codec) -> dict[str, bytes]:
    """Files of the default token set, of all kinds that are decoded differently."""
    key, tables = DEFAULT_TOKEN_SET, tables_of(DEFAULT_TOKEN_SET)
    picture = Image.new("RGB", (400, 270), (40, 90, 160))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((60, 30, 240, 170), (230, 180, 60))
    draw.rectangle((10, 120, 120, 190), (180, 40, 50))
    see_through = picture.resize((60, 40)).convert("RGBA")
    see_through.putalpha(Image.linear_gradient("L").resize((60, 40)))

    def encode(image: Image.Image, target: int | Target) -> bytes:
        file = codec.parse(codec.encode(image, target))
        header, rest = file.header, (file.chunks, file.allocation, tables)
        default = Header.for_picture(*image.size, header.tokens_per_tile, key, header.grey)
        return build(default, file.tokens, *rest)

    two = encode(picture, 16)
    four = encode(picture.resize((400, 400)), 8)
    overlapping = Header(420, 400, 8, key, overlap=32)
    at_density_2 = Header(200, 200, 8, key, scaled=True, density=2)
    uneven = encode(picture, Target(tokens=6, adaptive=True))
    assert [parse(data, tables_of=tables_of).header.grid.count for data in (two, four)] == [2, 4]
    assert parse(uneven, tables_of=tables_of).allocation.levels
    tokens = parse(four, tables_of=tables_of).tokens
    finer = build(at_density_2, tokens, tables=tables)
    return {
        "two-tiles": two,
        "cut": two[:-5],
        "adaptive": uneven,
        "four-tiles": four,
        "overlap": build(overlapping, tokens, tables=tables),
        "density-2": finer,
        "density-2-cut": finer[:-8],
        "grey": encode(picture.resize((64, 48)).convert("L"), 8),
        "alpha": encode(see_through, 8),
    }


def main() -> None:
    for name in ("valid", "invalid", "decoded"):
        (FOLDER / name).mkdir(exist_ok=True, parents=True)
        for old in (FOLDER / name).iterdir():
            old.unlink()
    for name, data in valid().items():
        (FOLDER / "valid" / f"{name}.odp").write_bytes(data)
        text = json.dumps(facts(parse(data, tables_of=tables_of)))
        (FOLDER / "valid" / f"{name}.json").write_text(text + "\n")
    errors = {}
    for name, (data, error) in invalid().items():
        (FOLDER / "invalid" / f"{name}.odp").write_bytes(data)
        errors[name] = error
    (FOLDER / "invalid" / "errors.json").write_text(json.dumps(errors, indent=1) + "\n")
    codec = Codec(device="cpu")
    for name, data in decoded(codec).items():
        (FOLDER / "decoded" / f"{name}.odp").write_bytes(data)
    onnx_runtime.has_vnni = lambda: False  # pictures without the rounding of integers
    for path in (FOLDER / "decoded").iterdir():
        picture = codec.decode(path.read_bytes(), realism=0)
        picture.save(HERE / "pictures" / f"{path.stem}.png", optimize=True)


if __name__ == "__main__":
    main()
