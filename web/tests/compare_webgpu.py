"""How far pictures by WebGPU are from those of Python: `python web/tests/compare_webgpu.py`.

In Chromium, with SwiftShader in the place of a graphics card: it takes minutes for a picture.
"""

from __future__ import annotations

import shutil
import threading

import numpy as np
import onnxruntime
from playwright.sync_api import sync_playwright

import onedpiece
from onedpiece.bench.demo import PICTURES
from onedpiece.cli import serve
from onedpiece.models.registry import DEFAULT, find

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
    "--ignore-gpu-blocklist",
)
ADAPTER = "async () => Boolean(await navigator.gpu?.requestAdapter())"
PAINT = """async (tokens) => {
  const { openModel } = await import("/src/paint/decode.js");
  const model = openModel("/model/", "/ort/ort.webgpu.min.mjs");
  const begin = performance.now();
  const pixels = await model.paint(tokens);
  return { pixels: Array.from(pixels), seconds: (performance.now() - begin) / 1000 };
}"""
PATIENCE = 600_000  # milliseconds


def main() -> None:
    """Compare and print."""
    model = find(DEFAULT)
    python = onnxruntime.InferenceSession(model.path / model.decoder.graph)
    with sync_playwright() as playwright, serve.listen(serve.site(), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        program = shutil.which("chromium") or playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=program, args=[*FLAGS])
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"http://{serve.HOST}:{server.server_port}/")
        if not page.evaluate(ADAPTER):
            raise SystemExit("this Chromium has no WebGPU")
        print(f"Chromium {browser.version}, onnxruntime-web {serve.RUNTIME_VERSION}")
        for tokens in (16, 256):
            file = onedpiece.open(onedpiece.encode(PICTURES / "cat.png", tokens=tokens))
            found = page.evaluate(PAINT, file.tokens[0].tolist())
            (expected,) = python.run(None, {"tokens": file.tokens.astype(np.int32)})
            difference = np.abs(np.reshape(found["pixels"], expected.shape) - expected)
            print(
                f"{tokens:3d} tokens: mean difference {difference.mean():.3f} levels, "
                f"largest {difference.max():.2f}; {found['seconds']:.0f} s"
            )
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()
