"""Training computes in bfloat16 only where that is faster."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.training import precision  # noqa: E402
from onedpiece.training.precision import autocast, compute_dtype, memory_format  # noqa: E402


@pytest.fixture(autouse=True)
def forget():
    precision._cpu_prefers_bfloat16.cache_clear()
    yield
    precision._cpu_prefers_bfloat16.cache_clear()


@pytest.mark.parametrize(
    "has_bfloat16, times_as_long, dtype, layout",
    [
        (True, 0.5, torch.bfloat16, torch.channels_last),
        (True, 1.5, torch.float32, torch.contiguous_format),
        (False, 0.5, torch.float32, torch.contiguous_format),
    ],
)
def test_a_processor_computes_in_what_is_faster(
    monkeypatch, has_bfloat16, times_as_long, dtype, layout
):
    seconds = {torch.float32: 1.0, torch.bfloat16: times_as_long}
    monkeypatch.setattr(precision, "_product_seconds", seconds.get)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bfloat16)
    device = torch.device("cpu")
    assert compute_dtype(device) == dtype
    assert memory_format(device) == layout
    with autocast(device):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_products_are_timed():
    assert 0 < precision._product_seconds(torch.float32) < 10


def test_gpus_compute_in_bfloat16():
    assert compute_dtype(torch.device("cuda")) == torch.bfloat16
