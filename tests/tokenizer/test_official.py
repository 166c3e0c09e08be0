"""Published state dicts: what is one, what is not, and what becomes of it."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
pytest.importorskip("onnxscript", reason="needs the extra onedpiece[torch]")
safetensors_torch = pytest.importorskip("safetensors.torch")

from onedpiece.errors import ModelError, OutputError  # noqa: E402
from onedpiece.export.published import install, load_published, shapes  # noqa: E402
from onedpiece.runtime.onnx import OnnxRuntime  # noqa: E402
from onedpiece.tokenizer.config import CONFIGS  # noqa: E402


@pytest.fixture
def state(published):
    """The state dict, as a fresh dictionary."""
    return dict(torch.load(published, weights_only=True))


@pytest.fixture
def save(tmp_path):
    """Writes a state dict as `pytorch_model.bin`."""

    def write(state, **options) -> Path:
        path = tmp_path / "pytorch_model.bin"
        torch.save(state, path, **options)
        return path

    return write


class TestNamesAndShapes:
    @pytest.mark.parametrize("size, count", [("s", 308), ("b", 404), ("l", 692)])
    def test_the_published_models_have_so_many_entries(self, size, count):
        assert len(shapes(CONFIGS[f"one-d-piece-{size}-256"])) == count

    def test_those_of_s_are_those_of_the_reference(self, shared):
        lines = (shared / "reference" / "state_dict_s256.txt").read_text().splitlines()
        ours = {f"{name} {shape}" for name, shape in shapes(CONFIGS["one-d-piece-s-256"]).items()}
        assert ours == set(lines)

    def test_titok_differs_in_the_number_of_tokens_alone(self):
        ours, theirs = shapes(CONFIGS["one-d-piece-l-256"]), shapes(CONFIGS["titok-l-32"])
        assert ours.keys() == theirs.keys()
        assert {name for name in ours if ours[name] != theirs[name]} == {
            "latent_tokens",
            "encoder.latent_token_positional_embedding",
            "decoder.latent_token_positional_embedding",
        }


class TestReading:
    def test_every_number_arrives(self, published, state, paper):
        model = load_published(published, paper)
        ours = {k.replace("head.ffn", "decoder.ffn"): v for k, v in model.state_dict().items()}
        assert ours.keys() == state.keys()
        assert all(torch.equal(ours[name], state[name]) for name in state)
        assert not model.training

    def test_safetensors_hold_the_same(self, state, published, paper, tmp_path):
        safetensors_torch.save_file(state, tmp_path / "model.safetensors")
        ours = load_published(tmp_path / "model.safetensors", paper).state_dict()
        theirs = load_published(published, paper).state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    def test_the_configuration_is_found_by_its_shapes(self, published, paper, monkeypatch):
        monkeypatch.setitem(CONFIGS, paper.name, paper)
        assert load_published(published).config is paper

    def test_titok_reads_and_decodes_at_its_one_length(self, paper, published, state, save):
        titok = replace(paper, name="titok", tokens=32)
        for name in [n for n in state if "latent_token" in n]:
            state[name] = state[name][:32].clone()
        model = load_published(save(state), titok)
        with torch.inference_mode():
            tokens = model.encode(torch.rand(1, 3, 256, 256))
            assert tokens.shape == (1, 32)
            assert model.decode(tokens).shape == (1, 3, 256, 256)


class TestRefusal:
    """One message that says what is wrong; nothing is executed."""

    def refused(self, path, config, words):
        with pytest.raises(ModelError, match=words):
            load_published(path, config)

    def test_a_missing_entry(self, state, save, paper):
        del state["encoder.ln_pre.bias"]
        self.refused(save(state), paper, "encoder.ln_pre.bias is missing")

    def test_an_unknown_entry(self, state, save, paper):
        state["extra"] = torch.zeros(1)
        self.refused(save(state), paper, "extra is unknown")

    def test_a_wrong_shape(self, state, save, paper):
        state["quantize.embedding.weight"] = torch.zeros(4096, 13)
        self.refused(
            save(state), paper, r"embedding.weight is \(4096, 13\) instead of \(4096, 12\)"
        )

    def test_a_shape_without_the_memory_for_it(self, state, save, paper):
        state["quantize.embedding.weight"] = torch.zeros(1).expand(10**9, 10**6)
        self.refused(save(state), paper, "instead of")

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_numbers_that_are_not_finite(self, state, save, paper, bad):
        state["encoder.ln_pre.bias"] = torch.full((32,), bad)
        self.refused(save(state), paper, "ln_pre.bias is not made of finite numbers")

    def test_integers(self, state, save, paper):
        state["encoder.ln_pre.bias"] = torch.zeros(32, dtype=torch.int64)
        self.refused(save(state), paper, "not made of finite numbers")

    def test_another_model(self, state, save):
        self.refused(save(state), CONFIGS["one-d-piece-s-256"], "is not one-d-piece-s-256")

    def test_the_shape_of_no_published_model(self, save):
        self.refused(save({"latent_tokens": torch.zeros(256, 100)}), None, "none of the published")

    def test_something_other_than_tensors(self, save, paper):
        self.refused(save({"latent_tokens": "no tensor"}), paper, "no plain state dict")
        self.refused(save([torch.zeros(1)]), paper, "no plain state dict")

    def test_a_sparse_tensor(self, state, save, paper):
        state["encoder.ln_pre.bias"] = torch.zeros(32).to_sparse()
        self.refused(save(state), paper, "no plain state dict")

    @pytest.mark.parametrize("old", [False, True])
    def test_a_pickle_that_runs_something(self, save, paper, tmp_path, old):
        target = tmp_path / "touched"

        class Hostile:
            def __reduce__(self):
                return os.mkdir, (str(target),)

        path = save({"latent_tokens": Hostile()}, _use_new_zipfile_serialization=not old)
        self.refused(path, paper, "no state dict" if old else "refused: it holds more than tensors")
        assert not target.exists()

    def test_a_bare_pickle(self, tmp_path, paper):
        (tmp_path / "x.bin").write_bytes(pickle.dumps({}))
        self.refused(tmp_path / "x.bin", paper, "no state dict")

    @pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
    def test_a_file_that_was_cut(self, published, tmp_path, paper, share):
        data = published.read_bytes()
        (tmp_path / "cut.bin").write_bytes(data[: int(share * len(data))])
        self.refused(tmp_path / "cut.bin", paper, "no state dict")

    @pytest.mark.parametrize("code", [b"\x80\x02.", b"\x80\x02}K\x01s.", b"\x80\x02h\x05."])
    def test_a_pickle_that_makes_no_sense(self, tmp_path, paper, code):
        with zipfile.ZipFile(tmp_path / "x.bin", "w") as archive:
            archive.writestr("archive/data.pkl", code)
            archive.writestr("archive/version", b"3\n")
        self.refused(tmp_path / "x.bin", paper, "no state dict")

    def test_a_compressed_archive(self, tmp_path, paper):
        with zipfile.ZipFile(tmp_path / "x.bin", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"0" * 10_000_000)
        self.refused(tmp_path / "x.bin", paper, "not compressed")

    def test_a_pickle_of_enormous_length(self, tmp_path, paper):
        with zipfile.ZipFile(tmp_path / "x.bin", "w") as archive:
            archive.writestr("archive/data.pkl", b"0" * 10_000_000)
        self.refused(tmp_path / "x.bin", paper, "pickle is too large")

    def test_a_file_that_is_larger_than_all_models(self, tmp_path, paper):
        with (tmp_path / "x.bin").open("wb") as file:
            file.truncate(5 << 30)
        self.refused(tmp_path / "x.bin", paper, "larger than any")

    def test_no_file(self, tmp_path, paper):
        self.refused(tmp_path / "nothing.bin", paper, "cannot be read")


class TestInstalling:
    def test_the_model_runs_without_pytorch_and_gives_what_the_module_gives(
        self, published, paper, installed_paper, make_picture
    ):
        module, runtime = load_published(published, paper), OnnxRuntime(installed_paper, "cpu")
        tiles = np.stack([np.asarray(make_picture(seed=seed)) for seed in range(2)])
        pixels = torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            tokens = module.encode(pixels)
            decoded = module.decode(tokens[:, :9]).clamp(0, 1).permute(0, 2, 3, 1).numpy()
        assert (runtime.encode(tiles) == tokens.numpy()).mean() > 0.995
        ours = runtime.decode(tokens[:, :9].numpy()) / 255
        assert decoded.std() > 0.01
        np.testing.assert_allclose(ours, decoded, atol=1e-3)

    def test_the_manifest_says_where_it_comes_from(self, installed_paper):
        manifest = json.loads((installed_paper.path / "model.json").read_text())
        assert manifest["precision"] == "float32"
        assert manifest["source"]["commit"] == "0" * 40
        assert len(manifest["source"]["sha256"]) == 64
        assert installed_paper.is_intact()

    def test_nothing_is_left_of_a_refused_file(self, tmp_path, paper):
        (tmp_path / "x.bin").write_bytes(b"no model")
        with pytest.raises(ModelError):
            install(tmp_path / "x.bin", tmp_path / "models", "x", paper)
        assert not list(tmp_path.glob("models/*"))

    def test_what_is_there_is_kept(self, published, paper, tmp_path, installed_paper):
        (tmp_path / "precious").mkdir()
        (tmp_path / "precious" / "file").touch()
        for force in (False, True):
            with pytest.raises(OutputError, match="exists"):
                install(published, tmp_path, "precious", paper, force)
        assert (tmp_path / "precious" / "file").exists()

    def test_titok_is_refused_because_it_has_no_prefixes(self, paper, state, save, tmp_path):
        titok = replace(paper, name="titok", tokens=32)
        for name in [n for n in state if "latent_token" in n]:
            state[name] = state[name][:32].clone()
        with pytest.raises(ModelError, match="no prefixes"):
            install(save(state), tmp_path / "models", "titok", titok)
