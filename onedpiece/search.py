"""Better tokens for tiles, by trying: what an `effort` above 1 spends its time on.

The encoder picks tokens without asking the decoder. A runtime proposes exchanges (`Runtime.propose`); the most promising
are made together, and kept where the tile is better for its bytes.
"""

from __future__ import annotations

import numpy as np

from onedpiece.runtime import Runtime

ROUNDS = {1: 0, 2: 4, 3: 12}
"""Effort -> how many times exchanges are tried (docs/benchmarks.md has what they gain)."""

FIRST_SHARE = 0.1  # of a tile's tokens, exchanged together at first


def improve(
    runtime: Runtime,
    tiles: np.ndarray,
    tokens: np.ndarray,
    counts: np.ndarray,
    shown: np.ndarray,
    rounds: int,
) -> np.ndarray:
    """All tokens of tiles, the first `counts` of them better than before, or as they were.

    tiles: uint8 (B, 256, 256, 3). tokens: uint16 (B, 256). counts: (B,) in 1..256. shown: (B, 2), width and
    height of what the picture has of each tile. Returns uint16 (B, 256); what follows the first `counts` tokens fitted the
    old ones and is of no use any more.
    """
    tokens = tokens.copy()
    share = np.full(len(tiles), FIRST_SHARE)
    cost, codes, gains = runtime.propose(tiles, tokens, counts, shown)
    for _ in range(rounds):
        chosen = _most_promising(gains, np.maximum(1, share * counts))
        if not chosen.any():
            break
        tried = np.where(chosen, codes, tokens).astype(np.uint16)
        new_cost, new_codes, new_gains = runtime.propose(tiles, tried, counts, shown)
        better = new_cost < cost
        tokens[better], cost[better] = tried[better], new_cost[better]
        codes[better], gains[better] = new_codes[better], new_gains[better]
        share[~better] /= 2
        alone = ~better & (chosen.sum(1) == 1)
        gains[alone] *= ~chosen[alone]  # its promise was false
    return tokens


def _most_promising(gains: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Which tokens (B, 256) are among so many of their tile that promise most, and promise anything."""
    ranks = (-gains).argsort(1, kind="stable").argsort(1, kind="stable")
    return (ranks < numbers[:, None].astype(int)) & (gains > 0)
