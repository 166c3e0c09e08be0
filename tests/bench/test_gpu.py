"""Ways to run the natural decoder on a GPU; here on a CPU."""

from __future__ import annotations

import numpy as np
import pytest

from onedpiece.bench import gpu
from onedpiece.models.registry import find
from onedpiece.runtime.onnx import OnnxRuntime

ON_A_CPU = [gpu.SHIPPED] + [
    variant for variant in gpu.VARIANTS if variant.bound and variant.options is not gpu.GRAPH
]
HALF_A_LEVEL_ON_AVERAGE = 0.5


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(1).integers(0, 4096, (1, 256), np.int32)


@pytest.fixture(scope="module")
def decoded(tokens):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onedpiece.runtime.onnx.has_vnni", lambda: False)
        return OnnxRuntime(find("default"), "cpu").decode(tokens)


@pytest.mark.parametrize("variant", ON_A_CPU, ids=lambda variant: variant.name)
def test_every_variant_decodes_the_same_picture(variant, tokens, decoded):
    network = gpu.Network(find("default"), variant, "cpu", batch=1)
    network.decode(np.zeros_like(tokens))
    error = np.abs(network.decode(tokens) - decoded)
    if variant.half:
        assert 0 < error.mean() < HALF_A_LEVEL_ON_AVERAGE
    else:
        assert error.max() < 0.01


def test_float16_reaches_from_the_first_convolution_to_the_last():
    import onnx

    from onedpiece.bench.half import half_precision

    model = find("default")
    graph = onnx.load_from_string(half_precision(model.path / model.decoder.graph)).graph
    made_by = {output: node for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 276
    assert all(made_by[weights].op_type == "Cast" for _, weights, _ in map(_inputs, convolutions))
    back = [node for node in graph.node if node.input[:1] == [convolutions[-1].output[0]]]
    assert [node.op_type for node in back] == ["Cast"]


class FakeNetwork:
    """A network for which CUDA graphs fail."""

    def __init__(self, model, variant, device, batch):
        if variant.options is gpu.GRAPH:
            raise RuntimeError("no | graphs\nhere")
        self.sizes = []

    def decode(self, tokens):
        self.sizes.append(len(tokens))
        return np.zeros((len(tokens), 256, 256, 3), np.float32)


def test_a_variant_that_fails_says_why_in_its_row(monkeypatch):
    monkeypatch.setattr(gpu, "Network", FakeNetwork)
    rows = list(gpu.compare(find("default"), runs=2))
    assert [row[0] for row in rows] == [variant.name for variant in gpu.VARIANTS]
    for variant, row in zip(gpu.VARIANTS, rows, strict=True):
        failed = ["failed: no / graphs here"] * 3
        assert (list(row[1:]) == failed) == (variant.options is gpu.GRAPH)
        assert len(row) == 1 + len(gpu.BATCHES)


def test_the_benchmark_of_speed_prints_both_tables(monkeypatch, capsys):
    from onedpiece.bench import speed

    monkeypatch.setattr(gpu, "Network", FakeNetwork)
    speed._gpu(find("default"), speed.Workload(batch_runs=2))
    output = capsys.readouterr().out
    variants, in_turn = (table.splitlines() for table in output.strip().split("\n\n"))
    assert len(variants) == 2 + len(gpu.VARIANTS) and len(in_turn) == 2 + 2
    for row in (*variants, *in_turn):
        assert row.count("|") == 5


def test_batches_in_turn_are_passed_twice_and_then_filled_up(monkeypatch):
    networks = []

    def make(*arguments):
        networks.append(FakeNetwork(*arguments))
        return networks[-1]

    monkeypatch.setattr(gpu, "Network", make)
    rows = list(gpu.in_turn(find("default"), sizes=(1, 2, 3)))
    assert [len(row) for row in rows] == [4, 4]
    assert networks[0].sizes == [3, 1, 2, 3, 1, 2, 3, 3, 3, 3]


def _inputs(node):
    return node.input
