"""What damage to a header does, in format versions 1 and 2.

    python -m onedpiece.bench.ablations.flipped_bits

A header is damaged, random bytes follow it as the payload would, and it is read. Damage is unseen
if a header with the same token set comes back without an error: then another picture is decoded.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from onedpiece.bitstream.header import Header
from onedpiece.constants import DEFAULT_TOKEN_SET
from onedpiece.errors import DamagedFile, NotAnOdpFile, OdpError

SAMPLES = 20_000  # payloads for each bit, and cases of each kind of damage
PAYLOAD = 24  # bytes; no header is longer
OTHER = bytes.fromhex("a1b2c3")
FIELDS = (
    *["magic"] * 16,
    *["version"] * 4,
    "must refuse",
    "coding",
    "grey",
    "chunks",
    "named",
    "long",
    *["density"] * 2,
    *["tokens"] * 4,
    *["checksum"] * 8,
)
HEADERS = {
    "256x256, version 1": Header(256, 256, 64, OTHER, version=1),
    "256x256, version 2": Header(256, 256, 64, DEFAULT_TOKEN_SET),
    "640x480, version 1": Header(640, 480, 77, OTHER, scaled=True, version=1),
    "640x480, version 2": Header(640, 480, 77, OTHER, scaled=True),
}


def main() -> None:
    """Print a table of single bits, and one of larger damage."""
    chance = random.Random(0)
    _print_bits(HEADERS["256x256, version 2"].pack(), chance)
    print(f"\n| damage | {' | '.join(HEADERS)} |")
    print("|---" * (len(HEADERS) + 1) + "|")
    kinds: dict[str, Callable[[bytes, random.Random], bytes]] = {
        "the worst single bit": _nothing,
        "2 bits": lambda data, chance: _flip(data, chance.sample(range(8 * len(data)), 2)),
        "3 bits": lambda data, chance: _flip(data, chance.sample(range(8 * len(data)), 3)),
        "8 bits in a row, some of them": _burst,
        "a byte": lambda data, chance: _randomise(data, chance.randrange(2, len(data)), 1, chance),
        "all bytes after the magic": lambda data, chance: _randomise(
            data, 2, len(data) - 2, chance
        ),
    }
    for name, damage in kinds.items():
        cells = []
        for header in HEADERS.values():
            data = header.pack()
            if damage is _nothing:
                shares = [_unseen(data, _flipper(bit), chance) for bit in range(8 * len(data))]
                cells.append(f"{100 * max(shares):.2f} %")
            else:
                cells.append(f"{100 * _unseen(data, damage, chance):.2f} %")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _print_bits(data: bytes, chance: random.Random) -> None:
    """Print a row for each bit; one for several if these follow each other and are alike."""
    kinds = ("not .odp", "damaged", "other", "unknown", "unseen")
    print("| bits | field | not .odp | damaged | unsupported or too large | ", end="")
    print("unknown token set | unseen |")
    print("|---" * 7 + "|")
    rows: list[tuple[str, list[int]]] = []
    for bit, field in enumerate(FIELDS):
        outcomes = _outcomes(data, _flipper(bit), chance)
        shares = [f"{100 * outcomes[kind] / SAMPLES:.2f} %" for kind in kinds]
        cells = " | ".join([field, *("" if share == "0.00 %" else share for share in shares)])
        if rows and rows[-1][0] == cells:
            rows[-1][1].append(bit)
        else:
            rows.append((cells, [bit]))
    for cells, bits in rows:
        numbers = f"{bits[0]} to {bits[-1]}" if len(bits) > 1 else str(bits[0])
        print(f"| {numbers} | {cells} |")


def _outcomes(
    data: bytes, damage: Callable[[bytes, random.Random], bytes], chance: random.Random
) -> Counter[str]:
    """What becomes of a header that is damaged SAMPLES times, with another payload each time."""
    outcomes: Counter[str] = Counter()
    model = Header.unpack(data)[0].model
    for _ in range(SAMPLES):
        damaged = damage(data, chance)
        if damaged == data:
            outcomes["undamaged"] += 1
            continue
        try:
            header, _ = Header.unpack(damaged + chance.randbytes(PAYLOAD))
            outcomes["unseen" if header.model == model else "unknown"] += 1
        except NotAnOdpFile:
            outcomes["not .odp"] += 1
        except DamagedFile:
            outcomes["damaged"] += 1
        except OdpError:
            outcomes["other"] += 1
    return outcomes


def _unseen(
    data: bytes, damage: Callable[[bytes, random.Random], bytes], chance: random.Random
) -> float:
    outcomes = _outcomes(data, damage, chance)
    return outcomes["unseen"] / (SAMPLES - outcomes["undamaged"])


def _flip(data: bytes, bits: list[int]) -> bytes:
    number = int.from_bytes(data, "big")
    for bit in bits:
        number ^= 1 << (8 * len(data) - 1 - bit)
    return number.to_bytes(len(data), "big")


def _flipper(bit: int) -> Callable[[bytes, random.Random], bytes]:
    return lambda data, chance: _flip(data, [bit])


def _burst(data: bytes, chance: random.Random) -> bytes:
    first = chance.randrange(8 * len(data) - 7)
    return _flip(data, [first + i for i in range(8) if chance.random() < 0.5])


def _randomise(data: bytes, first: int, count: int, chance: random.Random) -> bytes:
    return data[:first] + chance.randbytes(count) + data[first + count :]


def _nothing(data: bytes, _: random.Random) -> bytes:
    return data


if __name__ == "__main__":
    main()
