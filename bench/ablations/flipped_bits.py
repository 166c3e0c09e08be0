"""What damage to the header of a file does: refused, or read as another picture.

    python -m onedpiece.bench.ablations.flipped_bits

Damage *passes unseen* if the changed bytes, followed by the rest of the file, begin with a header
that `Header.unpack` reads without an error. The rest of the file is random, as tokens are. Prints
Markdown tables for format versions 1 and 2:

- every single flipped bit of two headers, by field;
- every single flipped bit of random headers, by field;
- larger random damage to the two headers.

Most flips are decided by the header alone. Others move the place where the checksum is expected
into the random bytes. How often these pass is computed without waiting for the right checksum to
come up: the byte in every possible place is set to it, and counts as 1 of 256.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product

from onedpiece.bitstream.checksum import crc8
from onedpiece.bitstream.header import Header
from onedpiece.constants import DEFAULT_TOKEN_SET
from onedpiece.errors import (
    DamagedFile,
    LimitExceeded,
    NotAnOdpFile,
    OdpError,
    UnsupportedFile,
)

NAMED = bytes.fromhex("a1b2c3")
KNOWN = (DEFAULT_TOKEN_SET, NAMED)
PAYLOAD = 24  # bytes; more than any header is longer than another
LENGTHS = range(5, 17)  # of headers of versions 1 and 2, in bytes
PAYLOADS = 1000  # for each flipped bit; standard error below 0.01 %
HEADERS = 20_000  # random ones; standard error below 0.04 % for a field of one bit
DAMAGES = 100_000  # of each kind; standard error below 0.02 %

REFUSALS = {
    NotAnOdpFile: "not .odp",
    UnsupportedFile: "unsupported",
    DamagedFile: "damaged",
    LimitExceeded: "too large",
}
UNKNOWN, UNSEEN = "unknown token set", "another picture"
OUTCOMES = (*REFUSALS.values(), UNKNOWN, UNSEEN)

PAIRS = {
    "256x256, 64 tokens": (
        Header(256, 256, 64, NAMED, version=1),
        Header(256, 256, 64, DEFAULT_TOKEN_SET),
    ),
    "640x480, named token set, allocation": (
        Header(640, 480, 50, NAMED, has_allocation=True, scaled=True, version=1),
        Header(640, 480, 50, NAMED, has_allocation=True, scaled=True),
    ),
}


def main() -> None:
    """Print all tables."""
    for title, headers in PAIRS.items():
        for header in headers:
            _print_flips(title, header)
    _print_random_headers()
    _print_damages()


def _print_flips(title: str, header: Header) -> None:
    """What a flip in each field does, in % of flips; the last column is for the worst bit of it."""
    whole, chance = header.pack(), random.Random(0)
    print(f"\nVersion {header.version}, {title}: {len(whole)} bytes, `{whole.hex(' ')}`\n")
    print("| field | bits | " + " | ".join(OUTCOMES) + " | passes unseen | worst bit |")
    print("|---" + "|--:" * (len(OUTCOMES) + 3) + "|")
    total: dict[str, float] = defaultdict(float)
    position, worst_of_all = 0, 0.0
    for name, width in fields_of(header):
        shares: dict[str, float] = defaultdict(float)
        worst = 0.0
        for bit in range(position, position + width):
            of_bit = shares_of(_flipped(whole, bit), chance)
            worst = max(worst, _passing(of_bit))
            for found, share in of_bit.items():
                shares[found] += share
                total[found] += share
        position += width
        worst_of_all = max(worst_of_all, worst)
        _print_row(name, width, shares, worst)
    _print_row("**all**", position, total, worst_of_all)


def _print_row(name: str, width: int, shares: Mapping[str, float], worst: float) -> None:
    cells = [f"{100 * shares.get(outcome, 0) / width:.2f}" for outcome in OUTCOMES]
    passing = 100 * _passing(shares) / width
    print(f"| {name} | {width} | {' | '.join(cells)} | {passing:.3f} | {100 * worst:.3f} |")


def _passing(shares: Mapping[str, float]) -> float:
    """An unknown token set is noticed only when the tokens are decoded."""
    return shares.get(UNKNOWN, 0) + shares.get(UNSEEN, 0)


def shares_of(damaged: bytes, chance: random.Random) -> dict[str, float]:
    """How often each outcome happens to a damaged header before a random payload, 1 together."""
    try:
        Header.unpack(damaged)
    except OdpError as error:
        if "truncated" not in str(error):
            return {outcome(damaged): 1}
    else:
        return {outcome(damaged): 1}
    # It is longer than it was, so that random bytes take part.
    shares: dict[str, float] = defaultdict(float)
    for _ in range(PAYLOADS):
        data = damaged + chance.randbytes(PAYLOAD)
        passed = 0
        for length in LENGTHS:
            if length > len(damaged):
                before = data[: length - 1]
                right = before + bytes([crc8(before)]) + data[length:]
                if _length_of(right) == length:
                    passed += 1
                    shares[outcome(right)] += 1 / 256 / PAYLOADS
        shares[_refusal(data)] += (1 - passed / 256) / PAYLOADS
    return shares


def _refusal(data: bytes) -> str:
    """The outcome, where it is a refusal; a checksum that is right by chance counts as wrong."""
    found = outcome(data)
    return found if found in REFUSALS.values() else REFUSALS[DamagedFile]


def outcome(data: bytes) -> str:
    """What a reader says to data that begins with a damaged header."""
    try:
        header, _ = Header.unpack(data)
    except OdpError as error:
        return REFUSALS[type(error)]
    return UNSEEN if header.model in KNOWN else UNKNOWN


def _length_of(data: bytes) -> int | None:
    try:
        return Header.unpack(data)[1]
    except OdpError:
        return None


def _print_random_headers() -> None:
    """How often a flip passes unseen, over headers of all sizes, token sets and numbers."""
    chance = random.Random(1)
    passed: list[Counter[str]] = [Counter(), Counter()]
    flips: list[Counter[str]] = [Counter(), Counter()]
    for _ in range(HEADERS):
        newer = _random_header(chance)
        # The fingerprint of version 1 is never left out.
        older = replace(newer, version=1, density=1, model=chance.randbytes(3), **_native(newer))
        payload = chance.randbytes(PAYLOAD)
        for index, header in enumerate((older, newer)):
            whole, position = header.pack(), 0
            for name, width in fields_of(header):
                flips[index][name] += width
                for bit in range(position, position + width):
                    passed[index][name] += _length_of(_flipped(whole, bit) + payload) is not None
                position += width
    print(f"\n{HEADERS} random headers: single flips that pass unseen, %\n")
    print("| field | version 1 | version 2 |\n|---|--:|--:|")
    for name in dict.fromkeys([*flips[0], *flips[1]]):
        cells = [
            f"{100 * good[name] / all_[name]:.3f}" if all_[name] else ""
            for good, all_ in zip(passed, flips, strict=True)
        ]
        print(f"| {name} | {cells[0]} | {cells[1]} |")
    both = [100 * good.total() / all_.total() for good, all_ in zip(passed, flips, strict=True)]
    print(f"| **all** | {both[0]:.3f} | {both[1]:.3f} |")
    _print_certain()


def _print_certain() -> None:
    """How many headers have a bit whose flip makes them shorter, with a checksum that is right."""
    certain, count = [0, 0], 0
    for tokens in range(1, 257):
        for flags in product((False, True), repeat=3):
            newer = Header(256, 256, tokens, DEFAULT_TOKEN_SET, 0, *flags)
            older = replace(newer, version=1, model=NAMED)
            count += 1
            for index, header in enumerate((older, newer)):
                whole = header.pack()
                flips = (_flipped(whole, bit) for bit in range(8 * len(whole)))
                certain[index] += any(_length_of(damaged) is not None for damaged in flips)
    print(
        f"\nOf {count} headers of 256x256 pixels, {certain[0]} of version 1 and {certain[1]} of "
        "version 2 have a bit whose flip passes whatever follows."
    )


def _native(header: Header) -> dict[str, bool]:
    """What version 1 needs in place of a density above 1."""
    return {"scaled": False} if header.density > 1 else {}


def _random_header(chance: random.Random) -> Header:
    """A header of version 2: half of them one tile, half of the default token set."""
    is_tile, is_default = chance.random() < 0.5, chance.random() < 0.5
    density = chance.choice((1, 1, 2, 3, 4))
    header = Header(
        *((256, 256) if is_tile else (chance.randint(1, 8192), chance.randint(1, 8192))),
        tokens_per_tile=chance.choice((1 << chance.randrange(9), chance.randint(1, 256))),
        model=DEFAULT_TOKEN_SET if is_default else chance.randbytes(3),
        entropy_coded=chance.random() < 0.5,
        has_chunks=chance.random() < 0.5,
        has_allocation=chance.random() < 0.5,
    )
    if density == 1:
        return header
    allocation = chance.random() < 0.5
    return replace(header, density=density, scaled=True, has_allocation=allocation)


def _print_damages() -> None:
    """How often larger damage passes unseen."""
    kinds: dict[str, Callable[[bytes, random.Random], bytes]] = {
        "2 bits": lambda data, chance: _flip_many(data, 2, chance),
        "3 bits": lambda data, chance: _flip_many(data, 3, chance),
        "burst of 8 bits": _burst,
        "a random byte": _random_byte,
        "all bytes after the magic": lambda data, chance: (
            data[:2] + chance.randbytes(len(data) - 2)
        ),
        "all bytes": lambda data, chance: chance.randbytes(len(data)),
    }
    titles = [
        f"{title}, version {header.version}" for title, pair in PAIRS.items() for header in pair
    ]
    print(f"\nRandom damage that passes unseen, % of {DAMAGES}\n")
    print("| damage | " + " | ".join(titles) + " |")
    print("|---" + "|--:" * len(titles) + "|")
    for name, damage in kinds.items():
        cells = [
            f"{100 * _share(header, damage):.3f}" for pair in PAIRS.values() for header in pair
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _share(header: Header, damage: Callable[[bytes, random.Random], bytes]) -> float:
    chance, whole, passed = random.Random(2), header.pack(), 0
    for _ in range(DAMAGES):
        damaged = whole
        while damaged == whole:
            damaged = damage(whole, chance)
        passed += _length_of(damaged + chance.randbytes(PAYLOAD)) is not None
    return passed / DAMAGES


def _flipped(data: bytes, *bits: int) -> bytes:
    """With these bits turned over, counted from the most significant one of the first byte."""
    changed = bytearray(data)
    for bit in bits:
        changed[bit // 8] ^= 0x80 >> bit % 8
    return bytes(changed)


def _flip_many(data: bytes, count: int, chance: random.Random) -> bytes:
    return _flipped(data, *chance.sample(range(8 * len(data)), count))


def _burst(data: bytes, chance: random.Random) -> bytes:
    """The first and the last of 8 neighbouring bits are turned over, those between at random."""
    start = chance.randrange(8 * len(data) - 7)
    between = [start + step for step in range(1, 7) if chance.random() < 0.5]
    return _flipped(data, start, *between, start + 7)


def _random_byte(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + chance.randbytes(1) + data[place + 1 :]


def fields_of(header: Header) -> list[tuple[str, int]]:
    """The fields of a header and their bits, in order (docs/format.md)."""
    is_long = (header.width, header.height) != (256, 256)
    size = [*_side("width", header.width), *_side("height", header.height)] if is_long else []
    is_power = header.tokens_per_tile.bit_count() == 1
    if header.version == 1:
        layout = [("layout", 2), ("overlap", 4), ("counts", 1)] if is_long else []
        is_short = is_power and header.tokens_per_tile > 1
        tokens = [("tokens: form", 1), ("tokens: number", 3 if is_short else 8)]
        fields = [("fingerprint", 24), ("long size", 1), *size, *layout, *tokens]
    else:
        named = [("fingerprint", 24)] if header.model != DEFAULT_TOKEN_SET else []
        number = [] if is_power and not header.has_allocation else [("tokens: number", 8)]
        layout = [("layout", 2), *([("overlap", 4)] if header.overlap else [])] if is_long else []
        first = [("named", 1), ("long size", 1), ("density", 2), ("tokens: form", 4)]
        fields = [*first, *named, *number, *size, *layout]
    flags = [("must refuse", 1), ("coding", 1), ("grey", 1), ("chunks", 1)]
    fields = [("magic", 16), ("version", 4), *flags, *fields]
    padding = -sum(width for _, width in fields) % 8
    fields += [("padding", padding)] if padding else []
    fields.append(("checksum", 8))
    assert sum(width for _, width in fields) == 8 * len(header.pack())
    return fields


def _side(name: str, pixels: int) -> list[tuple[str, int]]:
    """The bits that give the length of an Exp-Golomb code of order 8, and the others."""
    digits = (pixels + 255).bit_length()
    return [(f"{name}: zeros and 1", digits - 8), (f"{name}: digits", digits - 1)]


if __name__ == "__main__":
    main()
