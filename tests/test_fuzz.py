"""A short run of the fuzzing harness; docs/format.md reports a long one."""

import random
from functools import partial

import fuzz
from odp_files import parse


def test_mutated_files_raise_nothing_but_our_own_errors(codec):
    files = fuzz.seeds(codec.model)
    chance = random.Random(1)
    report = fuzz.run(4000, files, chance, partial(fuzz.parse_and_truncate, codec.model))
    # Mutations must reach what lies behind the checksum, or they test nothing.
    assert any(parse(data).header.entropy_coded for data in files)
    assert "read " in report and "UnsupportedFile" in report and "LimitExceeded" in report
    fuzz.run(15, files, chance, lambda data: codec.decode(data) if len(data) < 60 else None)


def test_the_seeds_can_be_read(codec):
    for data in fuzz.seeds(codec.model):
        assert codec.decode(data).size
