"""Pulling published models from a hub that runs in this process: success, and every failure."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
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

    data:    the published file.
    sent:    number of its bytes that a download really gives.
    named:   the SHA-256 that the hub claims for it.
    commits: commit of each revision.
    """

    daemon_threads = True

    def __init__(self, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.data, self.sent = data, len(data)
        self.named = hashlib.sha256(data).hexdigest()
        self.commits = {"main": NEWEST, NEWEST: NEWEST, PINNED: PINNED}
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
        revision = path.removeprefix(f"/{REPOSITORY}/resolve/").removesuffix("/pytorch_model.bin")
        hub.requests.append(f"{self.command} {path}")
        if path == "/store/file":
            self._send(200, {"ETag": f'"{hub.named}"', "Content-Length": len(hub.data)})
            if with_body:
                self.wfile.write(hub.data[: hub.sent])
        elif revision in hub.commits:
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
        else:
            kind = "RevisionNotFound" if f"/{REPOSITORY}/" in path else "RepoNotFound"
            self._send(404, {"X-Error-Code": kind, "Content-Length": 0})

    def _send(self, status: int, headers: dict[str, object]) -> None:
        self.send_response(status)
        for name, value in headers.items():
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

    def copy(module, folder, name, precision, **facts):
        shutil.copytree(installed_paper.path, folder, dirs_exist_ok=True)
        manifest = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps({**manifest, "name": name, **facts}))

    monkeypatch.setattr(export_published, "export", copy)


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
        monkeypatch.setattr("time.sleep", lambda _: None)  # between the tries to resume
        serve(published).sent = 1000
        self.fails(odp("models", "pull", NAME), models, "download", "import")

    def test_bytes_that_are_not_those_the_hub_names(self, odp, serve, models, published):
        server = serve(published)
        server.data = server.data[:-50] + bytes(50)
        self.fails(odp("models", "pull", NAME), models, "damaged")
        server.data = published.read_bytes()
        assert hub.download(NAME).path.read_bytes() == server.data

    def test_no_network(self, odp, point_at, models, monkeypatch):
        monkeypatch.setattr("time.sleep", lambda _: None)
        point_at("http://127.0.0.1:9")
        done = odp("models", "pull", NAME)
        self.fails(done, models, "http://127.0.0.1:9 does not answer", "odp models import")

    def test_the_network_is_forbidden(self, odp, point_at, models, monkeypatch):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        done = odp("models", "pull", NAME)
        self.fails(done, models, "HF_HUB_OFFLINE is set", "odp models import")

    def test_the_environment_variables_apply(self, run_odp, models, tmp_path):
        env = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
        self.fails(run_odp("models", "pull", NAME, env=env), models, "HF_HUB_OFFLINE is set")

    def test_an_unknown_revision(self, odp, serve, models, published):
        serve(published)
        done = odp("models", "pull", NAME, "--revision", "v9")
        self.fails(done, models, "revision v9")

    def test_the_known_commit_is_gone(self, odp, serve, models, published):
        del serve(published).commits[PINNED]
        self.fails(odp("models", "pull", NAME), models, PINNED, "--revision main")

    def test_an_unknown_model(self, odp, models):
        self.fails(odp("models", "pull", "two-d-piece"), models, "there are one-d-piece-s-256,")
