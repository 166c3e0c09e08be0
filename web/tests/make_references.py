"""Writes what Python finds, for the tests in JavaScript: `python web/tests/make_references.py`.

references.json   sketches of tiles, transparency of chunks, contents of zstd frames
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from onedpiece.bitstream.alpha import pack_alpha, unpack_alpha
from onedpiece.models.registry import BUNDLED
from onedpiece.runtime.sketch import load_sketcher

FILE = Path(__file__).with_name("references.json")
TOKEN_SET = BUNDLED / "default" / "token-set.safetensors"
STEP = 37  # pixels; a sketch is compared at every so many rows and columns


def sketches() -> list[dict[str, Any]]:
    """Tokens of tiles, and some pixels of what they say."""
    sketcher = load_sketcher(TOKEN_SET, "")
    assert sketcher is not None
    numbers = np.random.default_rng(0)
    tiles = [(numbers.random(count) ** 3 * 4096).astype(int) for count in (1, 2, 5, 64, 256)]
    return [
        {
            "tokens": tokens.tolist(),
            "step": STEP,
            "pixels": sketcher.sketch(tokens)[::STEP, ::STEP].round(2).ravel().tolist(),
        }
        for tokens in tiles
    ]


def alphas() -> list[dict[str, Any]]:
    """Chunks of transparency, of cells of all sizes that are written and of two others."""
    numbers = np.random.default_rng(0)
    found = []
    for width, height, cell in ((9, 6, 1), (70, 11, 2), (130, 21, 4), (40, 13, 3), (7, 100, 64)):
        columns, rows = -(-width // cell), -(-height // cell)
        plane = numbers.integers(0, 12, (rows, columns), np.uint8)
        chunk = bytes([cell, 11]) + zstandard.ZstdCompressor().compress(plane.tobytes())
        found.append((width, height, chunk))
    picture = numbers.integers(0, 256, (30, 100), np.uint8)
    found.append((100, 30, pack_alpha(picture)))
    return [
        {
            "width": width,
            "height": height,
            "chunk": chunk.hex(),
            "opacity": unpack_alpha(chunk, width, height).tobytes().hex(),
        }
        for width, height, chunk in found
    ]


def frames(size: int) -> list[tuple[bytes, bytes]]:
    """Frames of zstd and their contents, of about so many bytes, of many kinds."""
    numbers = np.random.default_rng(0)
    words = [numbers.integers(97, 123, length).tobytes() + b" " for length in range(1, 12)]
    text = b"".join(words[index] for index in numbers.integers(0, 11, size // 6))
    skewed = (numbers.random(size) ** 6 * 250).astype(np.uint8).tobytes()
    kinds = {
        "nothing": b"",
        "a run": bytes(size),
        "noise": numbers.bytes(size),
        "text": text,
        "skewed": skewed,
        "few values": (numbers.random(size) ** 9 * 4).astype(np.uint8).tobytes(),
        "all": text + bytes(size) + skewed + text[::-1] + text,
    }
    options = (
        {"level": 1},
        {"level": 19, "write_content_size": False},
        {"level": 22, "write_checksum": True},
        {"level": -5},
    )
    return [
        (zstandard.ZstdCompressor(**option).compress(data), data)
        for data in kinds.values()
        for option in options
    ]


def references() -> dict[str, Any]:
    """All that the file holds."""
    small = [(frame, data) for frame, data in frames(2000) if len(frame) < 1000]
    return {
        "sketches": sketches(),
        "alphas": alphas(),
        "frames": [
            {"frame": frame.hex(), "size": len(data), "sha256": sha256(data).hexdigest()}
            for frame, data in small
        ],
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(references()) + "\n")
