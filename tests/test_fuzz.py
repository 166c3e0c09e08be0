"""A short run of the fuzzing harness; docs/format.md reports a long one."""

import random

import fuzz


def test_mutated_files_raise_nothing_but_our_own_errors(codec):
    files = fuzz.seeds(codec.model.key)
    chance = random.Random(1)
    told = fuzz.run(4000, files, chance, fuzz.parse_and_truncate)
    # Mutations must reach what lies behind the checksum, or they test nothing.
    assert "read " in told and "UnsupportedFile" in told and "LimitExceeded" in told
    fuzz.run(15, files, chance, lambda data: codec.decode(data) if len(data) < 60 else None)


def test_the_seeds_can_be_read(codec):
    for data in fuzz.seeds(codec.model.key):
        assert codec.decode(data).size
