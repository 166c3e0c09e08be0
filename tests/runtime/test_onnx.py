"""ONNX Runtime with graphs that are not what they should be, and in several threads."""

import shutil
import sys
import threading
import time

import numpy as np
import onnxruntime
import pytest

onnx = pytest.importorskip("onnx", reason="needs the extra onedpiece[torch]")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from onedpiece.errors import ModelError  # noqa: E402
from onedpiece.models.registry import find, read_model  # noqa: E402
from onedpiece.runtime import onnx as onnx_runtime  # noqa: E402
from onedpiece.runtime.onnx import OnnxRuntime  # noqa: E402

INPUTS = {
    "encoder": ("pixels", TensorProto.UINT8, 4),
    "decoder-repair": ("tokens", TensorProto.INT32, 2),
}


@pytest.fixture
def make_runtime(tmp_path):
    """A runtime of a model whose `network` gives `result`, whatever it is shown."""

    def make(network: str, result: np.ndarray) -> OnnxRuntime:
        shutil.copytree(find("default").path, tmp_path / "model")
        name, kind, axes = INPUTS[network]
        value = numpy_helper.from_array(result, "value")
        graph = helper.make_graph(
            [helper.make_node("Identity", ["value"], ["result"])],
            "constant",
            [helper.make_tensor_value_info(name, kind, [None] * axes)],
            [helper.make_tensor_value_info("result", value.data_type, None)],
            [value],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.save(model, tmp_path / "model" / f"{network}.onnx")
        return OnnxRuntime(read_model(tmp_path / "model"), "cpu")

    return make


TILE = np.zeros((1, 256, 256, 3), np.uint8)


@pytest.mark.parametrize(
    "tokens",
    [
        np.full((1, 256), 4096, np.int32),
        np.full((1, 256), -1, np.int32),
        np.zeros((1, 3), np.int32),
        np.zeros((2, 256), np.int32),
    ],
)
def test_tokens_that_cannot_be(make_runtime, tokens):
    with pytest.raises(ModelError):
        make_runtime("encoder", tokens).encode(TILE)


@pytest.mark.parametrize("shape", [(1, 255, 256, 3), (2, 256, 256, 3), (1,)])
def test_pictures_that_cannot_be(make_runtime, shape, monkeypatch):
    monkeypatch.setattr(onnx_runtime, "has_vnni", lambda: False)  # it would run another graph
    with pytest.raises(ModelError):
        make_runtime("decoder-repair", np.zeros(shape, np.float32)).decode(
            np.zeros((1, 5), np.int32), realism=0
        )


def test_a_network_that_several_threads_need_is_loaded_once_and_stdout_left_alone(monkeypatch):
    create, loaded, outputs = onnx_runtime._create, [], []

    def slowly(model, name, *arguments):
        loaded.append(name)
        outputs.append(sys.stdout)
        time.sleep(0.2)
        return create(model, name, *arguments)

    monkeypatch.setattr(onnx_runtime, "_create", slowly)
    runtime, before = OnnxRuntime(find("default"), "cpu"), sys.stdout
    threads = [threading.Thread(target=runtime.encode, args=[TILE]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == ["encoder.onnx"]
    assert outputs == [before] and sys.stdout is before


class TestLoadingAhead:
    def test_the_network_is_used_once_and_gives_the_same_picture(self, codec, monkeypatch):
        from onedpiece.runtime import onnx

        created = []
        create = onnx._create
        monkeypatch.setattr(onnx, "_create", lambda *given: created.append(given) or create(*given))
        onnx.start_loading(codec.model, "cpu", 1, realism=0)
        runtime = OnnxRuntime(codec.model, "cpu", 1)
        tokens = np.arange(64, dtype=np.uint16)[None]
        pixels = runtime.decode(tokens, realism=0)
        assert len(created) == 1 and not onnx._STARTED
        assert np.array_equal(pixels, OnnxRuntime(codec.model, "cpu", 1).decode(tokens, realism=0))
        assert len(created) == 2

    @pytest.mark.parametrize("name, level", [("natural", "DISABLE_ALL"), ("repair", "ENABLE_ALL")])
    def test_a_graph_of_fast_operations_is_not_searched_for_faster_ones(self, codec, name, level):
        from onedpiece.runtime import onnx

        session = onnx._create(codec.model, f"int8-{name}.onnx", [onnx.CPU], 1)
        found = session.get_session_options().graph_optimization_level
        assert found == getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")

    @pytest.mark.parametrize("vnni", [True, False])
    @pytest.mark.parametrize("once", [True, False])
    def test_a_graph_of_floats_that_runs_once_is_taken_as_it_is(
        self, codec, monkeypatch, vnni, once
    ):
        from onedpiece.runtime import onnx

        monkeypatch.setattr(onnx, "has_vnni", lambda: vnni)
        monkeypatch.setattr(onnx, "_STARTED", {})
        onnx.start_loading(codec.model, "cpu", 1, realism=0, once=once)
        (loading,) = onnx._STARTED.values()
        found = loading.result().get_session_options().graph_optimization_level
        level = "DISABLE_ALL" if once and not vnni else "ENABLE_ALL"
        assert found == getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")

    def test_a_graph_as_it_is_gives_the_same_picture(self, codec, monkeypatch):
        from onedpiece.runtime import onnx

        monkeypatch.setattr(onnx, "has_vnni", lambda: False)
        tokens = np.arange(64, dtype=np.uint16)[None]
        for realism in (0, 1):
            onnx.start_loading(codec.model, "cpu", 1, realism, once=True)
            pixels = OnnxRuntime(codec.model, "cpu", 1).decode(tokens, realism)
            assert not onnx._STARTED
            faster = OnnxRuntime(codec.model, "cpu", 1).decode(tokens, realism)
            assert np.abs(pixels - faster).max() < 0.01

    def test_nothing_is_loaded_where_cuda_may_be_used(self, codec):
        from onedpiece.runtime import onnx

        onnx.start_loading(codec.model, "cuda")
        assert not onnx._STARTED


def test_the_runtime_collects_no_data_about_its_use(loaded_modules, monkeypatch, tmp_path):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    for variable in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    loaded_modules("from onedpiece.runtime.onnx import import_runtime; import_runtime()")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/cpuinfo")
def test_a_processor_with_vnni_is_recognised_as_pytorch_does():
    torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
    if torch.cpu._is_vnni_supported():
        assert onnx_runtime.has_vnni()
