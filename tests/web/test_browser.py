"""The browser package in a browser: Chromium, where the machine has it."""

import functools
import http.server
import threading
from pathlib import Path

import numpy as np
import pytest
from odp_files import parse

from onedpiece.models.registry import BUNDLED
from onedpiece.runtime.sketch import load_sketcher

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURE = "tests/vectors/version-2/decoded/two-tiles.odp"
TOKEN_SET = BUNDLED / "default" / "token-set.safetensors"

PAINT = """async (picture) => {
  const { decodeTokens, readTokenSet, sketch } = await import("/web/src/index.js");
  const bytesOf = async (url) => (await fetch(url)).arrayBuffer();
  const url = "/onedpiece/models/default/token-set.safetensors";
  const tokenSet = readTokenSet(await bytesOf(url));
  const file = decodeTokens(await bytesOf(picture), tokenSet);
  const { data, width } = sketch(file.tokens[1], tokenSet);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = width;
  const context = canvas.getContext("2d");
  context.putImageData(new ImageData(data, width), 0, 0);
  const painted = context.getImageData(0, 0, width, width).data;
  return { tokens: file.tokens.map((one) => [...one]), painted: [...painted] };
}"""


class Files(http.server.SimpleHTTPRequestHandler):
    """Files of the repository; JavaScript as such, whatever the machine thinks of its name."""

    def guess_type(self, path):
        return "text/javascript" if path.endswith(".js") else super().guess_type(path)

    def log_message(self, *_):
        pass


@pytest.fixture
def origin():
    handler = functools.partial(Files, directory=REPOSITORY)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_page_reads_a_picture_and_paints_a_sketch(chromium, origin):
    page = chromium.new_page()
    page.goto(f"{origin}/web/package.json")
    found = page.evaluate(PAINT, f"/{PICTURE}")

    file = parse((REPOSITORY / PICTURE).read_bytes())
    assert found["tokens"] == [
        known[:count].tolist() for known, count in zip(file.tokens, file.counts, strict=True)
    ]
    expected = load_sketcher(TOKEN_SET, "").sketch(file.tokens[1][: file.counts[1]])
    painted = np.array(found["painted"]).reshape(256, 256, 4)
    assert (painted[..., 3] == 255).all()
    assert np.abs(painted[..., :3] - expected).max() < 0.52
