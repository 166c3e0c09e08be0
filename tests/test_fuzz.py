"""A short run of the fuzzing harness; docs/format.md reports a long one."""

import random
from functools import partial

import fuzz
import pytest
from odp_files import parse

from onedpiece.bitstream.checksum import crc8
from onedpiece.bitstream.header import Header


@pytest.fixture(scope="module")
def files(codec):
    """The seeds that can be decoded."""
    return fuzz.seeds(codec.model, codec.model.key)


def test_mutated_files_raise_nothing_but_our_own_errors(codec, files):
    chance, use = random.Random(1), partial(fuzz.parse_and_truncate, codec.model)
    report = fuzz.run(4000, fuzz.all_seeds(codec.model), chance, use)
    # Mutations must reach what lies behind the checksum, or they test nothing.
    assert "read " in report and "UnsupportedFile" in report and "LimitExceeded" in report
    fuzz.run(15, files, chance, lambda data: codec.decode(data) if len(data) < 60 else None)


def test_the_seeds_have_both_versions_all_densities_and_both_codings(codec, files):
    headers = [parse(data, tables_of=lambda key: codec.model.tables).header for data in files]
    assert {(header.version, header.density) for header in headers} == {
        (1, 1),
        *((2, density) for density in (1, 2, 3, 4)),
    }
    for version in (1, 2):
        coded = {header.entropy_coded for header in headers if header.version == version}
        assert coded == {True, False}
    assert max(header.decoded_pixels for header in headers) <= fuzz.MAX_PIXELS


def test_the_seeds_can_be_read(codec, files):
    smallest = {}
    for data in files:
        header = codec.parse(data).header
        kind = (header.version, header.density)
        smallest.setdefault(kind, []).append((header.grid.count, data))
    for seeds in smallest.values():  # decoding all of them takes half a minute
        _, data = min(seeds)
        assert codec.decode(data).size


def test_checksums_of_both_header_layouts_are_repaired(codec):
    for data in fuzz.all_seeds(codec.model):
        header, length = Header.unpack(data)
        broken = bytearray(data)
        broken[2] ^= 2  # the picture becomes grey, or coloured
        broken[length - 1] ^= 0xFF
        fuzz._repair(broken)
        repaired, end = Header.unpack(bytes(broken))
        assert (end, repaired.grey) == (length, not header.grey)
        assert broken[length - 1] == crc8(bytes(broken[: length - 1]))
        assert broken[length:] == data[length:]
