"""`odp serve`: which files it serves, and to whom."""

import json
import threading
import urllib.error
import urllib.request

import pytest

from onedpiece.cli import serve
from onedpiece.errors import OdpError, OutputError


@pytest.fixture
def runtime(tmp_path):
    """A folder that looks like that of onnxruntime-web."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    for name in serve.RUNTIME_FILES:
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def address(runtime):
    with serve.listen(serve.site(runtime), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_the_page_the_model_and_the_runtime_are_served(address):
    for name, kind in [
        ("", "text/html"),
        ("page.js", "text/javascript"),
        ("src/paint/element.js", "text/javascript"),
        ("model/model.json", "application/json"),
        ("ort/ort.wasm.min.mjs", "text/javascript"),
        ("ort/ort-wasm-simd-threaded.wasm", "application/wasm"),
        ("pictures/cat.png", "image/png"),
    ]:
        with urllib.request.urlopen(address + name) as answer:
            assert answer.headers.get_content_type() == kind
            # What a page needs for threads.
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


@pytest.mark.parametrize(
    "name", ["pyproject.toml", "../pyproject.toml", "src/", "%2e%2e/README.md"]
)
def test_nothing_else_is_served(address, name):
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(address + name)
    assert error.value.code == 404


def test_the_page_can_be_written_for_another_server(runtime, tmp_path):
    files = serve.site(runtime)
    serve.write_site(files, tmp_path / "new" / "page")
    written = {path for path in (tmp_path / "new" / "page").rglob("*") if path.is_file()}
    assert len(written) == len(files)
    assert (tmp_path / "new" / "page" / "index.html").is_file()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page"]
    with pytest.raises(OutputError):
        serve.write_site(files, tmp_path / "new" / "page")


def test_a_missing_runtime_is_told_with_the_command_that_installs_it(tmp_path, monkeypatch):
    with pytest.raises(OdpError, match="does not have"):
        serve.site(tmp_path)
    monkeypatch.setattr(serve, "RUNTIME_FILES", ("nowhere.mjs",))
    with pytest.raises(OdpError, match="npm install onnxruntime-web@"):
        serve.site()


def test_a_port_that_is_taken_is_an_error(address):
    with pytest.raises(OdpError, match="cannot be used"):
        serve.listen({}, int(address.rstrip("/").rpartition(":")[2]))


def test_the_version_is_that_of_the_browser_package():
    package = json.loads((serve.WEB / "package.json").read_text())
    assert package["dependencies"]["onnxruntime-web"] == serve.RUNTIME_VERSION
