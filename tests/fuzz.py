"""Feed mutated files to the parser, to truncation and to the decoder.

    python tests/fuzz.py --parse 200000 --decode 2000

Only OdpError may be raised; the slowest file and the largest memory are printed. Mutations flip
bits, and overwrite, insert, delete and cut off bytes of real files of all kinds and versions. They
repair the checksums of most files, so that the code behind the checksums is reached.
"""

from __future__ import annotations

import argparse
import random
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import numpy as np
from odp_files import build, parse, truncate

from onedpiece.bitstream.allocation import Allocation
from onedpiece.bitstream.alpha import pack_alpha
from onedpiece.bitstream.bits import BitReader, OutOfBits
from onedpiece.bitstream.checksum import crc8
from onedpiece.bitstream.chunks import ALPHA, EXIF, ICC, Chunk, compress, unpack_length
from onedpiece.bitstream.header import Header
from onedpiece.codec import Codec
from onedpiece.constants import DEFAULT_TOKEN_SET
from onedpiece.entropy import Tables
from onedpiece.errors import OdpError, UnknownModel
from onedpiece.models.registry import Model

SLOWEST = 2.0  # seconds for a file
MEMORY = 1024  # MiB
MAX_PIXELS = 1 << 18  # decoded ones, so that mutated sizes do not turn it into a test of patience
NAMED = bytes.fromhex("a1b2c3")  # a token set that version 2 must name
HEADER_BYTES = range(5, 17)  # those of any header of versions 1 and 2


def seeds(model: Model, key: bytes) -> list[bytes]:
    """Small files of every kind, of both format versions and of every density.

    key: of the token set that the files name; their tables are those of `model`.
    """
    native = ((256, 256, 8, 0), (300, 200, 3, 24), (600, 300, 2, 0))
    files = []
    for version in (1, 2):
        for width, height, tokens, overlap in native:
            is_grey = width == 300
            header = Header(width, height, tokens, key, overlap, is_grey, version=version)
            files += _files_of(header, model)
        files.append(_see_through(Header(50, 40, 2, key, scaled=True, version=version)))
    # Small enough to be decoded within MAX_PIXELS.
    for density, width, height in ((2, 256, 256), (2, 300, 200), (3, 150, 100), (4, 100, 60)):
        files += _files_of(Header(width, height, 4, key, scaled=True, density=density), model)
    files.append(_see_through(Header(50, 40, 2, key, scaled=True, density=4)))
    return files


def all_seeds(model: Model) -> list[bytes]:
    """The seeds of the default token set and of a named one; not all can be decoded."""
    return seeds(model, DEFAULT_TOKEN_SET) + seeds(model, NAMED)


def _files_of(header: Header, model: Model) -> list[bytes]:
    """Plain and entropy-coded files, with and without chunks, an allocation and levels."""
    numbers = np.random.default_rng(0)
    chunks = [
        Chunk(EXIF, compress(b"camera" * 9)),
        Chunk(ICC, compress(bytes(500))),
        Chunk(0x7E, b"x"),
    ]
    tiles, tokens = header.grid.count, header.tokens_per_tile
    codes = numbers.integers(0, 4096, (tiles, 256), np.uint16)
    common = codes.astype(int) ** 3 >> 24
    files = [
        build(header, codes),
        build(header, codes, chunks),
        build(header, common, (), Allocation(20 * tiles), model.tables),
    ]
    if tiles > 1:
        levels = tuple(numbers.integers(8, 16, tiles).tolist())
        levelled = Allocation(9 * tiles - 1, levels)
        files += [
            build(header, codes, (), Allocation(tiles * tokens - 1, levels)),
            build(header, common, chunks, levelled, model.tables),
            build(header, codes, chunks[:1], Allocation(tiles * tokens - 1)),
        ]
    return files


def _see_through(header: Header) -> bytes:
    numbers = np.random.default_rng(0)
    alpha = numbers.integers(0, 256, (header.height, header.width), np.uint8)
    codes = numbers.integers(0, 4096, (header.grid.count, 256), np.uint16)
    return build(header, codes, [Chunk(ALPHA, pack_alpha(alpha))])


