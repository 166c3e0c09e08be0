"""What is installed: one import name, the model, the command, and exactly one ONNX Runtime."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the checkout."""
    pytest.importorskip("setuptools", reason="needs setuptools to build a wheel")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (REPOSITORY / name).exists():
            shutil.copy(REPOSITORY / name, source)
    for name in ("onedpiece", "cli", "bench", "web"):
        ignore = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(REPOSITORY / name, source / name, ignore=ignore)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*pip, "--wheel-dir", out, source], check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel_names(wheel):
    """Names of all files in the wheel."""
    return zipfile.ZipFile(wheel).namelist()


class TestWheel:
    def test_it_claims_no_other_import_name(self, wheel_names):
        tops = {name.split("/")[0] for name in wheel_names}
        assert tops == {"onedpiece", f"onedpiece-{PROJECT['version']}.dist-info"}

    def test_the_command_line_and_the_benchmarks_are_in_the_package(self, wheel_names):
        for folder in ("cli", "bench"):
            sources = {path.name for path in (REPOSITORY / folder).glob("*.py")}
            installed = {Path(name).name for name in wheel_names if f"onedpiece/{folder}/" in name}
            assert sources <= installed

    def test_every_module_is_in_it(self, wheel_names):
        for path in (REPOSITORY / "onedpiece").rglob("*.py"):
            assert path.relative_to(REPOSITORY).as_posix() in wheel_names

    @pytest.mark.parametrize(
        "name", sorted(path.name for path in (REPOSITORY / "onedpiece/models/default").iterdir())
    )
    def test_the_default_model_is_in_it(self, wheel_names, name):
        assert f"onedpiece/models/default/{name}" in wheel_names

    def test_the_demo_page_is_in_it(self, wheel_names):
        web = REPOSITORY / "web"
        files = [*(web / "page").iterdir(), *(web / "src").rglob("*.js")]
        wanted = {f"onedpiece/web/{path.relative_to(web).as_posix()}" for path in files}
        assert wanted <= set(wheel_names)
        assert not any("web/tests" in name or "node_modules" in name for name in wheel_names)

    def test_it_is_small(self, wheel):
        assert wheel.stat().st_size < 15_000_000

    def test_it_works_where_the_checkout_is_not(self, wheel, tmp_path, make_picture):
        site = tmp_path / "site"
        pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", site]
        subprocess.run([*pip, wheel], check=True, capture_output=True)
        make_picture().save(tmp_path / "in.png")
        script = (
            "import onedpiece, onedpiece.cli, importlib.util as u, sys\n"
            f"assert onedpiece.__file__.startswith({str(site)!r}), onedpiece.__file__\n"
            f"assert onedpiece.cli.__file__.startswith({str(site)!r}), onedpiece.cli.__file__\n"
            "assert u.find_spec('cli') is None and u.find_spec('bench') is None\n"
            "sys.argv = ['odp', 'encode', 'in.png', 'out.odp', '-n', '64']\n"
            "onedpiece.cli.main()\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(site)}
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
        assert (tmp_path / "out.odp").stat().st_size <= 104

    def test_it_says_that_it_is_typed(self, wheel_names):
        assert "onedpiece/py.typed" in wheel_names


@pytest.mark.parametrize(
    "system, machine, expected",
    [
        ("linux", "x86_64", "onnxruntime-gpu"),
        ("win32", "AMD64", "onnxruntime-gpu"),
        ("darwin", "arm64", "onnxruntime"),
        ("darwin", "x86_64", "onnxruntime"),
        ("linux", "aarch64", "onnxruntime"),
        ("win32", "ARM64", "onnxruntime"),
    ],
)
def test_every_platform_gets_exactly_one_onnx_runtime(system, machine, expected):
    environment = {"sys_platform": system, "platform_machine": machine}
    requirements = map(Requirement, PROJECT["dependencies"])
    chosen = [r.name for r in requirements if r.marker is None or r.marker.evaluate(environment)]
    assert [name for name in chosen if name.startswith("onnxruntime")] == [expected]


def test_the_version_is_the_same_in_both_places():
    import onedpiece

    assert onedpiece.__version__ == PROJECT["version"]


def test_torch_is_no_dependency_but_an_extra():
    names = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert "torch" not in names
    assert "torch" in {Requirement(line).name for line in PROJECT["optional-dependencies"]["torch"]}
