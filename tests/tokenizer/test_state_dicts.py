"""Published state dicts: reading them, and refusing everything else."""

from __future__ import annotations

import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
safetensors_torch = pytest.importorskip("safetensors.torch")

from onedpiece.errors import ModelError  # noqa: E402
from onedpiece.tokenizer.config import CONFIGS  # noqa: E402
from onedpiece.tokenizer.published import load_published  # noqa: E402


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


class TestReading:
    @pytest.mark.parametrize("format", ["pytorch_model.bin", "model.safetensors"])
    def test_every_number_is_loaded(self, published, state, paper, tmp_path, format):
        if format == "model.safetensors":
            published = tmp_path / format
            safetensors_torch.save_file(state, published)
        model = load_published(published, paper)
        loaded = {k.replace("head.ffn", "decoder.ffn"): v for k, v in model.state_dict().items()}
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[name], state[name]) for name in state)
        assert not model.training

    def test_the_configuration_is_recognised_by_its_shapes(self, published, paper, monkeypatch):
        monkeypatch.setitem(CONFIGS, paper.name, paper)
        assert load_published(published).config is paper

    def test_titok_encodes_and_decodes_its_fixed_number_of_tokens(
        self, paper, published, state, save
    ):
        titok = replace(paper, name="titok", tokens=32)
        for name in [n for n in state if "latent_token" in n]:
            state[name] = state[name][:32].clone()
        model = load_published(save(state), titok)
        with torch.inference_mode():
            tokens = model.encode(torch.rand(1, 3, 256, 256))
            assert tokens.shape == (1, 32)
            assert model.decode(tokens).shape == (1, 3, 256, 256)


class TestRefusal:
    """An error that says what is wrong; nothing in the file is executed."""

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
        self.refused(save(state), paper, "ln_pre.bias has numbers that are not finite")

    def test_integers(self, state, save, paper):
        state["encoder.ln_pre.bias"] = torch.zeros(32, dtype=torch.int64)
        self.refused(save(state), paper, "numbers that are not finite")

    def test_another_model(self, state, save):
        self.refused(save(state), CONFIGS["one-d-piece-s-256"], "is not one-d-piece-s-256")

    def test_the_shape_of_no_published_model(self, save):
        self.refused(save({"latent_tokens": torch.zeros(256, 100)}), None, "not a published model")

    def test_something_other_than_tensors(self, save, paper):
        self.refused(save({"latent_tokens": "no tensor"}), paper, "not a plain dictionary")
        self.refused(save([torch.zeros(1)]), paper, "not a plain dictionary")

    def test_a_sparse_tensor(self, state, save, paper):
        state["encoder.ln_pre.bias"] = torch.zeros(32).to_sparse()
        self.refused(save(state), paper, "not a plain dictionary")

    @pytest.mark.parametrize("old", [False, True])
    def test_a_pickle_that_executes_code(self, save, paper, tmp_path, old):
        target = tmp_path / "touched"

        class Hostile:
            def __reduce__(self):
                return os.mkdir, (str(target),)

        path = save({"latent_tokens": Hostile()}, _use_new_zipfile_serialization=not old)
        self.refused(
            path, paper, "not a state dict" if old else "refused: it holds more than tensors"
        )
        assert not target.exists()

    def test_a_bare_pickle(self, tmp_path, paper):
        (tmp_path / "x.bin").write_bytes(pickle.dumps({}))
        self.refused(tmp_path / "x.bin", paper, "not a state dict")

    @pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
    def test_a_truncated_file(self, published, tmp_path, paper, share):
        data = published.read_bytes()
        (tmp_path / "truncated.bin").write_bytes(data[: int(share * len(data))])
        self.refused(tmp_path / "truncated.bin", paper, "not a state dict")

    @pytest.mark.parametrize("code", [b"\x80\x02.", b"\x80\x02}K\x01s.", b"\x80\x02h\x05."])
    def test_a_pickle_that_makes_no_sense(self, tmp_path, paper, code):
        with zipfile.ZipFile(tmp_path / "x.bin", "w") as archive:
            archive.writestr("archive/data.pkl", code)
            archive.writestr("archive/version", b"3\n")
        self.refused(tmp_path / "x.bin", paper, "not a state dict")

    def test_a_compressed_archive(self, tmp_path, paper):
        with zipfile.ZipFile(tmp_path / "x.bin", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"0" * 10_000_000)
        self.refused(tmp_path / "x.bin", paper, "not compressed")

    def test_a_pickle_of_enormous_length(self, tmp_path, paper):
        with zipfile.ZipFile(tmp_path / "x.bin", "w") as archive:
            archive.writestr("archive/data.pkl", b"0" * 10_000_000)
        self.refused(tmp_path / "x.bin", paper, "pickle is too large")

    def test_a_file_larger_than_any_model(self, tmp_path, paper):
        with (tmp_path / "x.bin").open("wb") as file:
            file.truncate(5 << 30)
        self.refused(tmp_path / "x.bin", paper, "larger than any")

    def test_no_file(self, tmp_path, paper):
        self.refused(tmp_path / "nothing.bin", paper, "cannot be read")
