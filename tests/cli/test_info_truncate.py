"""The verbs that need no network: info, truncate, models."""

import json
import os
import shutil

import pytest
from odp_files import parse, sizes, truncate

from onedpiece.codec import Codec
from onedpiece.encoded_image import EncodedImage


@pytest.fixture
def odp_file(tmp_path, two_tiles):
    path = tmp_path / "in.odp"
    path.write_bytes(two_tiles)
    return path


class TestInfo:
    def test_text_describes_the_file(self, odp, odp_file, codec, two_tiles):
        section = sizes(parse(two_tiles))
        result = odp("info", odp_file)
        assert (result.code, result.stderr) == (0, "")
        first, second = result.stdout.decode().splitlines()
        assert first == f"{odp_file}: 400x200 RGB, 2 tiles of 32 tokens"
        assert second == (
            f"  token set {codec.model.key.hex()} (onedpiece-1), {len(two_tiles)} bytes "
            f"({section['header']} header + 96 tokens), {8 * len(two_tiles) / 80_000:.4f} bpp"
        )

    def test_json_has_all_fields(self, odp, odp_file, codec, two_tiles):
        section = sizes(parse(two_tiles))
        facts = json.loads(odp("info", odp_file, "--json").stdout)
        assert facts == {
            "input": str(odp_file),
            "format_version": 2,
            "density": 1,
            "width": 400,
            "height": 200,
            "mode": "RGB",
            "tiles": 2,
            "overlap": 0,
            "scaled": True,
            "coding": "entropy" if parse(two_tiles).header.entropy_coded else "12 bits",
            "tokens": 32,
            "adaptive": False,
            "tokens_in_all": 64,
            "tokens_here": 64,
            "alpha_bytes": 0,
            "metadata": [],
            "model": codec.model.key.hex(),
            "token_set": "onedpiece-1",
            "model_name": "default",
            "bytes": len(two_tiles),
            "bytes_by_section": {
                "header": section["header"],
                "chunks": 0,
                "tokens": section["tokens"],
            },
            "bpp": round(8 * len(two_tiles) / 80_000, 5),
        }

    def test_a_truncated_file_shows_how_many_tokens_are_present(self, odp, odp_file, two_tiles):
        odp_file.write_bytes(two_tiles[:-30])
        arrived = parse(two_tiles[:-30]).total_tokens
        assert 0 < arrived < 60
        text = f"2 tiles of 32 tokens (truncated: {arrived} of 64 tokens present)"
        assert text.encode() in odp("info", odp_file).stdout
        assert json.loads(odp("info", odp_file, "--json").stdout)["tokens_here"] == arrived

    def test_a_model_that_is_not_installed_does_not_matter(self, odp, tmp_path, uninstalled):
        (tmp_path / "x.odp").write_bytes(uninstalled)
        result = odp("info", tmp_path / "x.odp")
        assert result.code == 0
        assert b"(not installed)" in result.stdout

    def test_it_goes_on_after_a_bad_file(self, odp, odp_file, tmp_path):
        (tmp_path / "bad.odp").write_bytes(b"bad")
        result = odp("info", "--json", tmp_path / "bad.odp", odp_file)
        assert result.code == 1
        first, second = map(json.loads, result.stdout.splitlines())
        assert (first["input"], second["input"]) == (str(tmp_path / "bad.odp"), str(odp_file))
        assert "error" in first and "error" not in second
        assert result.stderr.startswith(f"odp: {tmp_path / 'bad.odp'}: ")
        assert result.stderr.count("\n") == 1

    def test_it_reads_stdin(self, odp, two_tiles):
        result = odp("info", "-", stdin=two_tiles)
        assert result.code == 0
        assert result.stdout.startswith(b"-: 400x200")


class TestTruncate:
    @pytest.mark.parametrize("tokens", [1, 7, 32])
    def test_it_gives_the_bytes_of_encoding_with_fewer_tokens(
        self, odp, odp_file, codec, make_picture, tmp_path, tokens
    ):
        assert odp("truncate", odp_file, tmp_path / "out.odp", "--tokens", tokens) == (0, b"", "")
        encoded = codec.encode(make_picture(400, 200), tokens)
        assert (tmp_path / "out.odp").read_bytes() == encoded

    def test_it_works_in_a_pipe(self, run_odp, two_tiles):
        result = run_odp("truncate", "-", "-", "-n", 3, stdin=two_tiles)
        assert result == (0, truncate(two_tiles, 3), "")

    def test_it_cannot_add_tokens(self, odp, odp_file, tmp_path):
        result = odp("truncate", odp_file, tmp_path / "out.odp", "-n", 33)
        assert result.code == 1
        assert (
            result.stderr
            == f"odp: {odp_file}: 1 to 32 tokens for each 256x256 pixels can be kept, not 33\n"
        )
        assert not (tmp_path / "out.odp").exists()

    def test_it_overwrites_only_with_force(self, odp, odp_file, two_tiles):
        assert odp("truncate", odp_file, odp_file, "-n", 4).code == 1
        assert odp_file.read_bytes() == two_tiles
        assert odp("truncate", odp_file, odp_file, "-n", 4, "--force").code == 0
        assert odp_file.read_bytes() == truncate(two_tiles, 4)


