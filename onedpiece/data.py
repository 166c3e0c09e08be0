"""Token datasets for PyTorch; needs the extras `datasets` and `torch`.

    dataset = TokenDataset("tokens/", num_tokens=32)
    for tokens, lengths, mask, columns in DataLoader(dataset, 64, collate_fn=collate): ...

`TokenDataset` holds all tokens in memory; `TokenStream` reads datasets that are larger than that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from onedpiece.codec import Codec
from onedpiece.datasets import order
from onedpiece.datasets.order import Consumer, Loaded, Span
from onedpiece.datasets.rows import image_of
from onedpiece.errors import OdpError

Length = int | tuple[int, int] | None
"""How many tokens of a row to use: a number, a random one of a range, both ends included, or all.

Tokens of all tiles of a picture count together. A row that has fewer tokens gives all of them.
"""


class TokenBatch(NamedTuple):
    """Rows as tensors.

    tokens:  int64 (B, K), 0 after the end of a row.
    lengths: int64 (B,), tokens of each row.
    mask:    bool (B, K), true for tokens, false after the end of a row.
    columns: the other columns: tensors of numbers and of pictures of equal size, else lists.
    """

    tokens: torch.Tensor
    lengths: torch.Tensor
    mask: torch.Tensor
    columns: dict[str, Any]


def collate(rows: Sequence[dict[str, Any]], num_tokens: int | None = None) -> TokenBatch:
    """A batch of rows, as `collate_fn` of a DataLoader.

    rows: of `TokenDataset`, `TokenStream`, or of `datasets.load_dataset("parquet", ...)`.
    num_tokens: use at most this many tokens of each row.
    """
    pieces = [np.asarray(row["tokens"][:num_tokens], np.int64) for row in rows]
    lengths = torch.tensor([len(piece) for piece in pieces])
    tokens = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
    for line, piece in zip(tokens, pieces, strict=True):
        line[: len(piece)] = torch.from_numpy(piece)
    mask = torch.arange(tokens.shape[1]) < lengths[:, None]
    names = [name for name in rows[0] if name != "tokens"]
    columns = {name: _stack([row[name] for row in rows]) for name in names}
    return TokenBatch(tokens, lengths, mask, columns)


class _Rows:
    """What both kinds of datasets do with a row.

    path:       folder, file or pattern of a token dataset.
    num_tokens: how many tokens of each row to use.
    columns:    other columns to give: "key", or what was passed through, such as "label".
    codec:      decodes rows; `Codec(device="cpu", threads=1)` suits the workers of a DataLoader.
    seed:       of random numbers of tokens, and of the order.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        num_tokens: Length = None,
        columns: Sequence[str] = (),
        codec: Codec | None = None,
        seed: int = 0,
    ) -> None:
        low, high = num_tokens if isinstance(num_tokens, tuple) else (num_tokens, num_tokens)
        if low is not None and high is not None and not 1 <= low <= high:
            raise ValueError("num_tokens must be at least 1, and a range must not be empty")
        self._groups = order.find_groups(os.fspath(path))
        self._num_tokens, self._columns = num_tokens, tuple(columns)
        self._codec, self._seed, self._epoch = codec, seed, 0
        self._check_columns()

    @property
    def token_set(self) -> str:
        """Name of what the tokens mean."""
        return self._groups[0].part.about.token_set

    def set_epoch(self, epoch: int) -> None:
        """Choose another order and other random numbers of tokens."""
        self._epoch = epoch

    @property
    def _names(self) -> list[str]:
        """The columns that are read besides the tokens."""
        return [*self._columns, *(["front"] if self._codec else [])]

    def _check_columns(self) -> None:
        if not self._groups:
            raise OdpError("the dataset has no rows")
        missing = {*self._names}.difference(self._groups[0].part.schema.names)
        if missing:
            names = ", ".join(self._groups[0].part.schema.names)
            raise OdpError(
                f"the dataset has no column {', '.join(sorted(missing))}: it has {names}"
            )

    def _load(self, spans: Sequence[Span]) -> Loaded:
        longest = self._num_tokens[1] if isinstance(self._num_tokens, tuple) else self._num_tokens
        return order.load(spans, self._names, longest)

    def _row(self, loaded: Loaded, index: int, place: int) -> dict[str, Any]:
        """A row of those in memory; `place` is its place in the order, for its length."""
        start, end = loaded.ends[index : index + 2]
        tokens = loaded.tokens[start:end][: self._length(place)]
        values = {name: loaded.columns[name][index].as_py() for name in self._names}
        front = values.pop("front", b"")
        row = {"tokens": tokens, **values}
        if self._codec is not None:
            image = image_of(front, tokens, self._codec.max_pixels, self._codec.tables_of)
            (picture,) = self._codec.decode_pictures([image])
            row["picture"] = torch.from_numpy(
                np.ascontiguousarray(picture.pixels.transpose(2, 0, 1))
            )
        return row

    def _length(self, place: int) -> int | None:
        if not isinstance(self._num_tokens, tuple):
            return self._num_tokens
        low, high = self._num_tokens
        random = np.random.default_rng([self._seed, self._epoch, place])
        return int(random.integers(low, high, endpoint=True))


