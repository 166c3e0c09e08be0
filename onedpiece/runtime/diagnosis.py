"""What works on this machine, and what to do about the rest: packages, CUDA, models, decoding."""

from __future__ import annotations

import ctypes
import io
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np

from onedpiece.constants import MAX_TOKENS
from onedpiece.errors import OdpError
from onedpiece.models.registry import DEFAULT, find, installed
from onedpiece.runtime.onnx import CUDA, OnnxRuntime, has_driver, import_runtime

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")
"""Packages that all install the module `onnxruntime`."""

EXTRA = "install CUDA and cuDNN, or run pip install 'onedpiece[cuda]'"


class Finding(NamedTuple):
    """One thing that was looked at. If it is not `fine`, `text` says what to do."""

    topic: str
    fine: bool
    text: str


def diagnose() -> Iterator[Finding]:
    """Look at the packages, CUDA, the installed models, and a decoded tile on each device.

    A machine without an NVIDIA driver lacks nothing. Takes a second or two for each device.
    """
    names = _versions()
    yield _packages(names)
    try:
        onnxruntime = import_runtime()
    except OdpError as error:
        yield Finding("runtime", False, str(error))
        return
    providers = onnxruntime.get_available_providers()
    yield Finding("runtime", True, f"{onnxruntime.__version__} offers {', '.join(providers)}")
    yield from _models()
    yield _decode("cpu")
    if not has_driver():
        yield Finding("cuda", True, "no NVIDIA driver: the networks run on the CPU")
    elif CUDA not in providers:
        yield Finding("cuda", False, "this runtime has no CUDA: it needs onnxruntime-gpu")
    else:
        yield from _libraries(onnxruntime)
        yield _decode("cuda")


def _versions() -> dict[str, str]:
    """Versions of the installed ones of PACKAGES."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _packages(versions: dict[str, str]) -> Finding:
    listed = ", ".join(f"{name} {number}" for name, number in versions.items())
    if len(versions) == 1:
        return Finding("package", True, listed)
    if not versions:
        return Finding("package", False, "ONNX Runtime is not installed: pip install onedpiece")
    wanted = "onnxruntime-gpu" if "onnxruntime-gpu" in versions else "onnxruntime"
    return Finding(
        "package",
        False,
        f"{listed} install the same module and break each other: "
        f"pip uninstall {' '.join(versions)}, then pip install {wanted}",
    )


def _models() -> Iterator[Finding]:
    for model in installed():
        try:
            damaged = [name for name, intact in model.check_files().items() if not intact]
        except OSError as error:
            damaged = [str(error)]
        text = f"{model.name}, {model.size / 1e6:.1f} MB, {model.path}"
        if damaged:
            text += f": damaged: {', '.join(damaged)}; install it again"
        yield Finding("model", not damaged, text)


def _decode(device: str) -> Finding:
    """Decode one tile of all tokens with the default model, after a first run."""
    tokens = np.zeros((1, MAX_TOKENS), np.uint16)
    try:
        runtime = OnnxRuntime(find(DEFAULT), device)
        started = time.perf_counter()
        runtime.decode(tokens)
        loaded = time.perf_counter()
        runtime.decode(tokens)
        again = time.perf_counter()
    except OdpError as error:
        return Finding(device, False, str(error))
    text = "a tile of 256 tokens decodes in {:.0f} ms, the first one in {:.0f} ms"
    return Finding(device, True, text.format(1e3 * (again - loaded), 1e3 * (loaded - started)))


def _libraries(onnxruntime: Any) -> Iterator[Finding]:
    """The libraries of CUDA and cuDNN that this build of ONNX Runtime loads."""
    with redirect_stdout(io.StringIO()):  # it prints what it cannot load
        onnxruntime.preload_dlls()
    built_for = getattr(onnxruntime, "cuda_version", "") or ""
    for topic, names in _library_names(built_for.partition(".")[0]).items():
        missing = [name for name in names if not _loads(name)]
        build = f"CUDA {built_for}" if built_for else "CUDA"
        if missing:
            text = f"{', '.join(missing)} not found; this runtime was built for {build}: {EXTRA}"
        else:
            text = f"{', '.join(names)} found"
        yield Finding(topic, not missing, text)


def _library_names(cuda: str) -> dict[str, list[str]]:
    """Names of libraries for a major version of CUDA; of 13, if it is not known."""
    cuda = cuda or "13"
    fft = {"11": "10", "12": "11"}.get(cuda, "12")
    if sys.platform == "win32":
        libraries = [f"cudart64_{cuda}.dll", f"cublas64_{cuda}.dll", f"cufft64_{fft}.dll"]
        return {"cuda": libraries, "cudnn": ["cudnn64_9.dll"]}
    libraries = [f"libcudart.so.{cuda}", f"libcublas.so.{cuda}", f"libcufft.so.{fft}"]
    return {"cuda": [*libraries, "libcurand.so.10"], "cudnn": ["libcudnn.so.9"]}


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
