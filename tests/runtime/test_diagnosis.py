"""`odp doctor`: what it finds on machines with and without CUDA, and on broken ones."""

import json
import shutil
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest

from onedpiece.errors import DeviceError, ModelError
from onedpiece.models.registry import BUNDLED
from onedpiece.runtime import diagnosis


@pytest.fixture
def packages(monkeypatch):
    """Pretends that packages of these names and versions are installed."""

    def install(**versions):
        def version(name):
            try:
                return versions[name.replace("-", "_")]
            except KeyError:
                raise PackageNotFoundError(name) from None

        monkeypatch.setattr(diagnosis, "version", version)

    return install


@pytest.fixture
def machine(monkeypatch, packages):
    """A machine with a driver and a GPU build, where these libraries and devices work."""

    def build(libraries=(), devices=("cpu",), providers=(diagnosis.CUDA, "CPUExecutionProvider")):
        packages(onnxruntime_gpu="1.28.0")
        runtime = SimpleNamespace(
            __version__="1.28.0",
            cuda_version="13.0",
            get_available_providers=lambda: list(providers),
            preload_dlls=lambda: print("cannot load libcudnn.so.9"),
        )
        monkeypatch.setattr(diagnosis, "import_runtime", lambda: runtime)
        monkeypatch.setattr(diagnosis, "has_driver", lambda: True)
        monkeypatch.setattr(diagnosis, "_loads", lambda name: name in libraries)
        monkeypatch.setattr(diagnosis.sys, "platform", "linux")

        class Networks:
            def __init__(self, model, device):
                if device not in devices:
                    raise DeviceError("CUDA does not work here")

            def decode(self, tokens):
                assert tokens.shape == (1, 256)

        monkeypatch.setattr(diagnosis, "OnnxRuntime", Networks)

    return build


def findings():
    return {(topic, fine): text for topic, fine, text in diagnosis.diagnose()}


CUDA_13 = ("libcudart.so.13", "libcublas.so.13", "libcufft.so.12", "libcurand.so.10")


def test_everything_works(machine):
    machine((*CUDA_13, "libcudnn.so.9"), ("cpu", "cuda"))
    found = list(diagnosis.diagnose())
    assert all(fine for _, fine, _ in found)
    assert [topic for topic, *_ in found][-4:] == ["cpu", "cuda", "cudnn", "cuda"]


def test_a_missing_library_is_named_and_how_to_get_it(machine, capsys):
    machine(CUDA_13)
    text = findings()["cudnn", False]
    assert "libcudnn.so.9 not found" in text and "CUDA 13.0" in text and "onedpiece[cuda]" in text
    assert capsys.readouterr().out == ""


def test_a_cpu_build_beside_a_driver_is_a_fault(machine):
    machine(providers=("CPUExecutionProvider",))
    assert "onnxruntime-gpu" in findings()["cuda", False]


def test_libraries_of_cuda_12_have_other_names():
    names = diagnosis._library_names("12")["cuda"]
    assert "libcublas.so.12" in names or "cublas64_12.dll" in names


def test_two_packages_break_each_other(packages):
    packages(onnxruntime="1.26.0", onnxruntime_gpu="1.28.0")
    finding = diagnosis._packages(diagnosis._versions())
    assert not finding.fine
    assert "pip uninstall onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu" in (
        finding.text
    )


def test_no_package_is_a_fault(packages):
    packages()
    assert not diagnosis._packages(diagnosis._versions()).fine


def test_a_runtime_that_does_not_load_ends_the_list(monkeypatch):
    def fail():
        raise ModelError("ONNX Runtime does not load")

    monkeypatch.setattr(diagnosis, "import_runtime", fail)
    assert list(diagnosis.diagnose())[-1] == ("runtime", False, "ONNX Runtime does not load")


def test_a_damaged_model_is_a_fault(tmp_path, monkeypatch):
    shutil.copytree(BUNDLED / "default", tmp_path / "mine")
    with (tmp_path / "mine" / "search.onnx").open("ab") as file:
        file.write(b"x")
    monkeypatch.setenv("ODP_MODELS", str(tmp_path))
    bundled, mine = diagnosis._models()
    assert bundled.fine and not mine.fine and "damaged: search.onnx" in mine.text


def test_the_verb_prints_a_line_for_each_and_exits_with_1_if_one_is_broken(odp, monkeypatch):
    result = odp("doctor", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert {"package", "runtime", "model", "cpu", "cuda"} <= {line["topic"] for line in lines}
    assert result.code == (not all(line["fine"] for line in lines))

    broken = diagnosis.Finding("cudnn", False, "libcudnn.so.9 not found")
    monkeypatch.setattr(diagnosis, "diagnose", lambda: iter([broken]))
    result = odp("doctor")
    assert result.code == 1 and result.stdout == b"BROKEN  cudnn     libcudnn.so.9 not found\n"
