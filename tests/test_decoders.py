"""Several decoders of one token set: which one paints a file, and that they are never mixed."""

import hashlib
import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import onedpiece
from onedpiece import Codec, Tokenizer
from onedpiece.errors import UnknownDecoder
from onedpiece.models.manifest import DecoderInfo, read_model, write_manifest
from onedpiece.models.registry import find

onnx = pytest.importorskip("onnx", reason="needs the extra onedpiece[torch]")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def white_graph():
    """A decoder that paints every tile white."""
    tail, white = np.array([256, 256, 3]), np.array(255, np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["tokens"], ["batch"], end=1),
            helper.make_node("Concat", ["batch", "tail"], ["shape"], axis=0),
            helper.make_node("Expand", ["white", "shape"], ["pixels"]),
        ],
        "white",
        [helper.make_tensor_value_info("tokens", TensorProto.INT32, ["batch", "count"])],
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 256, 256, 3])],
        [numpy_helper.from_array(tail, "tail"), numpy_helper.from_array(white, "white")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture
def make_white(tmp_path):
    """Writes a model directory whose only decoder paints white; same token set, same encoder."""

    def make(place, released):
        folder = tmp_path / place
        shutil.copytree(find("default").path, folder)
        decoder = DecoderInfo("white", 1, released)
        onnx.save(white_graph(), folder / decoder.graph)
        (folder / "decoder-repair.onnx").unlink()
        (folder / "decoder-repair.safetensors").rename(folder / decoder.weights)
        model = replace(find("default"), path=folder, name="white", decoders=(decoder,))
        return write_manifest(model).path

    return make


@pytest.fixture
def older(make_white, tmp_path, monkeypatch):
    """It is installed, and older than the bundled decoder."""
    monkeypatch.setenv("ODP_MODELS", str(tmp_path / "models"))
    return make_white("models/white", "2020-01-01")


def is_white(image):
    return np.asarray(image).min() == 255


class TestCodec:
    def test_a_decoder_is_chosen_by_name(self, older, one_tile):
        assert is_white(Codec(device="cpu", decoder="white").decode(one_tile))
        assert not is_white(Codec(device="cpu", decoder="repair").decode(one_tile))

    def test_the_newest_is_the_default(self, older, make_white, one_tile):
        assert not is_white(Codec(device="cpu").decode(one_tile))
        make_white("models/newer", "2999-01-01")
        assert is_white(Codec(device="cpu").decode(one_tile))

    def test_a_codec_chooses_once_until_it_is_closed(self, older, make_white, one_tile):
        codec = Codec(device="cpu")
        codec.decode(one_tile)
        make_white("models/newer", "2999-01-01")
        assert not is_white(codec.decode(one_tile))
        codec.close()
        assert is_white(codec.decode(one_tile))

    def test_a_directory_that_is_named_decodes_itself(self, older, one_tile):
        assert is_white(Codec(older, device="cpu").decode(one_tile))
        assert not is_white(Codec(older, device="cpu", decoder="repair").decode(one_tile))

    def test_psnr_is_measured_with_the_decoder_that_would_be_used(self, make_white, make_picture):
        white = Codec(make_white("white", "2020-01-01"), device="cpu")
        picture = Image.new("RGB", (64, 64), (255, 255, 255))
        target = onedpiece.Target(psnr=60)
        assert white.parse(white.encode(picture, target)).num_tokens == 1

    def test_networks_are_kept_for_each_decoder(self, older, one_tile):
        codec = Codec(device="cpu", decoder="white")
        codec.encode(codec.decode(one_tile), 1)  # with the encoder of the default model
        assert len(codec._runtimes) == 2

    def test_tiles_of_two_decoders_do_not_share_batches(self, older, one_tile, monkeypatch):
        codec = Codec(device="cpu")
        models = iter([find("white"), find("default"), find("white"), find("default")])
        monkeypatch.setattr(codec, "model_of", lambda image: next(models))
        pictures = codec.decode_pictures([onedpiece.open(one_tile)] * 4)
        assert [is_white(picture.pixels) for picture in pictures] == [True, False, True, False]

    def test_it_is_pickled_with_its_decoder(self, older, one_tile):
        codec = pickle.loads(pickle.dumps(Codec(device="cpu", decoder="white")))
        assert is_white(codec.decode(one_tile))

    def test_an_unknown_name_lists_the_others(self, older, one_tile):
        with pytest.raises(UnknownDecoder, match="onedpiece-1 has no decoder 'blue': there are"):
            Codec(device="cpu", decoder="blue").decode(one_tile)


def test_the_function_takes_a_decoder(older, one_tile):
    assert is_white(onedpiece.decode(one_tile, decoder="white", device="cpu"))


def test_a_tokenizer_takes_a_decoder(older):
    tokens = np.zeros((1, 4), int)
    assert is_white(Tokenizer.from_pretrained(device="cpu", decoder="white").decode(tokens))
    assert not is_white(Tokenizer.from_pretrained(device="cpu").decode(tokens))
    with pytest.raises(UnknownDecoder):
        Tokenizer.from_pretrained(decoder="blue")


class TestCommandLine:
    def test_a_decoder_is_chosen_by_name(self, odp, older, one_tile, tmp_path):
        (tmp_path / "x.odp").write_bytes(one_tile)
        options = ("--device", "cpu", "--decoder", "white")
        assert odp("decode", tmp_path / "x.odp", tmp_path / "x.png", *options).code == 0
        assert is_white(Image.open(tmp_path / "x.png"))

    def test_an_unknown_name_is_one_clear_line(self, odp, older, one_tile, tmp_path):
        (tmp_path / "x.odp").write_bytes(one_tile)
        done = odp("decode", tmp_path / "x.odp", tmp_path / "x.png", "--decoder", "blue")
        assert done.code == 1 and "there are natural, repair, white" in done.stderr
        assert not (tmp_path / "x.png").exists()

    def test_all_are_listed(self, odp, older):
        lines = odp("models").stdout.decode().splitlines()
        assert "  decoder repair, version 4 of 2026-11-27" in lines
        assert "  decoder white, version 1 of 2020-01-01" in lines


@pytest.fixture
def version_01(tmp_path):
    """The bundled model as version 0.1 stored it: all weights in one file, one decoder."""
    torch = pytest.importorskip("safetensors.torch", reason="needs the extra onedpiece[torch]")
    model, folder = find("default").faithful, tmp_path / "old"
    folder.mkdir()
    weights = folder / "weights.safetensors"
    parts = [torch.load_file(file) for file in model.weights]
    torch.save_file({name: value for part in parts for name, value in part.items()}, weights)
    from onedpiece.export.graphs import _stored_tensors

    new_place = {name: entry for name, entry in _stored_tensors(weights)}
    old_place = {
        (file.name, str(entry["offset"])): name
        for file in model.weights
        for name, entry in _stored_tensors(file)
    }
    for source, target in (("encoder", "encoder"), (f"decoder-{model.decoder.name}", "decoder")):
        graph = onnx.load(model.path / f"{source}.onnx", load_external_data=False)
        for tensor in graph.graph.initializer:
            place = {entry.key: entry for entry in tensor.external_data}
            if place:
                name = old_place[place["location"].value, place["offset"].value]
                for key, entry in place.items():
                    entry.value = str(new_place[name][key])
        (folder / f"{target}.onnx").write_bytes(graph.SerializeToString())
    fingerprint = hashlib.sha256(weights.read_bytes()).hexdigest()
    manifest = {"fingerprint": fingerprint, "name": "old", "blank": [9, 9, 9]}
    manifest |= {"config": model.config, "precision": "float16"}
    (folder / "model.json").write_text(json.dumps(manifest))
    return folder


class TestDirectoriesOfVersion01:
    def test_they_encode_and_decode(self, version_01, codec, make_picture, monkeypatch):
        monkeypatch.setattr("onedpiece.runtime.onnx.has_vnni", lambda: False)
        old = Codec(version_01, device="cpu")
        data = old.encode(make_picture(), 64)
        image = old.parse(data)
        assert image.header.model == read_model(version_01).key
        assert image.header.entropy_coded
        new = Codec(device="cpu").decode(codec.encode(make_picture(), 64), realism=0)
        assert np.array_equal(old.decode(data), new)

    def test_pytorch_reads_them(self, version_01):
        from onedpiece.tokenizer.weights import load_installed

        old, new = (
            load_installed(one) for one in (read_model(version_01), find("default").faithful)
        )
        state = new.state_dict()
        assert all(value.equal(state[name]) for name, value in old.state_dict().items())

    def test_a_model_that_is_made_of_one_names_it_by_an_alias(self, version_01, tmp_path):
        from onedpiece.export.model_directory import copy_token_set

        token_set = copy_token_set(read_model(version_01), tmp_path)
        assert token_set.fingerprint == find("default").fingerprint
        assert token_set.aliases == (read_model(version_01).fingerprint,)
