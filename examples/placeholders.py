"""A web page of photographs that shows their .odp placeholders until they are there.

    odp serve --out site                    # what <odp-picture> needs
    python examples/placeholders.py FOLDER --out site
    python -m http.server -d site           # then open http://localhost:8000/placeholders.html

Copies the pictures to OUT/pictures and writes OUT/placeholders.html.
"""

from __future__ import annotations

import argparse
import html
import shutil
from pathlib import Path
from urllib.parse import quote

from onedpiece.placeholder import DEFAULT_BYTES, placeholder

BUNDLED = Path(__file__).parents[1] / "bench" / "pictures"
SUFFIXES = {".jpeg", ".jpg", ".png", ".webp"}
MOST = 50  # pictures
PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Placeholders</title>
<script type="module" src="src/paint/element.js"></script>
<style>
  body { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem; }
  figure { display: grid; margin: 0; }
  figure > * { grid-area: 1 / 1; width: 100%; height: auto; }
</style>
"""


def main() -> None:
    arguments = parse_arguments()
    paths = sorted(p for p in arguments.folder.iterdir() if p.suffix.lower() in SUFFIXES)[:MOST]
    if not paths:
        raise SystemExit(f"{arguments.folder} holds no pictures")
    pictures = arguments.out / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    figures = []
    for path in paths:
        shutil.copy(path, pictures)
        figures.append(figure(path, arguments.max_bytes))
    page = arguments.out / "placeholders.html"
    page.write_text(PAGE + "\n".join(figures) + "\n", encoding="utf-8")
    print(f"{page}: {len(figures)} pictures, {page.stat().st_size} bytes")


def figure(path: Path, max_bytes: int) -> str:
    """The picture on top of its placeholder. The browser loads it when it is scrolled to."""
    small = placeholder(path, max_bytes)
    source = html.escape(f"pictures/{quote(path.name)}")
    size = f'width="{small.width}" height="{small.height}"'
    image = f'<img src="{source}" {size} loading="lazy" alt="{html.escape(path.stem)}">'
    return f"<figure>{small.to_html()}{image}</figure>"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=BUNDLED, help="folder of pictures")
    parser.add_argument("--max-bytes", type=int, default=DEFAULT_BYTES, help="of a placeholder")
    parser.add_argument(
        "--out", type=Path, default=Path("demo/placeholders"), help="folder for results"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
