"""What the browser package costs in Chromium: `python web/tests/measure.py`.

Prints the bytes that a visitor loads, the time from a dropped picture to each step, and the times
of decoding. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import base64
import os
import shutil
import statistics
import threading
import time

from playwright.sync_api import Page, Response, sync_playwright

import onedpiece
from onedpiece.bench.demo import PICTURES
from onedpiece.cli import serve

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
REPEATS = 5
DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  const times = {};
  const begin = performance.now();
  const canvas = document.getElementById("odp");
  return new Promise((resolve) => {
    new MutationObserver(() => {
      times[canvas.dataset.stage] ??= performance.now() - begin;
      if (canvas.dataset.stage === "final") resolve(times);
    }).observe(canvas, { attributeFilter: ["data-stage"] });
    document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer }));
  });
}"""
DECODE = """async ([data, realism]) => {
  const { decode } = await import("/src/paint/decode.js");
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const begin = performance.now();
  await decode(bytes, { realism });
  return performance.now() - begin;
}"""


def main() -> None:
    """Measure and print."""
    picture = PICTURES / "cat.png"
    with sync_playwright() as playwright, serve.listen(serve.site(), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        program = shutil.which("chromium") or playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=program, args=[*FLAGS])
        load = os.getloadavg()[0]
        print(f"Chromium {browser.version}, {os.cpu_count()} cores, load {load:.1f}")
        context = browser.new_context()
        for visit in ("first visit", "second visit"):
            page, sizes = context.new_page(), Sizes()
            page.on("response", sizes.note)
            page.goto(address)
            print(f"\n{visit}, from drop to")
            data = base64.b64encode(picture.read_bytes()).decode()
            for stage, milliseconds in page.evaluate(DROP, [data, picture.name]).items():
                print(f"  {stage:7s} {milliseconds / 1000:6.2f} s")
            time.sleep(1)
            print(f"  loaded  {sum(sizes.values()) / 1e6:6.2f} MB in {len(sizes)} files")
        print("\ndecoding, median seconds of", REPEATS)
        for tokens in (16, 64, 256):
            for realism in (0, 1):
                seconds = decoding(page, onedpiece.encode(picture, tokens=tokens), realism)
                print(f"  {tokens:3d} tokens, realism {realism}: {seconds:.2f}")
        browser.close()
        server.shutdown()


def decoding(page: Page, file: bytes, realism: float) -> float:
    """Seconds of decoding, once the network is loaded."""
    question = [base64.b64encode(file).decode(), realism]
    times = [page.evaluate(DECODE, question) for _ in range(REPEATS + 1)]
    return statistics.median(times[1:]) / 1000


class Sizes(dict[str, int]):
    """The bytes of the server's answers, by their addresses."""

    def note(self, response: Response) -> None:
        """Note the size of an answer."""
        if response.status == 200 and "content-length" in response.headers:
            self[response.url] = int(response.headers["content-length"])


if __name__ == "__main__":
    main()
