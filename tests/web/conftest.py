"""A page of the browser package in headless Chromium, where the machine has what it needs."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from onedpiece.errors import OdpError

REPOSITORY = Path(__file__).resolve().parents[2]
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
PATIENCE = 120_000  # milliseconds


@pytest.fixture(autouse=True)
def with_floating_point_numbers(monkeypatch):
    """Python multiplies no integers here, on any processor."""
    monkeypatch.setattr("onedpiece.runtime.onnx.has_vnni", lambda: False)


@pytest.fixture(scope="module")
def chromium():
    """A browser; the test is skipped without Playwright or Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="needs the test extra")
    with api.sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        program = program or playwright.chromium.executable_path
        if not Path(program).exists():
            pytest.skip("needs Chromium")
        browser = playwright.chromium.launch(executable_path=program, args=[*FLAGS])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The address of `odp serve`, with some files more.

    A blank page, .odp files of the vectors, and the model without its graphs of integers in the
    folder floats/: what these paint differs a little from one machine to the next.
    """
    from onedpiece.cli import serve

    try:
        files = serve.site()
    except OdpError:
        pytest.skip("needs onnxruntime-web: run npm install in web/")
    folder = tmp_path_factory.mktemp("site")
    files["blank.html"] = folder / "blank.html"
    files["blank.html"].write_text("<!doctype html><title>blank</title>")
    in_model = {name for name in files if name.startswith("model/")}
    files |= {name.replace("model/", "floats/"): files[name] for name in in_model}
    manifest = json.loads(files["model/model.json"].read_text())
    manifest["files"] = {k: v for k, v in manifest["files"].items() if not k.startswith("int8-")}
    files["floats/model.json"] = folder / "model.json"
    files["floats/model.json"].write_text(json.dumps(manifest))
    for path in (REPOSITORY / "tests/vectors/version-2/decoded").glob("*.odp"):
        files[path.name] = path
    with serve.listen(files, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def page(chromium, site):
    """A blank page of the site, which keeps its networks for the tests of a module."""
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{site}blank.html")
    return page
