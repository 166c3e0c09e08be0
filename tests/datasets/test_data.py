"""Token datasets in PyTorch: prefixes, padding, order, shares of ranks and workers, resuming."""

import functools

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'onedpiece[datasets]'")
import torch
from torch.utils.data import DataLoader

from onedpiece.codec import Codec
from onedpiece.data import TokenDataset, TokenStream, collate
from onedpiece.datasets import encode, order
from onedpiece.errors import OdpError
from onedpiece.rate_control import Target


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, make_picture):
    """Twelve pictures with 8 to 60 tokens in parts of five, with labels."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    root = tmp_path_factory.mktemp("tokens")
    pictures = []
    for seed in range(12):
        file = io.BytesIO()
        make_picture(64, 48, seed).save(file, "PNG")
        pictures.append(file.getvalue())
    keys = [f"k{number:02d}" for number in range(12)]
    pq.write_table(pa.table({"png": pictures, "key": keys, "label": range(12)}), root / "a.parquet")
    target = Target(max_bytes=60)
    encode([root / "a.parquet"], root / "out", target, workers=0, samples_per_part=5)
    return root / "out"


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """So that twelve rows are several windows."""
    monkeypatch.setattr(order, "WINDOW", 3)


def labels(rows):
    return [row["label"] for row in rows]


def stream(dataset, **options):
    return TokenStream(dataset, 4, ["label"], **options)


class TestRows:
    def test_rows_are_those_of_the_files(self, dataset, read_rows):
        tokens = TokenDataset(dataset, columns=["key", "label"])
        assert len(tokens) == 12 and tokens.token_set == "onedpiece-1"
        for index, expected in enumerate(read_rows(dataset)):
            row = tokens[index]
            assert row["tokens"].tolist() == expected["tokens"]
            assert (row["key"], row["label"]) == (expected["key"], expected["label"])
        assert tokens[-1]["key"] == "k11"
        with pytest.raises(IndexError):
            tokens[12]

    def test_a_prefix_is_the_first_tokens(self, dataset):
        whole, prefix = TokenDataset(dataset), TokenDataset(dataset, 7)
        for index in range(12):
            assert prefix[index]["tokens"].tolist() == whole[index]["tokens"][:7].tolist()

    def test_lengths_are_drawn_anew_in_each_epoch_and_alike_in_each_run(self, dataset):
        tokens = TokenDataset(dataset, (1, 8))
        first = [len(row["tokens"]) for row in tokens]
        assert set(first) <= set(range(1, 9)) and len(set(first)) > 2
        assert first == [len(row["tokens"]) for row in TokenDataset(dataset, (1, 8))]
        tokens.set_epoch(1)
        assert first != [len(row["tokens"]) for row in tokens]

    def test_decoded_pictures_are_those_of_the_codec(self, dataset, codec, read_rows):
        from onedpiece.datasets.rows import image_of

        tokens = TokenDataset(dataset, 5, codec=Codec(device="cpu", threads=1))
        expected = read_rows(dataset)[3]
        image = image_of(expected["front"], expected["tokens"][:5])
        picture = np.asarray(codec.decode(image)).transpose(2, 0, 1)
        difference = np.abs(tokens[3]["picture"].numpy().astype(int) - picture)
        assert picture.shape == (3, 48, 64) and difference.max() <= 1

    def test_what_is_not_there_is_an_error(self, dataset, tmp_path):
        with pytest.raises(OdpError, match="no column nothing"):
            TokenDataset(dataset, columns=["nothing"])
        with pytest.raises(OdpError, match="no token dataset"):
            TokenDataset(tmp_path)
        with pytest.raises(ValueError, match="num_tokens"):
            TokenDataset(dataset, (5, 4))


class TestBatches:
    def test_rows_of_different_length_are_padded_and_masked(self, dataset):
        tokens = TokenDataset(dataset, columns=["label", "key"])
        (batch,) = DataLoader(tokens, 12, collate_fn=collate)
        assert batch.tokens.dtype == torch.int64
        assert batch.lengths.tolist() == [len(row["tokens"]) for row in tokens]
        assert batch.mask.sum(1).tolist() == batch.lengths.tolist()
        assert (batch.tokens[~batch.mask] == 0).all()
        for line, length, row in zip(batch.tokens, batch.lengths, tokens, strict=True):
            assert line[:length].tolist() == row["tokens"].tolist()
        assert batch.columns["label"].tolist() == list(range(12))
        assert batch.columns["key"][0] == "k00"

    def test_hugging_face_datasets_reads_the_same_files(self, dataset, tmp_path, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        # Not "datasets" alone: without the library, that is this folder of tests.
        datasets = pytest.importorskip("datasets.load", reason="needs Hugging Face datasets")
        theirs = datasets.load_dataset(
            "parquet", data_files=f"{dataset}/*.parquet", split="train", cache_dir=tmp_path
        )
        ours = TokenDataset(dataset, 9, columns=["label"])
        function = functools.partial(collate, num_tokens=9)
        for one, other in zip(
            DataLoader(theirs, 5, collate_fn=function),
            DataLoader(ours, 5, collate_fn=collate),
            strict=True,
        ):
            assert torch.equal(one.tokens, other.tokens)
            assert torch.equal(one.columns["label"], other.columns["label"])


class TestStream:
    def test_without_shuffling_the_order_is_that_of_the_files(self, dataset):
        assert labels(stream(dataset)) == list(range(12))

    def test_an_epoch_has_every_row_once_in_an_order_of_its_own(self, dataset):
        rows = stream(dataset, shuffle=True, seed=5)
        first = labels(rows)
        assert sorted(first) == list(range(12)) and first != list(range(12))
        assert labels(rows) == first == labels(stream(dataset, shuffle=True, seed=5))
        rows.set_epoch(1)
        assert sorted(labels(rows)) == list(range(12)) and labels(rows) != first
        assert labels(stream(dataset, shuffle=True, seed=6)) != first

    @pytest.mark.parametrize("shuffle", [False, True])
    def test_ranks_and_workers_share_the_rows(self, dataset, shuffle):
        seen = []
        for rank in range(5):
            rows = stream(dataset, shuffle=shuffle, rank=rank, ranks=5)
            loader = DataLoader(rows, 2, num_workers=2 * (rank == 0), collate_fn=collate)
            own = [label for batch in loader for label in batch.columns["label"].tolist()]
            assert len(own) == len(rows)
            seen += own
        assert sorted(seen) == list(range(12))

    def test_ranks_can_have_equally_many_rows(self, dataset):
        ranks = [stream(dataset, shuffle=True, equal=True, rank=r, ranks=5) for r in range(5)]
        seen = [label for rows in ranks for label in labels(rows)]
        assert [len(rows) for rows in ranks] == [2] * 5
        assert len(seen) == len(set(seen)) == 10

    @pytest.mark.parametrize("stop", [1, 3, 5, 11])
    def test_it_goes_on_where_it_stopped(self, dataset, stop):
        rows = stream(dataset, shuffle=True, seed=2)
        rows.set_epoch(3)
        expected = labels(rows)
        iterator = iter(rows)
        first = [next(iterator)["label"] for _ in range(stop)]
        state = rows.state_dict()
        again = stream(dataset, shuffle=True, seed=2)
        again.load_state_dict(state)
        assert first + labels(again) == expected
        assert labels(again) == expected  # the next pass starts from the beginning

    def test_the_state_of_another_share_is_refused(self, dataset):
        state = stream(dataset, rank=0, ranks=2).state_dict()
        with pytest.raises(ValueError, match="another seed, rank"):
            stream(dataset).load_state_dict(state)
        with pytest.raises(ValueError, match="rank"):
            stream(dataset, rank=2, ranks=2)