class TokenDataset(_Rows, Dataset[dict[str, Any]]):
    """A token dataset in memory, for a DataLoader with a sampler of any kind.

    A row is a dict: "tokens", uint16 (n,), the columns that were asked for, and, with a codec,
    "picture", uint8 (3, H, W), decoded from these tokens. A row must then have at least one token
    for each tile of its picture. A token takes 2 bytes of memory.

    path, num_tokens, columns, codec, seed: the dataset; how many tokens of each row to use; other
    columns to give, such as "key" or "label"; what decodes pictures; of random numbers of tokens.

    Raises OdpError for a dataset that cannot be read, ValueError for `num_tokens` out of range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        num_tokens: Length = None,
        columns: Sequence[str] = (),
        codec: Codec | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(path, num_tokens, columns, codec, seed)
        whole = [order.Span(group, 0, group.rows) for group in self._groups]
        self._loaded = self._load(whole)

    def __len__(self) -> int:
        return len(self._loaded.ends) - 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._row(self._loaded, index % len(self), index % len(self))


class TokenStream(_Rows, IterableDataset[dict[str, Any]]):
    """A token dataset that is read as it goes, shared among ranks and workers.

    Rows are those of `TokenDataset`. The order is a function of seed and epoch: row groups are
    shuffled, and rows among their neighbours in it. Call `set_epoch` before each epoch.

    path, num_tokens, columns, codec: as in `TokenDataset`.
    shuffle: whether to shuffle; `seed` chooses the order.
    equal:   all ranks get equally many rows, so that none waits for another one; up to
        `ranks - 1` rows are left out in an epoch.
    rank, ranks: which share to read; by default, those of torch.distributed.

    `state_dict` says how far a worker has come, and `load_state_dict` goes on there. A DataLoader
    without workers can be resumed with both; with workers, StatefulDataLoader of torchdata.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        num_tokens: Length = None,
        columns: Sequence[str] = (),
        codec: Codec | None = None,
        *,
        shuffle: bool = False,
        seed: int = 0,
        equal: bool = False,
        rank: int | None = None,
        ranks: int | None = None,
    ) -> None:
        super().__init__(path, num_tokens, columns, codec, seed)
        self._shuffle, self._equal = shuffle, equal
        self._rank, self._ranks = _rank_and_ranks(rank, ranks)
        self._position = 0

    def __len__(self) -> int:
        """Rows of this rank."""
        return len(order.share(self._total, Consumer(self._rank, self._ranks), self._equal))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        groups, seed = self._groups, None
        if self._shuffle:
            groups, seed = order.shuffled(groups, self._seed, self._epoch), self._seed
        places = order.share(self._total, self._consumer(), self._equal)
        for window, indices in order.windows(places, seed, self._epoch, self._position):
            loaded = self._load(order.spans(groups, window))
            for index in indices:
                self._position += 1
                yield self._row(loaded, int(index), window.start + int(index))
        self._position = 0

    def state_dict(self) -> dict[str, Any]:
        """Where this worker is: the epoch, and how many rows of it were read."""
        return {
            "epoch": self._epoch,
            "position": self._position,
            "seed": self._seed,
            "consumer": list(self._consumer()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was called.

        Raises ValueError if seed, ranks or workers are not those of that time.
        """
        if state["seed"] != self._seed or state["consumer"] != list(self._consumer()):
            raise ValueError("the state is of another seed, rank or number of ranks or workers")
        self._epoch, self._position = state["epoch"], state["position"]

    @property
    def _total(self) -> int:
        return sum(group.rows for group in self._groups)

    def _consumer(self) -> Consumer:
        worker = get_worker_info()
        mine = (worker.id, worker.num_workers) if worker else (0, 1)
        return Consumer(self._rank, self._ranks, *mine)


def _rank_and_ranks(rank: int | None, ranks: int | None) -> tuple[int, int]:
    """As given, else those of torch.distributed. Raises ValueError."""
    distributed = torch.distributed
    if rank is None and ranks is None:
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return 0, 1
    if rank is None or ranks is None or not 0 <= rank < ranks:
        raise ValueError("give rank and ranks, with 0 <= rank < ranks")
    return rank, ranks


def _stack(values: list[Any]) -> Any:
    """A tensor of numbers or of tensors of equal shape; other values as they are."""
    first = values[0]
    if isinstance(first, torch.Tensor):
        return torch.stack(values) if len({one.shape for one in values}) == 1 else values
    if all(isinstance(value, int | float) for value in values):
        return torch.tensor(values)
    return values
