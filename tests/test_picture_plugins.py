"""HEIC and JPEG XL: read where the package of the format is installed."""

import io
import sys

import numpy as np
import pytest
from PIL import Image, features

from onedpiece.errors import LimitExceeded, PictureError
from onedpiece.images import jxl
from onedpiece.images.plugins import plugin_of
from onedpiece.images.reader import ReadOptions, open_picture, suffixes

# The beginnings of files of other programs: an iPhone, libheif, libavif, cjxl.
HEIC = b"\0\0\0\x24ftypheic\0\0\0\0mif1MiHBMiHEheic"
AVIF = b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B"
AVIF_AS_MIF1 = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf"
PACKAGES = pytest.mark.parametrize(
    "beginning, module, package",
    [
        (HEIC, "pillow_heif", "pillow-heif"),
        (jxl.CODESTREAM + bytes(20), "pillow_jxl", "pillow-jxl-plugin"),
        (jxl.CONTAINER + bytes(20), "pillow_jxl", "pillow-jxl-plugin"),
    ],
)


def saved(image, name, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


@pytest.fixture
def heif():
    module = pytest.importorskip("pillow_heif", reason="needs pillow-heif")
    module.register_heif_opener()
    if "HEIF" not in Image.SAVE:
        pytest.skip("this pillow-heif has no encoder")


@pytest.fixture
def pillow_jxl():
    return pytest.importorskip("pillow_jxl", reason="needs pillow-jxl-plugin")


@PACKAGES
def test_a_missing_package_is_named(beginning, module, package, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)  # importing it raises ImportError
    with pytest.raises(PictureError, match=f"pip install {package}"):
        open_picture(beginning)


@PACKAGES
def test_damaged_files_are_errors(beginning, module, package):
    pytest.importorskip(module, reason=f"needs {package}")
    with pytest.raises(PictureError):
        open_picture(beginning)


def test_folders_list_these_pictures():
    assert {".heic", ".heif", ".jxl", ".png"} <= suffixes()


def test_nothing_is_imported_for_other_pictures(loaded_modules, make_picture):
    data = saved(make_picture(8, 8), "PNG")
    code = f"from onedpiece.images.reader import open_picture; open_picture({data!r})"
    assert not loaded_modules(code) & {"pillow_heif", "pillow_jxl"}


def test_avif_needs_no_package():
    assert plugin_of(AVIF) is None and plugin_of(AVIF_AS_MIF1) is None
    assert plugin_of(HEIC).format == "HEIF"
    if features.check("avif"):
        assert plugin_of(saved(Image.new("RGB", (8, 8)), "AVIF")) is None


class TestHeif:
    def test_a_picture_is_read(self, heif, make_picture):
        image = make_picture(64, 48)
        picture = open_picture(saved(image, "HEIF", quality=95))
        assert picture.pixels.shape == (48, 64, 3) and picture.alpha is None
        assert np.abs(picture.pixels - np.asarray(image, float)).mean() < 4

    def test_it_is_upright(self, heif, make_picture):
        exif = Image.Exif()
        exif[0x0112] = 6
        picture = open_picture(saved(make_picture(64, 48), "HEIF", exif=exif.tobytes()))
        assert picture.pixels.shape == (64, 48, 3)

    def test_transparency_is_kept(self, heif):
        clear = Image.new("RGBA", (32, 32), (200, 0, 0, 0))
        assert open_picture(saved(clear, "HEIF")).alpha.max() < 10

    def test_larger_pictures_are_refused_before_they_are_decoded(self, heif, make_picture):
        data = saved(make_picture(64, 48), "HEIF")
        with pytest.raises(LimitExceeded):
            open_picture(data, ReadOptions(max_pixels=64 * 48 - 1))

    def test_the_command_line_encodes_it(self, heif, make_picture, odp, tmp_path):
        folder = tmp_path / "phone"
        folder.mkdir()
        (folder / "a.HEIC").write_bytes(saved(make_picture(64, 48), "HEIF"))
        assert odp("encode", folder, "--out-dir", tmp_path / "out", "-n", 4).code == 0
        assert (tmp_path / "out" / "a.odp").exists()


class TestJpegXl:
    @pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
    def test_a_picture_is_read(self, pillow_jxl, make_picture, mode):
        image = make_picture(64, 48).convert(mode)
        picture = open_picture(saved(image, "JXL", lossless=True))
        assert picture.grey is (mode == "L")
        assert np.array_equal(picture.pixels, np.asarray(image.convert("RGB")))

    @pytest.mark.parametrize("container", [True, False])
    @pytest.mark.parametrize(
        "size", [(1, 1), (64, 64), (256, 8), (8, 256), (300, 200), (1000, 3), (160, 90), (9000, 2)]
    )
    def test_its_size_is_known_from_the_header(self, pillow_jxl, size, container):
        options = {"exif": b"Exif\0\0II*\0" + bytes(40)} if container else {}
        data = saved(Image.new("L", size), "JXL", **options)
        assert data.startswith(jxl.CONTAINER if container else jxl.CODESTREAM)
        assert jxl.size(io.BytesIO(data)) == size

    @pytest.mark.parametrize("ratio", [(1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1)])
    def test_so_it_is_with_a_ratio_of_its_sides(self, pillow_jxl, ratio):
        size = 60 * ratio[0], 60 * ratio[1]
        assert jxl.size(io.BytesIO(saved(Image.new("L", size), "JXL"))) == size

    def test_larger_pictures_are_refused_before_they_are_decoded(
        self, pillow_jxl, make_picture, monkeypatch
    ):
        data = saved(make_picture(64, 48), "JXL")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)

        def decoder(*args, **options):
            raise AssertionError("it is decoded")

        monkeypatch.setattr("pillow_jxl.JpegXLImagePlugin.Decoder", decoder)
        with pytest.raises(LimitExceeded, match="3072 pixels"):
            open_picture(data)

    def test_a_container_without_a_picture_is_damaged(self):
        for boxes in (b"", b"\0\0\0\x08free" * 2000, b"\0\0\0\0free", b"\0\0\0\x09jxlcx"):
            with pytest.raises(PictureError, match="damaged"):
                jxl.size(io.BytesIO(jxl.CONTAINER + boxes))
