"""A page of the browser package in headless Chromium, where the machine has what it needs."""

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
    """Browsers multiply no integers; what they paint is compared with what Python paints."""
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
    """The address of `odp serve`, with a blank page, and .odp files of the vectors besides."""
    from onedpiece.cli import serve

    try:
        files = serve.site()
    except OdpError:
        pytest.skip("needs onnxruntime-web: run npm install in web/")
    blank = tmp_path_factory.mktemp("site") / "blank.html"
    blank.write_text("<!doctype html><title>blank</title>")
    files["blank.html"] = blank
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
