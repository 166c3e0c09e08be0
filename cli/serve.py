"""`odp serve`: the demo page of the browser package, on this machine only."""

from __future__ import annotations

import functools
import http.server
import shutil
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from onedpiece.errors import OdpError, OutputError

HOST = "127.0.0.1"
PORT = 8400
INSTALLATION = Path(__file__).parent.parent  # the checkout, or the installed package
WEB, PICTURES = INSTALLATION / "web", INSTALLATION / "bench" / "pictures"
RUNTIME = "onnxruntime-web"
RUNTIME_VERSION = "1.30.0"
RUNTIME_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".odp": "application/octet-stream",
    ".wasm": "application/wasm",
}


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 is any free one.")] = PORT,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
    runtime: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help=f"Folder with the files of {RUNTIME}."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write the page to a new folder, for any web server, and stop."
        ),
    ] = None,
) -> None:
    """Show the demo page: encode and decode in the browser, beside WebP.

    The page is served to this machine only, and asks no other server for anything.
    """
    files = site(runtime)
    if out is not None:
        write_site(files, out)
        print(f"{out}: {len(files)} files, {_megabytes(files):.1f} MB")
        return
    with listen(files, port) as server:
        address = f"http://{HOST}:{server.server_port}/"
        print(f"{address} (stop with Ctrl-C)", flush=True)
        if open_page:
            webbrowser.open(address)
        server.serve_forever()


def site(runtime: Path | None = None) -> dict[str, Path]:
    """The files of the page by their paths on the server.

    runtime: folder with the files of onnxruntime-web; by default, where npm installs them.
    Raises OdpError if they, or the page, are not there.
    """
    from onedpiece.models.manifest import MANIFEST, SEARCH
    from onedpiece.models.registry import DEFAULT, find

    if not (WEB / "page").is_dir():
        raise OdpError(f"the demo page is not installed: {WEB} is missing")
    model = find(DEFAULT)
    files = {path.name: path for path in (WEB / "page").iterdir() if path.suffix in TYPES}
    sources = sorted((WEB / "src").rglob("*.js"))
    files |= {f"src/{path.relative_to(WEB / 'src').as_posix()}": path for path in sources}
    used = [MANIFEST, *(name for name in model.files if name != SEARCH)]
    files |= {f"model/{name}": model.path / name for name in used}
    folder = _runtime_folder(runtime)
    files |= {f"ort/{name}": folder / name for name in RUNTIME_FILES}
    photographs = sorted(PICTURES.glob("*.png")) + sorted(PICTURES.glob("*.jpg"))
    return files | {f"pictures/{path.name}": path for path in photographs}


def write_site(files: dict[str, Path], out: Path) -> None:
    """Copy the files to a new folder. Raises OutputError."""
    if out.exists():
        raise OutputError(f"{out} exists: name a new folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".odp-", dir=out.parent) as temporary:
            complete = Path(temporary) / "site"
            for name, path in files.items():
                target = complete / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            complete.rename(out)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error


def listen(files: dict[str, Path], port: int) -> http.server.ThreadingHTTPServer:
    """A server of the files, not yet serving. Raises OdpError if the port is taken."""
    handler = functools.partial(_Handler, files)
    try:
        return http.server.ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        raise OdpError(f"port {port} cannot be used: {error.strerror}; try --port 0") from error


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Sends the files, and no others."""

    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, **TYPES}  # noqa: RUF012

    def __init__(self, files: dict[str, Path], *arguments: object, **options: object) -> None:
        self._files = files
        super().__init__(*arguments, **options)  # type: ignore[arg-type]

    def translate_path(self, path: str) -> str:
        """The file of a path on the server; one that does not exist for other paths."""
        name = path.partition("?")[0].partition("#")[0].lstrip("/") or "index.html"
        return str(self._files.get(name, WEB / "missing"))

    def end_headers(self) -> None:
        """Threads in WASM need a page that is isolated from other origins."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: the terminal belongs to the user."""


def _runtime_folder(named: Path | None) -> Path:
    """The folder with the files of onnxruntime-web. Raises OdpError if there is none."""
    inside = Path("node_modules", RUNTIME, "dist")
    places = [WEB / inside, Path.cwd() / inside] if named is None else [named, named / "dist"]
    for place in places:
        if all((place / name).is_file() for name in RUNTIME_FILES):
            return place
    if named is not None:
        raise OdpError(f"{named} does not have {', '.join(RUNTIME_FILES)}")
    raise OdpError(
        f"{RUNTIME} is missing: run `npm install {RUNTIME}@{RUNTIME_VERSION}` in this folder, or "
        "name its folder with --runtime"
    )


def _megabytes(files: dict[str, Path]) -> float:
    return sum(path.stat().st_size for path in files.values()) / 1e6
