"""Training is in bfloat16 only where the device has instructions for it."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.training.precision import arithmetic, autocast, layout  # noqa: E402


@pytest.mark.parametrize(
    "able, expected, order",
    [
        (True, torch.bfloat16, torch.channels_last),
        (False, torch.float32, torch.contiguous_format),
    ],
)
def test_a_processor_multiplies_what_it_has_instructions_for(monkeypatch, able, expected, order):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able)
    device = torch.device("cpu")
    assert arithmetic(device) == expected
    assert layout(device) == order
    with autocast(device):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


def test_gpus_multiply_bfloat16():
    assert arithmetic(torch.device("cuda")) == torch.bfloat16
