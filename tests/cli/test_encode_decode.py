"""`odp encode`, `odp decode` and `odp verify` on one file."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from odp_files import build, parse, sizes, truncate
from PIL import Image, ImageCms

from onedpiece.bitstream.chunks import EXIF, Chunk, compress
from onedpiece.bitstream.header import Header
from onedpiece.metrics import psnr
from onedpiece.runtime import onnx


@pytest.fixture
def picture_file(tmp_path, make_picture):
    path = tmp_path / "in.png"
    make_picture(400, 200).save(path)
    return path


@pytest.fixture
def odp_file(tmp_path, two_tiles):
    path = tmp_path / "in.odp"
    path.write_bytes(two_tiles)
    return path


def without_tokens(data: bytes) -> bytes:
    """A truncated file, which decodes to a blank picture without any network."""
    section = sizes(parse(data))
    return data[: section["header"] + section["chunks"]]


class TestEncode:
    def test_it_writes_what_the_library_gives_and_says_so(
        self, run_odp, picture_file, codec, make_picture, tmp_path
    ):
        result = run_odp("encode", picture_file, "out.odp", "--tokens", 32, "--device", "cpu")
        assert (result.code, result.stdout) == (0, b"")
        data = (tmp_path / "out.odp").read_bytes()
        assert data == codec.encode(make_picture(400, 200), 32)
        bpp = 8 * len(data) / (400 * 200)
        assert result.stderr == (
            f"{picture_file} -> out.odp  400x200, 32 tokens, {len(data)} bytes, {bpp:.4f} bpp\n"
        )

    def test_without_tokens_it_takes_256(self, odp, picture_file, tmp_path):
        assert odp("encode", picture_file, "out.odp").code == 0
        assert parse((tmp_path / "out.odp").read_bytes()).header.tokens_per_tile == 256

    def test_quiet_says_nothing(self, odp, picture_file):
        assert odp("encode", picture_file, "out.odp", "--quiet") == (0, b"", "")

    def test_json_is_a_line_on_stdout_and_nothing_else(self, odp, picture_file, tmp_path):
        result = odp("encode", picture_file, "out.odp", "-n", 8, "--json")
        assert (result.code, result.stderr) == (0, "")
        (line,) = result.stdout.splitlines()
        size = (tmp_path / "out.odp").stat().st_size
        assert json.loads(line) == {
            "input": str(picture_file),
            "output": "out.odp",
            "width": 400,
            "height": 200,
            "tokens": 8,
            "bytes": size,
            "bpp": round(8 * size / 80_000, 5),
        }

    def test_a_model_directory_stands_in_for_a_name(self, odp, picture_file, codec, tmp_path):
        assert odp("encode", picture_file, "out.odp", "--model", codec.model.path).code == 0
        assert parse((tmp_path / "out.odp").read_bytes()).header.model == codec.model.key

    def test_from_stdin_to_stdout(self, run_odp, picture_file, codec, make_picture):
        result = run_odp("encode", "-", "-", "-n", 16, stdin=picture_file.read_bytes())
        assert result.code == 0
        assert result.stdout == codec.encode(make_picture(400, 200), 16)


class TestDecode:
    def test_the_picture_is_what_the_library_gives(
        self, run_odp, odp_file, codec, two_tiles, tmp_path
    ):
        result = run_odp("decode", odp_file, "out.png", "--device", "cpu")
        assert (result.code, result.stdout) == (0, b"")
        assert result.stderr == f"{odp_file} -> out.png  400x200, 32 tokens used\n"
        with Image.open(tmp_path / "out.png") as decoded:
            difference = np.asarray(decoded, int) - np.asarray(codec.decode(two_tiles), int)
        assert abs(difference).max() <= 1

    @pytest.mark.parametrize(
        "names, once",
        [
            (["one.odp", "o.png"], True),
            (["two.odp", "o.png"], False),
            (["one.odp", "two.odp", "--out-dir", "o"], False),
        ],
    )
    def test_it_is_said_before_loading_whether_a_network_runs_once(
        self, odp, one_tile, two_tiles, tmp_path, monkeypatch, names, once
    ):
        asked = []
        monkeypatch.setattr(onnx, "start_loading", lambda *given: asked.append(given[-1]))
        (tmp_path / "one.odp").write_bytes(one_tile)
        (tmp_path / "two.odp").write_bytes(without_tokens(two_tiles))
        assert odp("decode", *names).code == 0
        assert asked == [once]

    @pytest.mark.parametrize(
        "name, format", [("o.png", "PNG"), ("o.jpg", "JPEG"), ("o.WEBP", "WEBP"), ("o.ppm", "PPM")]
    )
    def test_the_extension_of_the_output_says_the_format(
        self, odp, two_tiles, tmp_path, name, format
    ):
        assert odp("decode", "-", name, stdin=without_tokens(two_tiles)).code == 0
        with Image.open(tmp_path / name) as decoded:
            assert (decoded.format, decoded.size) == (format, (400, 200))

    def test_tokens_use_a_prefix(self, odp, odp_file, two_tiles, tmp_path):
        (tmp_path / "short.odp").write_bytes(truncate(two_tiles, 5))
        result = odp("decode", odp_file, "prefix.png", "--tokens", 5)
        assert "5 tokens used" in result.stderr
        assert odp("decode", "short.odp", "short.png").code == 0
        assert (tmp_path / "prefix.png").read_bytes() == (tmp_path / "short.png").read_bytes()

    def test_realism_can_be_chosen(self, odp, one_tile, tmp_path):
        choices = {"default": (), "real": ("--realism", 1), "faithful": ("--realism", 0)}
        for name, options in choices.items():
            assert odp("decode", "-", f"{name}.png", *options, stdin=one_tile).code == 0
        default, real, faithful = ((tmp_path / f"{name}.png").read_bytes() for name in choices)
        assert default == real != faithful

    def test_a_truncated_file_is_decoded_with_a_warning(self, odp, two_tiles, tmp_path):
        header = sizes(parse(two_tiles))["header"]
        (tmp_path / "short.odp").write_bytes(
            two_tiles[: header + 3 * 10]
        )  # 2 tiles: 3 bytes a token
        result = odp("decode", "short.odp", "out.png")
        assert result.code == 0
        assert result.stderr == (
            "short.odp -> out.png  400x200, 10 tokens used\n"
            "odp: short.odp: the file is truncated: it has 20 of 64 tokens\n"
        )
        (tmp_path / "short.odp").write_bytes(two_tiles[: header + 3])
        result = odp("decode", "short.odp", "out.png", "--json", "--force")
        facts = json.loads(result.stdout)
        assert (facts["tokens"], facts["tokens_in_complete_file"]) == (1, 32)

    def test_a_file_truncated_after_its_header_is_blank(self, odp, one_tile, codec, tmp_path):
        result = odp("decode", "-", "out.png", stdin=without_tokens(one_tile))
        assert "the file is truncated: it has 0 of 64 tokens" in result.stderr
        with Image.open(tmp_path / "out.png") as decoded:
            assert (np.asarray(decoded) == codec.model.blank).all()

    def test_stdout_is_a_clean_png(self, run_odp, two_tiles):
        result = run_odp("decode", "-", "-", stdin=two_tiles)
        assert result.code == 0
        with Image.open(io.BytesIO(result.stdout)) as decoded:
            decoded.load()
            assert (decoded.format, decoded.size) == ("PNG", (400, 200))

    def test_the_name_of_an_input_does_not_matter(self, odp, two_tiles, tmp_path):
        (tmp_path / "photo.bin").write_bytes(without_tokens(two_tiles))
        assert odp("decode", "photo.bin", "out.png").code == 0


class TestOverwriting:
    @pytest.mark.parametrize("verb, name", [("encode", "out.odp"), ("decode", "out.png")])
    def test_only_with_force(self, odp, picture_file, odp_file, tmp_path, verb, name):
        source = picture_file if verb == "encode" else odp_file
        (tmp_path / name).write_bytes(b"precious")
        result = odp(verb, source, name)
        assert result.code == 1
        assert result.stderr == f"odp: {source}: {name} exists: use --force to overwrite it\n"
        assert (tmp_path / name).read_bytes() == b"precious"
        assert odp(verb, source, name, "--force").code == 0
        assert (tmp_path / name).read_bytes() != b"precious"

    @pytest.mark.skipif(
        sys.platform == "win32", reason="named pipes are files only on POSIX systems"
    )
    def test_a_named_pipe_is_written_to_and_stays_one(self, odp, odp_file, tmp_path):
        pipe = tmp_path / "pipe.png"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            # The output must fit into the pipe, which is only read afterwards.
            assert odp("decode", odp_file, pipe, "-n", 1, "--realism", 0).code == 0
            assert os.read(reader, 8) == b"\x89PNG\r\n\x1a\n"
        finally:
            os.close(reader)
        assert pipe.is_fifo()


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["encode"],
            ["encode", "in.png"],
            ["encode", "in.png", "out.odp", "third"],
            ["encode", "in.png", "out.odp", "--tokens", "0"],
            ["encode", "in.png", "out.odp", "--tokens", "1025"],
            ["encode", "in.png", "-", "--json"],
            ["encode", "-", "--out-dir", "out"],
            ["encode", "in.png", "out.odp", "--device", "abacus"],
            ["decode", "in.odp", "out.png", "--tokens", "many"],
            ["decode", "in.odp", "out.png", "--realism", "1.5"],
            ["decode", "in.odp", "out.png", "--realism", "nan"],
            ["decode", "in.odp", "-", "--json"],
            ["truncate", "in.odp", "out.odp"],
            ["info"],
            ["no-such-verb"],
            ["encode", "--no-such-option", "in.png", "out.odp"],
        ],
        ids=" ".join,
    )
    def test_wrong_usage_is_exit_code_2(self, odp, arguments):
        result = odp(*arguments)
        assert (result.code, result.stdout) == (2, b"")
        assert "Usage:" in result.stderr

    def test_help_lists_the_verbs(self, odp):
        result = odp("--help")
        assert result.code == 0
        for verb in (b"encode", b"decode", b"info", b"truncate", b"models"):
            assert verb in result.stdout

    def test_the_version_is_that_of_the_package(self, odp):
        import onedpiece

        assert odp("--version").stdout.decode() == f"odp {onedpiece.__version__}\n"

    @pytest.mark.parametrize("verb", [[], ["encode"], ["decode"]])
    def test_help_loads_nothing_large(self, loaded_modules, verb):
        loaded = loaded_modules(
            f"sys.argv = {['odp', *verb, '--help']}; import onedpiece.cli; onedpiece.cli.main()"
        )
        assert "onedpiece.cli.typed" in loaded
        assert not loaded & {"torch", "onnxruntime", "numpy", "PIL", "rich"}


def test_a_closed_stdout_gives_no_traceback(tmp_path, one_tile):
    (tmp_path / "in.odp").write_bytes(without_tokens(one_tile))
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "onedpiece.cli", "decode", "--quiet", "in.odp", "-"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


class TestTargets:
    @pytest.mark.parametrize("option, value, size", [("--bytes", 100, 100), ("--bpp", 0.015, 150)])
    def test_a_size_is_almost_reached_but_not_exceeded(
        self, odp, picture_file, option, value, size
    ):
        data = odp("encode", option, value, picture_file, "-").stdout
        assert size - 3 <= len(data) <= size

    def test_a_psnr_is_reached(self, odp, make_picture, tmp_path):
        make_picture(60, 40).save(tmp_path / "in.png")
        assert odp("encode", "--psnr", 18, "in.png", "x.odp").code == 0
        assert parse((tmp_path / "x.odp").read_bytes()).header.tokens_per_tile < 256
        assert odp("decode", "x.odp", "x.png").code == 0
        with Image.open(tmp_path / "in.png") as a, Image.open(tmp_path / "x.png") as b:
            assert psnr(np.asarray(a), np.asarray(b)) >= 18

    def test_any_number_of_bits_is_the_whole_picture(self, odp, make_picture, tmp_path):
        make_picture().save(tmp_path / "in.png")
        assert odp("encode", tmp_path / "in.png", tmp_path / "x.odp", "--bpp", "1e307").code == 0
        assert parse((tmp_path / "x.odp").read_bytes()).total_tokens == 1024

    def test_a_target_that_cannot_be_met_says_what_is_possible(self, odp, make_picture, tmp_path):
        make_picture().save(tmp_path / "in.png")
        result = odp("encode", "--bytes", 5, tmp_path / "in.png", tmp_path / "out.odp")
        assert result.code == 1
        assert "5 bytes are not enough: the least for this picture is " in result.stderr
        assert not (tmp_path / "out.odp").exists()

    @pytest.mark.parametrize(
        "options", [("--bytes", 99, "--tokens", 5), ("--bpp", 1, "--psnr", 20), ("--bpp", "nan")]
    )
    def test_exactly_one_target(self, odp, options):
        result = odp("encode", *options, "in.png", "out.odp")
        assert result.code == 2 and "one of --tokens, --bytes, --bpp and --psnr" in result.stderr


class TestTransparencyAndMetadata:
    @pytest.fixture
    def logo(self, tmp_path, make_picture):
        image = make_picture(200, 100).convert("RGBA")
        image.putalpha(Image.linear_gradient("L").resize((200, 100)))
        exif = Image.Exif()
        exif[0x010E] = "a logo"
        image.save(tmp_path / "logo.png", exif=exif)
        return tmp_path / "logo.png"

    def test_alpha_is_kept_and_info_shows_its_size(self, odp, logo, tmp_path):
        assert odp("encode", logo, tmp_path / "x.odp", "-n", 32).code == 0
        facts = json.loads(odp("info", tmp_path / "x.odp", "--json").stdout)
        assert facts["mode"] == "RGB with alpha" and 10 < facts["alpha_bytes"] < 300
        assert b"; alpha " in odp("info", tmp_path / "x.odp").stdout
        assert odp("decode", tmp_path / "x.odp", tmp_path / "y.png").code == 0
        with Image.open(tmp_path / "y.png") as decoded:
            assert decoded.mode == "RGBA"

    def test_a_format_without_transparency_is_refused(self, odp, logo, tmp_path):
        data = without_tokens(odp("encode", logo, "-", "-n", 2).stdout)
        for name in ("y.jpg", "y.bmp", "y.gif", "y.ppm"):
            result = odp("decode", "-", name, stdin=data)
            assert result.code == 1 and "use --background" in result.stderr
            assert not (tmp_path / name).exists()
        assert odp("decode", "-", "y.jpg", "--background", "red", stdin=data).code == 0

    def test_a_background_takes_the_place_of_transparency(self, odp, logo, tmp_path):
        assert odp("encode", logo, tmp_path / "x.odp", "-n", 2, "--background", "#ff0000").code == 0
        assert odp("decode", tmp_path / "x.odp", tmp_path / "y.jpg").code == 0
        assert odp("encode", logo, tmp_path / "z.odp", "--background", "nocolour").code == 2

    @pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
    def test_formats_with_transparency_take_all_pictures(self, odp, codec, tmp_path, mode):
        image = Image.new(mode.rstrip("A"), (60, 60), "grey")
        if mode.endswith("A"):
            image.putalpha(Image.linear_gradient("L").resize((60, 60)))
        data = without_tokens(codec.encode(image, 2))
        Image.init()
        for suffix in (".png", ".webp", ".tif", ".jp2", ".tga", ".sgi", ".qoi"):
            if Image.registered_extensions()[suffix] in Image.SAVE:  # not in every Pillow
                assert odp("decode", "-", f"y{suffix}", stdin=data).code == 0
                with Image.open(tmp_path / f"y{suffix}") as decoded:
                    assert decoded.has_transparency_data == mode.endswith("A")

    def test_a_format_without_profiles_gets_the_colours_of_srgb(self, odp, tmp_path):
        """A profile that exchanges red and green stands for any other."""
        profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        red, green = profile.find(b"rXYZ"), profile.find(b"gXYZ")
        profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
        red_in_file = Image.new("RGB", (60, 60), (220, 30, 30))
        red_in_file.save(tmp_path / "in.png", icc_profile=bytes(profile))
        odp("encode", tmp_path / "in.png", tmp_path / "x.odp", "--metadata", "icc")
        odp("decode", tmp_path / "x.odp", tmp_path / "x.png")
        odp("decode", tmp_path / "x.odp", tmp_path / "x.bmp")
        with Image.open(tmp_path / "x.png") as kept, Image.open(tmp_path / "x.bmp") as converted:
            assert np.asarray(kept)[..., 0].mean() > 200
            assert np.asarray(converted)[..., 1].mean() > 200

    def test_metadata_is_kept_on_request(self, odp, make_picture, tmp_path):
        exif = Image.Exif()
        exif[0x010E] = "a gradient"
        xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        make_picture().save(tmp_path / "in.jpg", exif=exif, xmp=xmp, icc_profile=profile)
        assert len(odp("encode", "in.jpg", "-", "-n", 2).stdout) < 15
        data = odp("encode", "in.jpg", "-", "-n", 2, "--metadata", "exif,icc,xmp").stdout
        facts = json.loads(odp("info", "-", "--json", stdin=data).stdout)
        assert facts["metadata"] == ["exif", "icc", "xmp"]
        for name in ("out.png", "out.jpg", "out.webp", "out.tif"):
            assert odp("decode", "-", name, stdin=without_tokens(data)).code == 0
            with Image.open(tmp_path / name) as image:
                assert image.getexif()[0x010E] == "a gradient"
                assert image.info["icc_profile"] == profile
                stored = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
                assert stored == xmp


def test_broken_metadata_is_reported_in_one_line(odp, codec, tmp_path):
    header, tokens = Header(256, 256, 1, codec.model.key), np.array([[5]])
    data = build(header, tokens, [Chunk(EXIF, compress(b"garbage!"))])
    (tmp_path / "x.odp").write_bytes(data)
    result = odp("decode", "x.odp", "y.tif")
    assert result.code == 1 and result.stderr.count("\n") == 1


class TestVerify:
    def test_a_complete_file(self, odp, one_tile, tmp_path):
        (tmp_path / "x.odp").write_bytes(one_tile)
        result = odp("verify", tmp_path / "x.odp")
        assert (result.code, result.stdout.decode()) == (0, f"{tmp_path / 'x.odp'}: complete\n")

    def test_a_picture_of_any_size(self, odp, codec, tmp_path):
        header = Header(30_000, 30_000, 1, codec.model.key)
        tokens = np.zeros((header.grid.count, 1), np.uint16)
        (tmp_path / "x.odp").write_bytes(build(header, tokens))
        assert odp("verify", tmp_path / "x.odp").code == 0

    def test_truncated_and_damaged_files(self, odp, one_tile, tmp_path):
        bad = {
            "truncated": (one_tile[:-1], "the file is truncated: "),
            "damaged": (one_tile[:6] + b"\xff" + one_tile[7:], "damaged"),
            "longer": (one_tile + b"\0", "after the last"),
        }
        for name, (data, message) in bad.items():
            (tmp_path / name).write_bytes(data)
            result = odp("verify", tmp_path / name)
            assert result.code == 1 and message in result.stderr, name

    def test_a_tree_and_a_list_of_files(self, odp, one_tile, tmp_path):
        (tmp_path / "tree" / "deep").mkdir(parents=True)
        (tmp_path / "tree" / "a.odp").write_bytes(one_tile)
        (tmp_path / "tree" / "deep" / "b.odp").write_bytes(one_tile[:-1])
        for arguments, listed in (
            (["-r", "tree"], b""),
            (["--files-from", "-"], b"tree/a.odp\ntree/deep/b.odp\n"),
        ):
            result = odp("verify", *arguments, "--json", stdin=listed)
            good, bad = map(json.loads, result.stdout.splitlines())
            assert result.code == 1
            assert good == {"input": "tree/a.odp", "complete": True, "model_installed": True}
            assert bad["input"] == "tree/deep/b.odp" and "is truncated" in bad["error"]
            assert odp("info", *arguments, stdin=listed).stdout.count(b"256x256 RGB") == 2

    def test_decode_can_refuse_truncated_files(self, odp, one_tile, tmp_path):
        (tmp_path / "x.odp").write_bytes(one_tile[:-1])
        result = odp("decode", "--no-allow-truncated", tmp_path / "x.odp", tmp_path / "y.png")
        assert result.code == 1 and "it has 63 of 64 tokens" in result.stderr
        assert not (tmp_path / "y.png").exists()
        assert odp("decode", tmp_path / "x.odp", tmp_path / "y.png").code == 0


@pytest.mark.parametrize(
    "words, completed", [("odp ver", b"verify\n"), ("odp encode --met", b"--metadata\n")]
)
def test_a_shell_can_complete_verbs_and_options(words, completed):
    completion = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['odp']; import onedpiece.cli as o; o.main()",
        ],
        capture_output=True,
        env={**os.environ, **completion, "_ODP_COMPLETE": "complete_bash"},
    )
    assert done.stdout == completed


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell with >&-")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_matter(one_tile, tmp_path, closed):
    (tmp_path / "x.odp").write_bytes(without_tokens(one_tile))
    command = f"{sys.executable} -m onedpiece.cli decode x.odp x.png {closed}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    with Image.open(tmp_path / "x.png") as decoded:
        assert decoded.size == (256, 256)
