"""Pulling published models from a hub that runs in this process: success, and every failure."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
constants = pytest.importorskip("huggingface_hub.constants", reason="needs onedpiece[torch]")
pytest.importorskip("onnxscript", reason="needs the extra onedpiece[torch]")

from onedpiece.export import published as export_published  # noqa: E402
from onedpiece.models import hub  # noqa: E402
from onedpiece.models.registry import find  # noqa: E402
from onedpiece.tokenizer.config import CONFIGS  # noqa: E402

NAME = "one-d-piece-s-256"
REPOSITORY = "turing-motors/One-D-Piece-S-256"
PINNED = hub.PUBLISHED[NAME].revision
NEWEST = "0123456789abcdef0123456789abcdef01234567"


class FakeHub(ThreadingHTTPServer):
    """What `huggingface_hub` needs of a hub: large files are redirected to a store.

    data:       the published file.
    ends:       the bytes at which the next downloads break off.
    named:      the SHA-256 that the hub claims for it.
    commits:    commit of each revision.
    repository: its name; the old name of a renamed repository redirects to it.
    requests:   method and path of each request, and the first byte of a resumed download.
    """

    daemon_threads = True

    def __init__(self, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.data, self.repository = data, REPOSITORY
        self.ends: list[int] = []
        self.named = hashlib.sha256(data).hexdigest()
        self.commits: dict[str, str | None] = {"main": NEWEST, NEWEST: NEWEST, PINNED: PINNED}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def store(self) -> str:
        """The same server under another host name, as a separate store has."""
        return f"http://localhost:{self.server_address[1]}"


class _Requests(BaseHTTPRequestHandler):
    server: FakeHub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        hub, path = self.server, self.path.split("?")[0]
        owner, name, *rest = path.strip("/").split("/")
        resumed = self.headers.get("Range", "").removeprefix("bytes=").removesuffix("-")
        hub.requests.append(f"{self.command} {path} {resumed}".strip())
        if path == "/store/file":
            self._send_file(int(resumed or 0), with_body)
        elif f"{owner}/{name}" == hub.repository:
            self._send_location(rest[1])
        elif f"{owner}/{name}" == REPOSITORY and hub.repository:
            self._send(307, {"Location": path.replace(REPOSITORY, hub.repository)})
        else:
            self._send(404, {"X-Error-Code": "RepoNotFound", "Content-Length": 0})

    def _send_location(self, revision: str) -> None:
        """Where the file of a revision is."""
        hub = self.server
        if revision not in hub.commits:
            self._send(404, {"X-Error-Code": "RevisionNotFound", "Content-Length": 0})
            return
        self._send(
            302,
            {
                "Location": f"{hub.store}/store/file",
                "X-Repo-Commit": hub.commits[revision],
                "X-Linked-Etag": f'"{hub.named}"',
                "X-Linked-Size": len(hub.data),
                "Content-Length": 0,
            },
        )

    def _send_file(self, start: int, with_body: bool) -> None:
        hub, size = self.server, len(self.server.data)
        headers = {"ETag": f'"{hub.named}"', "Content-Length": size - start}
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        self._send(206 if start else 200, headers)
        if with_body:
            self.wfile.write(hub.data[start : hub.ends.pop() if hub.ends else size])

    def _send(self, status: int, headers: dict[str, object]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def point_at(monkeypatch, tmp_path):
    """Sets the address of the hub and an empty cache, as HF_ENDPOINT and HF_HOME would."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def point(url: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    return point


@pytest.fixture
def serve(point_at):
    """Starts a hub that publishes a file."""
    servers = []

    def start(path: Path) -> FakeHub:
        server = FakeHub(path.read_bytes())
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        point_at(server.url)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def models(monkeypatch, tmp_path, paper):
    """The user's folder of models; the published model is a small one."""
    monkeypatch.setenv("ODP_MODELS", str(tmp_path / "models"))
    monkeypatch.setitem(CONFIGS, NAME, replace(paper, name=NAME))
    return tmp_path / "models"


@pytest.fixture
def quick(monkeypatch, installed_paper):
    """Conversion without the slow step of writing graphs."""

    def copy(module, folder, name, decoder, *, source, **options):
        shutil.copytree(installed_paper.path, folder, dirs_exist_ok=True)
        manifest = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps({**manifest, "name": name, "source": source}))

    monkeypatch.setattr(export_published, "export", copy)


