"""Writes the conformance vectors of format version 2: `python tests/vectors/make.py`.

    tables.json                    entropy tables of the token set A1B2C3, an invented one; not
                                   written
    version-2/valid/NAME.odp       files of that token set, and NAME.json, all that a reader must
                                   find in them
    version-2/invalid/NAME.odp     files that a reader must refuse; errors.json says how
    version-2/decoded/NAME.odp     files of onedpiece-1, and NAME.png, their pictures
    version-1/                     the same of format version 1, which never changes

Files change only with the format. The pictures change with the default decoder: run this when it
does. Then the pictures of version 1 are written again, too.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from onedpiece.bitstream.allocation import Allocation
from onedpiece.bitstream.alpha import pack_alpha
from onedpiece.bitstream.checksum import crc8
from onedpiece.bitstream.chunks import ALPHA, EXIF, Chunk, compress
from onedpiece.bitstream.header import Header
from onedpiece.codec import Codec
from onedpiece.constants import DEFAULT_TOKEN_SET
from onedpiece.encoded_image import EncodedImage
from onedpiece.entropy import Tables
from onedpiece.errors import UnknownModel
from onedpiece.rate_control import Target

sys.path.insert(0, str(Path(__file__).parents[1]))
from odp_files import build, parse

HERE = Path(__file__).parent
OLD, NEW = HERE / "version-1", HERE / "version-2"
MODEL = bytes.fromhex("a1b2c3")


def tables_of(key: bytes) -> Tables:
    """The committed tables."""
    if key != MODEL:
        raise UnknownModel(key.hex())
    known = json.loads((HERE / "tables.json").read_text())
    return Tables(np.array(known["frequency"]), np.array(known["block_sizes"]))


def facts(file: EncodedImage) -> dict:
    """What a reader must find in a file."""
    header = file.header
    return {
        "version": header.version,
        "density": header.density,
        "width": header.width,
        "height": header.height,
        "grey": header.grey,
        "overlap": header.overlap,
        "scaled": header.scaled,
        "entropy_coded": header.entropy_coded,
        "tiles": header.grid.count,
        "model": header.model.hex(),
        "tokens_per_tile": header.tokens_per_tile,
        "total": file.allocation.total,
        "levels": file.allocation.levels and list(file.allocation.levels),
        "chunks": [[chunk.type, chunk.data.hex()] for chunk in file.chunks],
        "tokens": [
            known[:count].tolist() for known, count in zip(file.tokens, file.counts, strict=True)
        ],
    }


def valid() -> dict[str, bytes]:
    def tokens(tiles: int) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 4096, (tiles, 256), np.uint16)

    one = Header(256, 256, 4, MODEL)
    two = Header(300, 200, 3, MODEL, overlap=16, grey=True)
    six = Header(700, 300, 5, MODEL)
    scaled = Header(700, 300, 2, MODEL, scaled=True)
    common = tokens(6).astype(int) ** 3 >> 24
    coded = build(Header(256, 256, 256, MODEL), common[:1], tables=tables_of(MODEL))
    fine = Header.for_picture(256, 256, 2, MODEL, density=2)
    odd = Header.for_picture(300, 200, 2, MODEL, density=2)
    notes = [Chunk(0x7E, b"note"), Chunk(0x7F, b"")]
    whole = build(one, np.array([[1, 2, 0xABC, 4095]]))
    return {
        "one-tile": whole,
        "one-tile-cut-in-a-token": whole[:10],
        "one-tile-cut-after-the-header": whole[:8],
        "default-token-set": build(replace(one, model=DEFAULT_TOKEN_SET), tokens(1)),
        "one-token": build(replace(one, tokens_per_tile=1), tokens(1)),
        "not-a-power-of-two": build(replace(one, tokens_per_tile=255), tokens(1)),
        "density-2": build(fine, tokens(4)),
        "density-2-cut": build(fine, tokens(4))[:-5],
        "density-2-odd-size": build(odd, tokens(6), (), Allocation(9)),
        "density-2-levels": build(fine, tokens(4), (), Allocation(20, (15, 11, 9, 15))),
        "density-3": build(Header.for_picture(256, 256, 1, MODEL, density=3), tokens(9)),
        "density-4": build(Header.for_picture(100, 60, 8, MODEL, density=4), tokens(2)),
        "levels-with-a-power-of-two": build(six, tokens(6), (), Allocation(24, (15,) * 5 + (9,))),
        "one-tile-odd": build(Header(256, 256, 3, MODEL), tokens(1)),
        "scaled": build(scaled, tokens(3)),
        "one-pixel": build(Header(1, 1, 1, MODEL), tokens(1)),
        "all-tokens": build(Header(256, 256, 256, MODEL), tokens(1)),
        "two-tiles-grey-chunks": build(two, tokens(2), notes),
        "two-tiles-cut-within-a-round": build(two, tokens(2), notes)[:-4],
        "fewer-tokens-in-the-last-round": build(six, tokens(6), (), Allocation(26)),
        "levels": build(six, tokens(6), (), Allocation(30, (15, 11, 9, 15, 0, 12))),
        "levels-cut": build(six, tokens(6), (), Allocation(29, (15, 11, 9, 15, 0, 12)))[:-9],
        "alpha": build(
            Header(9, 6, 2, MODEL),
            tokens(1),
            [Chunk(ALPHA, pack_alpha(np.full((6, 9), 255, np.uint8)))],
        ),
        "coded": coded,
        "coded-cut": coded[:100],
        "coded-cut-in-the-first-token": coded[:9],
        "coded-one-token": build(
            Header(256, 256, 1, MODEL), np.array([[0]]), tables=tables_of(MODEL)
        ),
        "coded-levels": build(
            six, common, (), Allocation(900, (15, 11, 9, 15, 0, 12)), tables_of(MODEL)
        ),
        "exif": build(one, tokens(1), [Chunk(EXIF, compress(b"Exif\0\0"))]),
    }


def invalid() -> dict[str, tuple[bytes, str]]:
    good = valid()
    one, levels = good["one-tile"], good["levels"]
    rare = np.full(4, 4095)

    def with_checksum(front: str) -> bytes:
        data = bytes.fromhex(front)
        return data + bytes([crc8(data)])

    return {
        "empty": (b"", "NotAnOdpFile"),
        "png": (b"\x89PNG\r\n\x1a\n" + bytes(20), "NotAnOdpFile"),
        "seven-bits": (bytes(octet & 0x7F for octet in one), "NotAnOdpFile"),
        "magic-alone": (one[:2], "DamagedFile"),
        "header-cut": (one[:7], "DamagedFile"),
        "header-bit-flipped": (one[:4] + b"\xa0" + one[5:], "DamagedFile"),
        "version-3": (b"\x9d\x50\x30" + one[3:], "UnsupportedFile"),
        "must-refuse": (with_checksum("9d502882a1b2c3") + one[8:], "UnsupportedFile"),
        "reserved-code-of-tokens": (with_checksum("9d50208ba1b2c3") + one[8:], "UnsupportedFile"),
        "reserved-layout": (with_checksum("9d5020c2a1b2c3 804030") + one[8:], "UnsupportedFile"),
        "default-token-set-named": (with_checksum("9d50208297ace4") + one[8:], "DamagedFile"),
        "4-tokens-in-full": (with_checksum("9d502089a1b2c303") + one[8:], "DamagedFile"),
        "a-tile-with-an-allocation": (with_checksum("9d50208aa1b2c304") + one[8:], "DamagedFile"),
        "overlap-of-0": (with_checksum("9d5020c2a1b2c3 804020") + one[8:], "DamagedFile"),
        "density-2-not-scaled": (with_checksum("9d5020d2a1b2c3 804000") + one[8:], "DamagedFile"),
        "density-4-too-wide": (
            with_checksum("9d5020f0a1b2c3 0400 8020") + bytes(9),
            "LimitExceeded",
        ),
        "coded-of-another-model": (with_checksum("9d502482a1b2c4") + one[8:], "UnknownModel"),
        "coded-no-token": (
            Header(256, 256, 256, MODEL, entropy_coded=True).pack() + b"\xff" * 8,
            "DamagedFile",
        ),
        "coded-too-long": (good["coded"] + b"\0", "DamagedFile"),
        "coded-not-the-first-number": (
            good["coded"][:-1] + bytes([good["coded"][-1] ^ 1]),
            "DamagedFile",
        ),
        "coded-as-long-as-12-bits-each": (
            with_checksum("9d502482a1b2c3") + tables_of(MODEL).encode(rare, np.arange(4)),
            "DamagedFile",
        ),
        "too-long": (one + b"\0", "DamagedFile"),
        "padding-not-zero": (good["one-tile-odd"][:-1] + b"\xff", "DamagedFile"),
        "too-many-pixels": (Header(32768, 32768, 1, MODEL).pack(), "LimitExceeded"),
        "critical-chunk": (
            build(Header(256, 256, 1, MODEL), np.array([[5]]), [Chunk(0xF0, b"?")]),
            "UnsupportedFile",
        ),
        "chunk-damaged": (
            good["two-tiles-grey-chunks"].replace(b"note", b"nope"),
            "DamagedFile",
        ),
        "one-tile-with-levels": (
            Header(100, 100, 2, MODEL, has_allocation=True).pack()
            + Allocation(2, (15,)).pack(1)
            + bytes(3),
            "DamagedFile",
        ),
        "fewer-tokens-than-tiles": (
            Header(700, 300, 1, MODEL, has_allocation=True).pack()
            + Allocation(3).pack(6)
            + bytes(5),
            "DamagedFile",
        ),
        "allocation-cut": (levels[:14], "DamagedFile"),
        "allocation-damaged": (levels[:13] + b"\0" + levels[14:], "DamagedFile"),
    }


def decoded(codec: Codec) -> dict[str, bytes]:
    picture = Image.new("RGB", (400, 270), (40, 90, 160))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((60, 30, 240, 170), (230, 180, 60))
    draw.rectangle((10, 120, 120, 190), (180, 40, 50))
    see_through = picture.resize((60, 40)).convert("RGBA")
    see_through.putalpha(Image.linear_gradient("L").resize((60, 40)))
    two = codec.encode(picture, 16)
    uneven = codec.encode(picture, Target(tokens=6, adaptive=True))
    four = codec.encode(picture.resize((400, 400)), 8)
    overlapping = Header(420, 400, 8, codec.model.key, overlap=32)
    assert [codec.parse(data).header.grid.count for data in (two, four)] == [2, 4]
    assert codec.parse(uneven).allocation.levels and overlapping.grid.count == 4
    return {
        "two-tiles": two,
        "cut": two[:-5],
        "adaptive": uneven,
        "four-tiles": four,
        "overlap": build(overlapping, codec.parse(four).tokens),
        "density-2": codec.encode(picture.resize((256, 200)), 300),
        "grey": codec.encode(picture.resize((64, 48)).convert("L"), 8),
        "alpha": codec.encode(see_through, 8),
    }


def main() -> None:
    for name in ("valid", "invalid", "decoded"):
        (NEW / name).mkdir(parents=True, exist_ok=True)
        for old in (NEW / name).iterdir():
            old.unlink()
    for name, data in valid().items():
        (NEW / "valid" / f"{name}.odp").write_bytes(data)
        text = json.dumps(facts(parse(data, tables_of=tables_of)))
        (NEW / "valid" / f"{name}.json").write_text(text + "\n")
    errors = {}
    for name, (data, error) in invalid().items():
        (NEW / "invalid" / f"{name}.odp").write_bytes(data)
        errors[name] = error
    (NEW / "invalid" / "errors.json").write_text(json.dumps(errors, indent=1) + "\n")
    codec = Codec(device="cpu")
    for name, data in decoded(codec).items():
        (NEW / "decoded" / f"{name}.odp").write_bytes(data)
    for file in sorted(HERE.glob("*/decoded/*.odp")):
        codec.decode(file.read_bytes()).save(file.with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main()
