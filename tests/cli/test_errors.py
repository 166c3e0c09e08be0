"""Wrong inputs and outputs: one line on stderr, exit code 1, and no new or changed file."""

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from odp_files import parse, sizes
from PIL import Image

from onedpiece.bitstream.header import Header


def zip_file() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("content.xml", "<presentation/>")
    return out.getvalue()


def png_file() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(out, "PNG")
    return out.getvalue()


def truncated_jpeg_file() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(out, "JPEG")
    return out.getvalue()[: len(out.getvalue()) // 2]


def animation() -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


def gigantic_bitmap() -> bytes:
    size = struct.pack("<IiiHHIIiiII", 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + size + bytes(100)


@pytest.fixture
def fails(odp, tmp_path):
    """Runs `odp` (or `run`), checks that it fails cleanly, and gives the line on stderr."""

    def check(*args: object, run=odp, **how: object) -> str:
        before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
        result = run(*args, **how)
        assert result.code == 1
        assert result.stdout == b""
        assert result.stderr.startswith("odp: ")
        assert result.stderr.endswith("\n") and result.stderr.count("\n") == 1
        after = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
        assert after == before
        return result.stderr

    return check


@pytest.fixture
def place(tmp_path):
    """Writes bytes to a file; gives its path."""

    def write(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


@pytest.fixture
def all_fail(odp, tmp_path):
    """Runs `odp decode` and `odp info` on all files together; gives the reasons why they fail."""

    def check(contents: list[bytes]) -> list[str]:
        (tmp_path / "in").mkdir()
        names = [f"in/{number:03d}.odp" for number in range(len(contents))]
        for name, data in zip(names, contents, strict=True):
            (tmp_path / name).write_bytes(data)
        info = odp("info", "in")
        decode = odp("decode", "in", "--out-dir", "out")
        assert (info.code, info.stdout, decode.code, decode.stdout) == (1, b"", 1, b"")
        *reasons, summary = decode.stderr.splitlines()
        assert [line.split(": ")[1] for line in reasons] == names
        assert summary == f"odp: 0 done, 0 skipped, {len(names)} failed"
        assert [line.split(": ")[1] for line in info.stderr.splitlines()] == names
        assert not (tmp_path / "out").exists()
        return reasons

    return check


NOT_ODP = [
    (b"", "the file is empty"),
    (zip_file(), "OpenDocument Presentation"),
    (png_file(), "this is a PNG picture already"),
    (b"just some text", "not a One-D-Piece picture"),
    (b"\x1dP\x10", "lost their eighth bit"),
]
NOT_PICTURES = [
    (b"", "not a picture"),
    (zip_file(), "not a picture"),
    (truncated_jpeg_file(), "cannot be read"),
    (animation(), "several frames"),
    (gigantic_bitmap(), "than allowed"),
]


class TestInputOfDecode:
    @pytest.mark.parametrize("data, why", NOT_ODP, ids=[why for _, why in NOT_ODP])
    def test_files_that_are_not_odp_files(self, fails, place, tmp_path, data, why):
        source = place("in.odp", data)
        assert why in fails("decode", source, tmp_path / "out.png")
        assert why in fails("truncate", source, tmp_path / "out.odp", "-n", 1)
        assert why in fails("info", source)

    @pytest.mark.parametrize("kind", ["one_tile", "two_tiles"])
    def test_a_header_that_is_truncated_anywhere(self, all_fail, kind, request):
        data = request.getfixturevalue(kind)
        header_size = sizes(parse(data))["header"]
        reasons = all_fail([data[:end] for end in range(1, header_size)])
        assert all("truncated" in reason for reason in reasons)

    @pytest.mark.parametrize("kind", ["one_tile", "two_tiles"])
    def test_any_flipped_bit_of_the_header(self, all_fail, kind, request):
        data = request.getfixturevalue(kind)
        flipped = []
        for bit in range(8 * sizes(parse(data))["header"]):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            flipped.append(bytes(damaged))
        all_fail(flipped)

    def test_bytes_after_the_end(self, fails, place, one_tile, tmp_path):
        source = place("in.odp", one_tile + b"!")
        assert "bytes after the last" in fails("decode", source, tmp_path / "out.png")

    def test_a_model_that_is_not_installed(self, fails, place, uninstalled, tmp_path):
        why = fails("decode", place("in.odp", uninstalled), tmp_path / "out.png")
        assert parse(uninstalled).header.model.hex() in why
        assert "--model" in why and os.environ["ODP_MODELS"] in why

    def test_in_a_process_of_its_own(self, fails, place, run_odp, one_tile):
        place("flipped.odp", one_tile[:4] + bytes([one_tile[4] ^ 1]) + one_tile[5:])
        assert "checksum" in fails("decode", "flipped.odp", "out.png", run=run_odp)
        assert "odp: -: the file is empty" in fails("decode", "-", "-", stdin=b"")


class TestInputOfEncode:
    @pytest.mark.parametrize("data, why", NOT_PICTURES, ids=[why for _, why in NOT_PICTURES])
    def test_files_that_are_not_pictures(self, fails, place, tmp_path, data, why):
        assert why in fails("encode", place("in.png", data), tmp_path / "out.odp")

    def test_an_odp_file(self, fails, place, one_tile, tmp_path):
        source = place("in.odp", one_tile)
        assert "an .odp picture already" in fails("encode", source, tmp_path / "out.odp")

    def test_in_a_process_of_its_own(self, fails, place, run_odp):
        place("half.jpg", truncated_jpeg_file())
        fails("encode", "half.jpg", "out.odp", run=run_odp)
        fails("encode", "-", "-", stdin=b"just some text")

    def test_a_broken_tiff_for_which_libtiff_prints_errors(self, fails, place):
        out = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
        Image.fromarray(noise).save(out, "TIFF", compression="tiff_lzw")
        broken = bytearray(out.getvalue())
        broken[1000:1100] = bytes(100)
        place("in.tif", bytes(broken))
        assert "cannot be read" in fails("encode", "in.tif", "out.odp")

    def test_a_picture_with_broken_metadata_is_encoded_or_refused_in_one_line(
        self, run_odp, place, make_picture, tmp_path
    ):
        exif = Image.Exif()
        exif[0x010E] = "description"
        out = io.BytesIO()
        make_picture(20, 20).save(out, "JPEG", exif=exif)
        broken = out.getvalue().replace(b"\x01\x0e\x00\x02", b"\x01\x0e\x00\x04")
        assert broken != out.getvalue()
        place("in.jpg", broken)
        result = run_odp("encode", "in.jpg", "out.odp")
        assert (result.code, result.stderr.count("\n")) in {(0, 1), (1, 1)}
        assert (tmp_path / "out.odp").exists() == (result.code == 0)


@pytest.mark.parametrize("verb, out", [("encode", "o.odp"), ("decode", "o.png"), ("info", None)])
class TestMissingInput:
    def test_a_missing_file(self, fails, tmp_path, verb, out):
        outputs = [tmp_path / out] if out else []
        assert "No such file" in fails(verb, tmp_path / "missing", *outputs)

    def test_a_folder_with_nothing_in_it(self, fails, tmp_path, verb, out):
        outputs = ["--out-dir", tmp_path / "new"] if out else []
        (tmp_path / "folder").mkdir()
        assert "the folder holds no " in fails(verb, tmp_path / "folder", *outputs)


@pytest.mark.parametrize("verb", ["encode", "decode", "verify", "info"])
def test_a_file_that_nobody_may_read_is_no_wrong_usage(odp, place, tmp_path, monkeypatch, verb):
    """It fails when it is read, so that other inputs go on."""
    source = place("in.odp", b"bad")
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    out = ["--out-dir", tmp_path / "out"] if verb in {"encode", "decode"} else []
    assert odp(verb, source, *out).code == 1


class TestModel:
    @pytest.mark.parametrize("verb, out", [("encode", "out.odp"), ("decode", "out.png")])
    def test_a_name_that_is_not_installed(self, fails, place, tmp_path, verb, out):
        source = place("in.png", png_file())
        why = fails(verb, source, tmp_path / out, "--model", "no-such-model")
        assert "no model 'no-such-model'" in why and "odp models" in why

    def test_a_folder_that_holds_none(self, fails, place, tmp_path):
        source = place("in.png", png_file())
        assert "no model in" in fails("encode", source, tmp_path / "o.odp", "--model", tmp_path)

    def test_a_graph_that_cannot_be_loaded(self, fails, place, codec, tmp_path):
        broken = tmp_path / "broken"
        broken.mkdir()
        for name in ("model.json", *codec.model.files):
            (broken / name).write_bytes((codec.model.path / name).read_bytes())
        (broken / "model.json").write_text(
            (broken / "model.json").read_text().replace('"default"', '"broken"', 1)
        )
        (broken / "encoder.onnx").write_bytes(b"no graph")
        source = place("in.png", png_file())
        assert "cannot be loaded" in fails("encode", source, tmp_path / "o.odp", "--model", broken)

    def test_cuda_where_there_is_none(self, fails, place):
        from onedpiece.runtime.onnx import has_driver

        if has_driver():
            pytest.skip("there is an NVIDIA driver here")
        place("in.png", png_file())
        why = fails("encode", "in.png", "out.odp", "--device", "cuda")
        assert "CUDA does not work here" in why


class TestOutput:
    def test_an_output_of_encode_that_is_named_like_a_picture(self, odp, place):
        """`odp encode *.png` with two matches must not overwrite the second one."""
        first, second = place("a.png", png_file()), place("b.png", png_file())
        before = second.read_bytes()
        result = odp("encode", "--force", first, second)
        assert result.code == 2
        assert "--out-dir" in result.stderr
        assert second.read_bytes() == before

    @pytest.mark.parametrize("folder", ["missing", "file"])
    def test_a_folder_that_does_not_exist(self, fails, place, one_tile, tmp_path, folder):
        place("file", b"not a folder")
        source, picture = place("in.odp", one_tile), place("in.png", png_file())
        into = tmp_path / folder
        assert "cannot be written" in fails("decode", source, into / "out.png")
        assert "cannot be written" in fails("encode", picture, into / "out.odp")
        assert "cannot be written" in fails("truncate", source, into / "out.odp", "-n", 1)

    def test_a_folder_in_place_of_a_file(self, fails, place, one_tile, tmp_path):
        source = place("in.odp", one_tile)
        assert "use --out-dir" in fails("decode", source, tmp_path)
        assert "use --out-dir" in fails("decode", source, tmp_path, "--force")

    def test_a_file_in_place_of_a_folder(self, fails, place, one_tile):
        source, file = place("in.odp", one_tile), place("file", b"not a folder")
        assert "cannot be created" in fails("decode", source, "--out-dir", file)

    @pytest.mark.parametrize("name", ["out.xyz", "out", "out.odp", "out.ico", "out.pdf"])
    def test_a_format_that_cannot_be_written(self, fails, place, one_tile, tmp_path, name):
        why = fails("decode", place("in.odp", one_tile), tmp_path / name)
        assert "not that of a writable picture format" in why

    def test_a_size_that_the_output_format_cannot_hold(self, fails, place, codec, tmp_path):
        header = Header(17_000, 1, 1, codec.model.key)  # and no token: nothing to compute
        source = place("in.odp", header.pack())
        assert "cannot be written" in fails("decode", source, tmp_path / "out.webp")


class TestDebug:
    @pytest.mark.parametrize("verb", [["decode"], ["truncate", "-n", "1"]])
    def test_a_traceback_is_printed_on_request(self, run_odp, place, verb):
        place("in.odp", b"bad")
        result = run_odp("--debug", *verb, "in.odp", "out.png")
        assert result.code == 1
        assert "Traceback" in result.stderr and "NotAnOdpFile" in result.stderr