@pytest.fixture
def pin(monkeypatch):
    """Sets the SHA-256 that this version knows for the file."""

    def set_sha256(value: str) -> None:
        monkeypatch.setitem(hub.PUBLISHED, NAME, replace(hub.PUBLISHED[NAME], sha256=value))

    return set_sha256


def remaining(models: Path) -> list[Path]:
    return sorted(models.glob("*")) if models.exists() else []


class TestSuccess:
    def test_a_pulled_model_encodes_and_decodes(
        self, odp, serve, models, published, installed_paper, quick, make_picture, tmp_path
    ):
        serve(published)
        done = odp("models", "pull", NAME)
        assert done.code == 0, done.stderr
        assert installed_paper.fingerprint in done.stdout.decode()
        assert find(NAME).source["repository"] == REPOSITORY
        assert find(NAME).source["commit"] == PINNED
        assert [path.name for path in remaining(models)] == [NAME]

        make_picture().save(tmp_path / "in.png")
        options = ("--model", NAME, "--device", "cpu")
        coded, decoded = tmp_path / "x.odp", tmp_path / "x.png"
        assert odp("encode", tmp_path / "in.png", coded, "-n", 8, *options).code == 0
        assert odp("decode", coded, decoded, "--device", "cpu").code == 0
        assert decoded.exists()

    def test_encoding_with_it_needs_no_pytorch(
        self, installed_paper, make_picture, tmp_path, loaded_modules
    ):
        make_picture().save(tmp_path / "in.png")
        argv = ["odp", "encode", str(tmp_path / "in.png"), str(tmp_path / "x.odp")]
        argv += ["--model", str(installed_paper.path), "--device", "cpu"]
        loaded = loaded_modules(f"sys.argv = {argv}; import onedpiece.cli; onedpiece.cli.main()")
        assert (tmp_path / "x.odp").exists()
        assert "onnxruntime" in loaded and not loaded & {"torch", "huggingface_hub", "onnx"}

    def test_a_second_pull_takes_it_from_the_cache(self, odp, serve, models, published, quick):
        server = serve(published)
        assert odp("models", "pull", NAME).code == 0
        assert odp("models", "pull", NAME).code == 1
        assert odp("models", "pull", NAME, "--force").code == 0
        assert server.requests.count("GET /store/file") == 1

    def test_the_known_commit_is_pulled_whatever_the_branch_is(
        self, odp, serve, models, published, quick
    ):
        server = serve(published)
        assert odp("models", "pull", NAME).code == 0
        requests = [request for request in server.requests if "/resolve/" in request]
        assert requests and all(f"/resolve/{PINNED}/" in request for request in requests)

    @pytest.mark.parametrize("revision", ["main", NEWEST])
    def test_another_revision_can_be_pulled(self, odp, serve, models, published, quick, revision):
        serve(published)
        assert odp("models", "pull", NAME, "--revision", revision).code == 0
        assert find(NAME).source["revision"] == revision
        assert find(NAME).source["commit"] == NEWEST

    def test_it_is_cached_for_offline_use(self, odp, serve, models, published, quick, monkeypatch):
        serve(published)
        assert odp("models", "pull", NAME).code == 0
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert odp("models", "pull", NAME, "--force").code == 0

    def test_a_mirror_is_used_and_a_broken_download_resumes(self, serve, tmp_path):
        chunk = constants.DOWNLOAD_CHUNK_SIZE
        (tmp_path / "file").write_bytes(bytes(2 * chunk))
        server = serve(tmp_path / "file")
        server.ends = [chunk + 1000]
        done = subprocess.run(
            [sys.executable, "-c", f"from onedpiece.models import hub; hub.download('{NAME}')"],
            env={**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")},
        )
        assert done.returncode == 0
        (copy,) = tmp_path.glob("home/hub/*/snapshots/*/pytorch_model.bin")
        assert copy.read_bytes() == server.data
        downloads = [request for request in server.requests if request.startswith("GET /store")]
        assert downloads == ["GET /store/file", f"GET /store/file {chunk}"]

    def test_a_renamed_repository_is_followed(self, serve, published):
        serve(published).repository = "turing-motors/Renamed"
        assert hub.download(NAME).path.read_bytes() == published.read_bytes()

    def test_the_pinned_sha256_is_checked(self, serve, published, pin):
        server = serve(published)
        pin(server.named)
        assert hub.download(NAME).commit == PINNED

    def test_another_revision_has_no_pinned_sha256(self, serve, published, pin):
        serve(published)
        pin("0" * 64)
        assert hub.download(NAME, "main").commit == NEWEST

    def test_a_local_file_is_imported(self, odp, models, published, quick):
        assert odp("models", "import", published).code == 0
        assert find(NAME).source["file"] == "pytorch_model.bin"
        assert odp("models", "import", published, "--name", "other").code == 0
        assert find("other").fingerprint == find(NAME).fingerprint


class TestFailure:
    """Exit code 1, one line, nothing installed."""

    def fails(self, done, models, *words):
        assert done.code == 1
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("odp: ")]
        assert all(word in line for word in words), line
        assert not remaining(models)

    def test_a_wrong_shape(self, odp, serve, models, published, tmp_path):
        state = torch.load(published, weights_only=True)
        state["encoder.conv_out.bias"] = torch.zeros(13)
        torch.save(state, tmp_path / "wrong.bin")
        serve(tmp_path / "wrong.bin")
        done = odp("models", "pull", NAME)
        self.fails(done, models, "encoder.conv_out.bias is (13,) instead of (12,)")

    def test_a_hostile_pickle(self, odp, serve, models, tmp_path):
        class Hostile:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "touched"),)

        torch.save({"latent_tokens": Hostile()}, tmp_path / "hostile.bin")
        serve(tmp_path / "hostile.bin")
        self.fails(odp("models", "pull", NAME), models, "refused")
        assert not (tmp_path / "touched").exists()

    def test_an_interrupted_download(self, odp, serve, models, published, monkeypatch):
        monkeypatch.setattr("time.sleep", lambda _: None)  # between the attempts to resume
        serve(published).ends = [1000] * 100
        done = odp("models", "pull", NAME)
        self.fails(done, models, "the download of", "failed", "try again", "odp models import")

    def test_bytes_that_are_not_those_the_hub_names(self, odp, serve, models, published):
        server = serve(published)
        server.data = server.data[:-50] + bytes(50)
        self.fails(odp("models", "pull", NAME), models, "damaged")
        server.data = published.read_bytes()
        assert hub.download(NAME).path.read_bytes() == server.data

    def test_a_file_that_is_not_the_pinned_one(self, odp, serve, models, published, pin):
        server = serve(published)
        pin("0" * 64)
        done = odp("models", "pull", NAME)
        self.fails(done, models, f"{server.named} instead of {'0' * 64}", f"--revision {PINNED}")

    def test_the_repository_is_gone(self, odp, serve, models, published):
        serve(published).repository = ""
        done = odp("models", "pull", NAME)
        self.fails(done, models, f"no public repository {REPOSITORY}", "odp models import")

    def test_the_endpoint_is_no_hub(self, odp, serve, models, published):
        serve(published).commits[PINNED] = None
        self.fails(odp("models", "pull", NAME), models, "HF_ENDPOINT")

    def test_no_network(self, odp, point_at, models, monkeypatch):
        monkeypatch.setattr("time.sleep", lambda _: None)
        point_at("http://127.0.0.1:9")
        done = odp("models", "pull", NAME)
        self.fails(done, models, "http://127.0.0.1:9 cannot be reached", "odp models import")

    def test_the_network_is_forbidden(self, odp, point_at, models, monkeypatch):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        done = odp("models", "pull", NAME)
        self.fails(done, models, "HF_HUB_OFFLINE is set", "odp models import")

    def test_an_unknown_revision(self, odp, serve, models, published):
        serve(published)
        done = odp("models", "pull", NAME, "--revision", "v9")
        self.fails(done, models, "revision v9")

    def test_the_known_commit_is_gone(self, odp, serve, models, published):
        del serve(published).commits[PINNED]
        self.fails(odp("models", "pull", NAME), models, PINNED, "--revision main")

    def test_an_unknown_model(self, odp, models):
        self.fails(odp("models", "pull", "two-d-piece"), models, "there are one-d-piece-s-256,")