def mutate(data: bytes, chance: random.Random) -> bytes:
    """One to four changes, and then, three times of four, a header checksum that is right again."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(out) + 1)
        # The beginning decides most.
        place = place if chance.random() < 0.3 else min(place, chance.randrange(24))
        kind = chance.randrange(5)
        if kind == 0 and place < len(out):
            out[place] ^= 1 << chance.randrange(8)
        elif kind == 1 and place < len(out):
            out[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif kind == 2:
            out[place:place] = chance.randbytes(chance.randint(1, 8))
        elif kind == 3:
            del out[place : place + chance.randint(1, 4)]
        elif chance.random() < 0.3:
            del out[place:]
    if chance.random() < 0.75:
        _repair(out)
    return bytes(out)


def _repair(data: bytearray) -> None:
    """Correct the checksums of header, allocation and chunks, as far as these can be parsed."""
    for length in HEADER_BYTES:
        end = length - 1
        if end > len(data):
            return
        fixed = bytes(data[:end]) + bytes([crc8(bytes(data[:end]))])
        try:
            header, position = Header.unpack(fixed + bytes(data[length:]))
        except OdpError:
            continue
        if position == length:
            data[:position] = fixed
            with suppress(OdpError, OutOfBits, IndexError):
                _repair_sections(data, header, position)
            return


def _repair_sections(data: bytearray, header: Header, position: int) -> None:
    if header.has_allocation:
        tiles = header.grid.count
        _, end = Allocation._read(BitReader(bytes(data), position), tiles, header.tokens_per_tile)
        data[end - 1] = crc8(bytes(data[position : end - 1]))
        position = end
    if header.has_chunks:
        count, position = data[position], position + 1
        for _ in range(min(count, 16)):
            kind = position
            length, checksum = unpack_length(bytes(data), position + 1)
            position = checksum + 4 + length
            covered = data[kind : kind + 1] + data[checksum + 4 : position]
            data[checksum : checksum + 4] = zlib.crc32(covered).to_bytes(4, "big")


def run(
    count: int, files: list[bytes], chance: random.Random, use: Callable[[bytes], object]
) -> str:
    """Use so many mutated files; returns a line about them. Raises any exception but OdpError.

    Times are of this process, so that a busy machine does not matter.
    """
    outcomes: Counter[str] = Counter()
    slowest, start = 0.0, time.process_time()
    for _ in range(count):
        data = mutate(chance.choice(files), chance)
        before = time.process_time()
        try:
            use(data)
            outcomes["read"] += 1
        except OdpError as error:
            outcomes[type(error).__name__] += 1
        slowest = max(slowest, time.process_time() - before)
    took = time.process_time() - start
    assert slowest < SLOWEST, f"a file took {slowest:.1f} s"
    counts = ", ".join(f"{name} {number}" for name, number in outcomes.most_common())
    return (
        f"{count} files in {took:.0f} s ({counts}); "
        f"slowest {slowest:.3f} s, memory {peak_memory():.0f} MiB"
    )


def peak_memory() -> float:
    """MiB of this process at most; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def parse_and_truncate(model: Model, data: bytes) -> None:
    def tables_of(key: bytes) -> Tables | None:
        if key not in (model.key, DEFAULT_TOKEN_SET, NAMED):
            raise UnknownModel(key.hex())
        return model.tables

    header = parse(data, tables_of=tables_of).header
    truncate(data, max_bytes=max(11, len(data) - 3), tables_of=tables_of)
    least = -(-header.grid.count // header.base_tiles)
    truncate(data, num_tokens=least, tables_of=tables_of)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--parse", type=int, default=200_000)
    arguments.add_argument("--decode", type=int, default=2_000)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    warnings.simplefilter("ignore")  # truncated files are decoded as far as they go
    codec = Codec(device="cpu", max_pixels=MAX_PIXELS)
    chance, use = random.Random(options.seed), partial(parse_and_truncate, codec.model)
    files = all_seeds(codec.model)
    print("parse and truncate:", run(options.parse, files, chance, use), flush=True)
    files = seeds(codec.model, codec.model.key)
    print("decode:", run(options.decode, files, chance, codec.decode), flush=True)
    assert peak_memory() < MEMORY, f"{peak_memory():.0f} MiB of memory"


if __name__ == "__main__":
    main()
