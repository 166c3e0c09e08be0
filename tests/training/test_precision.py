"""Training computes in bfloat16 only if the device has instructions for it."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.training.precision import autocast, compute_dtype, memory_format  # noqa: E402


@pytest.mark.parametrize(
    "has_bfloat16, dtype, layout",
    [
        (True, torch.bfloat16, torch.channels_last),
        (False, torch.float32, torch.contiguous_format),
    ],
)
def test_a_processor_computes_in_what_it_has_instructions_for(
    monkeypatch, has_bfloat16, dtype, layout
):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bfloat16)
    device = torch.device("cpu")
    assert compute_dtype(device) == dtype
    assert memory_format(device) == layout
    with autocast(device):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_gpus_compute_in_bfloat16():
    assert compute_dtype(torch.device("cuda")) == torch.bfloat16
