"""Arrays out of a safetensors file, without the library that wrote it."""

import numpy as np
import pytest

from onedpiece.errors import ModelError
from onedpiece.models.tensors import read_tensor

safetensors = pytest.importorskip("safetensors.numpy", reason="needs the torch extra")


@pytest.fixture
def weights(tmp_path):
    arrays = {
        "numbers": np.arange(6, dtype=np.int32).reshape(2, 3),
        "halves": np.array([0.5, -2], np.float16),
    }
    safetensors.save_file(arrays, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_arrays_come_back(weights):
    assert read_tensor(weights, "numbers").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read_tensor(weights, "halves").tolist() == [0.5, -2]


def test_a_name_that_is_not_there_is_nothing(weights):
    assert read_tensor(weights, "others") is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff" * 20, b"\x02\0\0\0\0\0\0\0[]", b'\x0d\0\0\0\0\0\0\0{"numbers":5}'],
    ids=["empty", "endless index", "no index", "no entry"],
)
def test_damaged_files_are_our_own_error(tmp_path, data):
    (tmp_path / "weights.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match="weights file"):
        read_tensor(tmp_path / "weights.safetensors", "numbers")


def test_a_file_that_ends_early_is_our_own_error(weights):
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(ModelError, match="weights file"):
        read_tensor(weights, "numbers"), read_tensor(weights, "halves")
