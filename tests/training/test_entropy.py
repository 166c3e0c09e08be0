"""Entropy of tokens: known distributions."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the torch extra")

from onedpiece.training.entropy import frequency_tables, held_out_bits, position_entropy


def test_a_constant_position_has_no_entropy_and_a_fair_coin_one_bit():
    tokens = np.zeros((64, 256), np.int64)
    tokens[::2, 1] = 4095
    entropy = position_entropy(tokens)
    assert entropy[0] == 0
    assert entropy[1] == pytest.approx(1)


def test_uniform_tokens_need_all_12_bits():
    tokens = np.random.default_rng(0).integers(0, 4096, (4096, 256))
    assert held_out_bits(tokens, (1, 255)) == pytest.approx(12, abs=0.1)


def test_tables_that_do_not_fit_the_held_out_pictures_cost_bits():
    tokens = np.zeros((4096, 256), np.int64)
    tokens[::8] = np.random.default_rng(0).integers(1, 4096, (512, 256))
    assert held_out_bits(tokens, (256,)) > 12


def test_each_block_has_a_table_of_its_own():
    tokens = np.zeros((100, 256), np.int64)
    tokens[:, 1:] = 4095
    table = frequency_tables(tokens, (1, 255))
    assert table[0, 0] > 15_000 > table[0, -1]
    assert table[1, -1] > 60_000 > table[1, 0]
