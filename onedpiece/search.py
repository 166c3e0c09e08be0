"""Better tokens for tiles, by trying: what an `effort` above 1 spends its time on.

The encoder picks tokens without asking the decoder. A proposer names exchanges
(`Proposer.propose`); the most promising ones are made together, and kept where they lower
the cost of the tile: its squared error plus a price for its bits.
"""

from __future__ import annotations

import numpy as np

from onedpiece.runtime import Proposer

ROUNDS = {1: 0, 2: 4, 3: 12}
"""Effort -> how many times exchanges are tried (docs/benchmarks.md has their gains)."""

FIRST_SHARE = 0.1  # of a tile's tokens, exchanged together in the first round


def improve(
    proposer: Proposer,
    tiles: np.ndarray,
    tokens: np.ndarray,
    counts: np.ndarray,
    valid_size: np.ndarray,
    rounds: int,
) -> np.ndarray:
    """All tokens of tiles, the first `counts` of them better than before, or unchanged.

    tiles:      uint8 (B, 256, 256, 3).
    tokens:     uint16 (B, 256).
    counts:     (B,) in 1..256.
    valid_size: (B, 2), width and height of the part of each tile that is in the picture.

    Returns uint16 (B, 256). The tokens after the first `counts` fitted the old ones and are of no
    use any more.
    """
    tokens = tokens.copy()
    share = np.full(len(tiles), FIRST_SHARE)
    cost, codes, gains = proposer.propose(tiles, tokens, counts, valid_size)
    for _ in range(rounds):
        chosen = _most_promising(gains, np.maximum(1, share * counts))
        if not chosen.any():
            break
        candidates = np.where(chosen, codes, tokens).astype(np.uint16)
        new_cost, new_codes, new_gains = proposer.propose(tiles, candidates, counts, valid_size)
        better = new_cost < cost
        tokens[better], cost[better] = candidates[better], new_cost[better]
        codes[better], gains[better] = new_codes[better], new_gains[better]
        share[~better] /= 2
        # A single exchange that did not help is not tried again.
        failed = ~better & (chosen.sum(1) == 1)
        gains[failed] *= ~chosen[failed]
    return tokens


def _most_promising(gains: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Mask (B, 256) of the tokens with the largest gains: so many of each tile, all above 0."""
    ranks = (-gains).argsort(1, kind="stable").argsort(1, kind="stable")
    return (ranks < numbers[:, None].astype(int)) & (gains > 0)
