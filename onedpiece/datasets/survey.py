"""What a token dataset holds, and whether it is whole and valid."""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from onedpiece.bitstream.front import Front
from onedpiece.constants import MAX_SIDE
from onedpiece.datasets.parts import COLUMNS, FAILURES, Part, find_parts, rows_of
from onedpiece.datasets.rows import image_of, row_of
from onedpiece.datasets.workers import failure
from onedpiece.encoded_image import EncodedImage
from onedpiece.errors import OdpError


class Problem(NamedTuple):
    """Something wrong: in which file or row, and what."""

    where: str
    reason: str


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a dataset holds, by name, from the metadata of its files only.

    Raises OdpError if it is no token dataset, or if a side file is damaged.
    """
    parts = find_parts(os.fspath(path))
    abouts = [part.about for part in parts]
    rows = sum(part.rows for part in parts)
    size = sum(part.path.stat().st_size for part in parts)
    tokens = sum(about.tokens for about in abouts)
    return {
        "parts": len(parts),
        "rows": rows,
        "failed": sum(about.failed for about in abouts),
        "reasons": dict(_reasons(parts).most_common()),
        "shards": abouts[0].shards,
        "incomplete_shards": _incomplete_shards(parts),
        "token_set": abouts[0].token_set,
        "fingerprint": abouts[0].fingerprint,
        "tokens_per_row": round(tokens / rows, 2) if rows else 0,
        "bytes": size,
        "bytes_per_row": round(size / rows, 1) if rows else 0,
        "columns": {field.name: str(field.type) for field in parts[0].schema},
    }


def verify(path: str | os.PathLike[str]) -> Iterator[Problem]:
    """Everything that is wrong with a dataset; reads all of it.

    Parts must be of one run, none may be missing, rows must be valid pictures of the size that they
    say, and no key may be there twice. Needs 8 bytes of memory for each row.

    Raises OdpError if there is no dataset.
    """
    parts = find_parts(os.fspath(path))
    hashes = array("Q")
    sound = []
    for part in parts:
        try:
            if part.about.job != parts[0].about.job:
                raise OdpError("the part is of another run than the first one")
            for row in rows_of(part):
                hashes.append(_hash(row["key"]))
                yield from _problems(row)
            sound.append(part)
        except OdpError as error:
            yield Problem(str(part.path), str(error))
    yield from (
        Problem(str(path), f"shard {shard} is not complete") for shard in _incomplete_shards(sound)
    )
    yield from (Problem(key, "the key is there twice") for key in _repeated(sound, hashes))


def _problems(row: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong with a row."""
    try:
        image = image_of(row["front"], row["tokens"], MAX_SIDE**2, lambda key: None)
        image.verify()
        ours = row_of(image)._asdict()
        wrong = [name for name in COLUMNS[1:5] if row[name] != ours[name]]
        if wrong:
            raise OdpError(f"wrong {', '.join(wrong)}")
        if len(row["tokens"]) < Front.unpack(row["front"], MAX_SIDE**2)[0].allocation.total:
            raise OdpError("tokens are missing")
        if row.get("odp") is not None:
            file = row_of(EncodedImage.from_bytes(row["odp"], MAX_SIDE**2))
            if file.front != row["front"] or not np.array_equal(file.tokens, row["tokens"]):
                raise OdpError("the column odp holds another picture")
    except Exception as error:  # nulls where nobody expects them
        yield Problem(str(row["key"]), failure(error).reason)


def _incomplete_shards(parts: list[Part]) -> list[int]:
    """Shards of which parts are missing."""
    abouts = [part.about for part in parts]
    numbers: dict[int, list[int]] = {}
    for about in abouts:
        numbers.setdefault(about.shard, []).append(about.number)
    ended = {about.shard for about in abouts if about.is_last}
    shards = max((about.shards for about in abouts), default=0)
    return [
        shard
        for shard in range(shards)
        if shard not in ended or sorted(numbers[shard]) != list(range(len(numbers[shard])))
    ]


def _reasons(parts: list[Part]) -> Counter[str]:
    """How often samples failed for each reason."""
    reasons: Counter[str] = Counter()
    for part in parts:
        path = part.path.parent / FAILURES / f"{part.path.stem}.jsonl"
        if part.about.failed and path.exists():
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
                reasons.update(str(json.loads(line)["reason"]) for line in lines)
            except (OSError, ValueError, LookupError, TypeError) as error:
                raise OdpError(f"{path} is damaged: {error}") from error
    return reasons


def _repeated(parts: list[Part], hashes: array[int]) -> list[str]:
    """Keys that are there more than once."""
    values, counts = np.unique(np.frombuffer(hashes, np.uint64), return_counts=True)
    repeated = {int(value) for value in values[counts > 1]}
    if not repeated:
        return []
    keys = Counter(
        row["key"]
        for part in parts
        for row in rows_of(part, ["key"])
        if _hash(row["key"]) in repeated
    )
    return [key for key, count in keys.items() if count > 1]


def _hash(key: str | None) -> int:
    digest = hashlib.blake2b(str(key).encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