class TestModelsThatAreNotInstalled:
    """A file whose tokens are coded with the tables of a model in some directory."""

    @pytest.fixture
    def directory(self, codec, tmp_path):
        folder = tmp_path / "elsewhere" / "mine"
        shutil.copytree(codec.model.path, folder)
        manifest = json.loads((folder / "model.json").read_text())
        fingerprint = "abcdef" + manifest["token_set"]["fingerprint"][6:]
        manifest |= {"name": "mine", "token_set": {"name": "mine", "fingerprint": fingerprint}}
        manifest["files"]["token-set.safetensors"] = fingerprint
        (folder / "model.json").write_text(json.dumps(manifest))
        return folder

    @pytest.fixture
    def coded(self, directory, make_picture, tmp_path):
        data = Codec(str(directory), "cpu").encode(make_picture(), 64)
        assert EncodedImage.from_bytes(data).header.entropy_coded
        (tmp_path / "x.odp").write_bytes(data)
        return "x.odp"

    def test_info_shows_all_but_the_tokens(self, odp, coded):
        result = odp("info", coded)
        assert result.code == 0
        text = result.stdout.decode()
        assert "256x256 RGB, 1 tile of 64 tokens (not readable without the model)" in text
        assert "token set abcdef (not installed)" in text
        facts = json.loads(odp("info", coded, "--json").stdout)
        assert facts["tokens_here"] is None and facts["tokens_in_all"] == 64

    @pytest.mark.parametrize(
        "verb", [["verify"], ["truncate", "-n", "4"]], ids=["verify", "truncate"]
    )
    def test_what_needs_the_tables_says_so_in_one_line(self, odp, coded, verb, tmp_path):
        result = odp(*verb, coded, *(["out.odp"] if "truncate" in verb else []))
        assert result.code == 1 and result.stdout == b""
        assert result.stderr.startswith("odp: x.odp: the file needs model abcdef")
        assert "--model" in result.stderr and result.stderr.count("\n") == 1
        assert not (tmp_path / "out.odp").exists()

    def test_all_of_them_take_the_model(self, odp, coded, directory, tmp_path):
        assert b"(mine)" in odp("info", coded, "--model", directory).stdout
        assert b"complete\n" in odp("verify", coded, "--model", directory).stdout
        done = odp("truncate", coded, "out.odp", "-n", 4, "--model", directory)
        assert done.code == 0 and 0 < (tmp_path / "out.odp").stat().st_size < 16

    def test_tokens_of_12_bits_are_verified_without_a_model(self, odp, uninstalled, tmp_path):
        (tmp_path / "y.odp").write_bytes(uninstalled)
        result = odp("verify", "y.odp")
        assert result.code == 0 and b"complete, but its model is not installed" in result.stdout


class TestModels:
    def test_the_bundled_model_is_listed(self, odp, codec):
        first, *others = odp("models").stdout.decode().splitlines()
        assert first.split()[:2] == ["default", "97ace4"]
        assert others == [
            "  token set onedpiece-1",
            "  decoder repair, version 4 of 2026-11-27",
            "  decoder natural, version 4 of 2026-11-28",
            "  9 files, all intact",
        ]

    def test_json_has_all_fields_of_a_model(self, odp, codec):
        assert json.loads(odp("models", "--json").stdout) == {
            "name": "default",
            "token_set": codec.model.token_set.to_dict(),
            "fingerprint": codec.model.fingerprint,
            "id": codec.model.key.hex(),
            "decoders": [decoder.to_dict() for decoder in codec.model.decoders],
            "bytes": codec.model.size,
            "precision": "float16",
            "path": str(codec.model.path),
            "files": dict.fromkeys(codec.model.files, "intact"),
            "intact": True,
            "source": {},
        }

    @pytest.mark.parametrize("name", ["token-set.safetensors", "search.onnx"])
    def test_a_changed_file_is_reported(self, odp, codec, tmp_path, monkeypatch, name):
        copy = tmp_path / "models" / "copy"
        shutil.copytree(codec.model.path, copy)
        with (copy / name).open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x01")
        monkeypatch.setenv("ODP_MODELS", str(tmp_path / "models"))
        lines = odp("models").stdout.decode().splitlines()
        assert [line for line in lines if "DAMAGED" in line] == [f"  DAMAGED: {name}"]
        facts = [json.loads(line) for line in odp("models", "--json").stdout.splitlines()]
        assert [fact["intact"] for fact in facts] == [True, False]
        assert facts[1]["files"][name] == "damaged"


@pytest.mark.parametrize("verb", [["info"], ["truncate", "-n", "4"], ["models"]])
def test_no_network_is_loaded(loaded_modules, odp_file, tmp_path, verb):
    argv = ["odp", *verb]
    if verb != ["models"]:
        argv.append(str(odp_file))
    if "truncate" in verb:
        argv.append(str(tmp_path / "out.odp"))
    loaded = loaded_modules(f"sys.argv = {argv}; import onedpiece.cli; onedpiece.cli.main()")
    assert "onedpiece.cli.options" in loaded
    assert not loaded & {"torch", "onnxruntime", "PIL"}
    assert (tmp_path / "out.odp").exists() == ("truncate" in verb)


def test_truncating_to_bytes(odp, odp_file, two_tiles, tmp_path):
    assert odp("truncate", odp_file, tmp_path / "short.odp", "--bytes", 50).code == 0
    data = (tmp_path / "short.odp").read_bytes()
    assert data == truncate(two_tiles, max_bytes=50) and 48 <= len(data) <= 50
    for wrong in ((), ("--bytes", 50, "--tokens", 3)):
        result = odp("truncate", odp_file, tmp_path / "other.odp", *wrong)
        assert result.code == 2 and "--tokens or --bytes" in result.stderr
