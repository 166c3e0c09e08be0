"""The Pillow plugin: what Pillow's own plugins do, and what is special about .odp."""

import contextlib
import gc
import io
import pickle
import warnings

import numpy as np
import pytest
from odp_files import build
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError, features

import onedpiece
import onedpiece.pillow
from onedpiece.bitstream.allocation import Allocation
from onedpiece.bitstream.chunks import ALPHA, EXIF, ICC, Chunk
from onedpiece.bitstream.header import Header
from onedpiece.constants import DEFAULT_TOKEN_SET

AVIF = pytest.param(
    "AVIF", marks=pytest.mark.skipif(not features.check("avif"), reason="needs Pillow with AVIF")
)
FORMATS = pytest.mark.parametrize("name", ["ODP", "QOI", AVIF])
WITH_METADATA = pytest.mark.parametrize("name", ["ODP", AVIF])
DESCRIPTION = 0x010E  # tag of Exif
ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def picture():
    """A gradient of 96x64 pixels."""
    y, x = np.mgrid[:64, :96]
    return Image.fromarray(np.stack([80 + x, 70 + x, 60 + x + y // 4], -1).astype(np.uint8))


@pytest.fixture(scope="module")
def saved(picture):
    """The picture as a file of a format, encoded once for all tests without options."""
    files = {}

    def save(name, image=picture, **options) -> bytes:
        if options or image is not picture:
            return saved_now(image, name, **options)
        return files.setdefault(name, saved_now(image, name))

    return save


@pytest.fixture(scope="module")
def exif():
    data = Image.Exif()
    data[DESCRIPTION] = "a gradient"
    return data


@pytest.fixture
def path_of(saved, tmp_path):
    """The path of the picture's file in a format."""

    def write(name):
        path = tmp_path / f"picture.{name.lower()}"
        path.write_bytes(saved(name))
        return path

    return write


@pytest.fixture
def truncated_allowed(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)


@pytest.fixture
def registration():
    """Pillow's table of extensions, which is put back afterwards."""
    before = dict(Image.EXTENSION)
    yield Image.EXTENSION
    Image.EXTENSION.clear()
    Image.EXTENSION.update(before)


def saved_now(image, name, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def opened(data):
    return Image.open(io.BytesIO(data))


def difference(image, other) -> float:
    """Mean absolute difference in levels."""
    return float(np.abs(np.asarray(image, float) - np.asarray(other, float)).mean())


class Counting(io.BytesIO):
    """Counts the bytes that are read."""

    count = 0

    def read(self, size=-1):
        data = super().read(size)
        self.count += len(data)
        return data


class TestAsOtherFormats:
    """The same behaviour as that of Pillow's own plugins."""

    @FORMATS
    def test_size_and_mode_are_known_before_the_pixels(self, saved, picture, name):
        image = opened(saved(name))
        assert (image.format, image.size, image.mode) == (name, picture.size, "RGB")
        assert image.tile, "nothing is decoded yet"
        image.load()
        assert not image.tile

    @FORMATS
    def test_the_picture_comes_back(self, saved, picture, name):
        assert difference(opened(saved(name)), picture) < 6

    @FORMATS
    def test_an_image_knows_its_type(self, saved, name):
        image = opened(saved(name))
        assert isinstance(image, ImageFile.ImageFile)
        assert image.format_description
        assert image.is_animated is False if name == "AVIF" else not hasattr(image, "n_frames")

    @FORMATS
    def test_a_path_is_opened_and_closed_by_pillow(self, path_of, name):
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            image = Image.open(path_of(name))
            file = image.fp
            image.load()
            assert file.closed and image.filename == str(path_of(name))
            with Image.open(path_of(name)) as image:
                file = image.fp
            assert file.closed
            del image
            gc.collect()

    @FORMATS
    def test_a_file_object_stays_open(self, saved, name):
        file = io.BytesIO(saved(name))
        with Image.open(file) as image:
            image.load()
        assert not file.closed

    @FORMATS
    def test_a_file_object_that_cannot_seek_is_read(self, saved, picture, name):
        class Pipe:
            def __init__(self, data):
                self.read = io.BytesIO(data).read

        assert Image.open(Pipe(saved(name))).size == picture.size

    @FORMATS
    def test_a_closed_image_has_no_pixels(self, path_of, name):
        image = Image.open(path_of(name))
        image.close()
        with pytest.raises((ValueError, AssertionError)):
            image.getpixel((0, 0))

    @FORMATS
    def test_pixels_outlive_the_file(self, path_of, name):
        with Image.open(path_of(name)) as image:
            image.load()
        assert image.getpixel((0, 0))
        image.load()

    @FORMATS
    def test_copy_is_a_plain_image(self, saved, name):
        image = opened(saved(name))
        copy = image.copy()
        assert copy.format is None and copy.tobytes() == image.tobytes()

    @FORMATS
    @pytest.mark.parametrize("loaded", [False, True])
    def test_images_are_pickled_with_their_pixels(self, path_of, name, loaded):
        image = Image.open(path_of(name))
        if loaded:
            image.load()
        again = pickle.loads(pickle.dumps(image))
        assert again == image and again.size == image.size and again.info == image.info

    @FORMATS
    def test_verify_accepts_a_good_file(self, path_of, name):
        image = Image.open(path_of(name))
        image.verify()
        assert image.fp is None

    @FORMATS
    def test_thumbnail(self, saved, picture, name):
        image = opened(saved(name))
        image.thumbnail((24, 24))
        assert image.size == (24, 16)
        assert difference(image, picture.resize((24, 16))) < 8

    @FORMATS
    def test_draft_changes_nothing(self, saved, picture, name):
        image = opened(saved(name))
        assert image.draft("L", (8, 8)) is None
        assert (image.size, image.mode) == (picture.size, "RGB")

    @FORMATS
    def test_convert_crop_and_resize_load_the_pixels(self, saved, name):
        assert opened(saved(name)).convert("L").mode == "L"
        assert opened(saved(name)).crop((0, 0, 9, 9)).size == (9, 9)
        assert opened(saved(name)).resize((9, 9)).size == (9, 9)

    @FORMATS
    def test_transparency_comes_back(self, saved, picture, name):
        clear = picture.convert("RGBA")
        clear.putalpha(Image.linear_gradient("L").resize(picture.size))
        image = opened(saved(name, clear))
        assert image.mode == "RGBA"
        assert difference(image.getchannel("A"), clear.getchannel("A")) < 3

    @FORMATS
    def test_a_file_that_lost_its_header_is_not_identified(self, saved, name):
        for size in (0, 2, 4):
            with pytest.raises(UnidentifiedImageError):
                opened(saved(name)[:size])

    @pytest.mark.parametrize("name", ["ODP", "QOI", "PNG", "JPEG"])  # libavif wants all at once
    def test_a_file_that_lost_its_end_is_opened_but_not_loaded(self, saved, picture, name):
        data = saved(name)
        image = opened(data[: len(data) * 3 // 4])
        assert image.size == picture.size
        with pytest.raises((OSError, ValueError)):
            image.load()

    @pytest.mark.parametrize("name", ["ODP", "PNG", "JPEG"])  # the others never load a part
    def test_it_is_loaded_on_request(self, saved, picture, truncated_allowed, name):
        data = saved(name)
        image = opened(data[: len(data) * 3 // 4])
        image.load()
        assert image.size == picture.size and image.getbbox()

    @WITH_METADATA
    def test_metadata_comes_back(self, saved, picture, exif, name):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        image = opened(saved(name, exif=exif, icc_profile=profile))
        assert image.getexif()[DESCRIPTION] == "a gradient"
        assert image.info["icc_profile"] == profile
        image.load()
        assert image.info["icc_profile"] == profile
        plain = opened(saved(name, exif=exif.tobytes()))
        assert plain.getexif()[DESCRIPTION] == "a gradient" and "icc_profile" not in plain.info

    @WITH_METADATA
    def test_exif_of_the_original_is_kept_only_on_request(self, saved, exif, name):
        original = opened(saved(name, exif=exif))
        assert "exif" not in opened(saved(name, original)).info
        assert "exif" in opened(saved(name, original, exif=original.getexif())).info

    @WITH_METADATA
    def test_the_orientation_that_is_given_counts(self, saved, picture, name):
        turned = Image.Exif()
        turned[ORIENTATION] = 6
        image = opened(saved(name, exif=turned))
        upright = image if image.getexif().get(ORIENTATION, 1) == 1 else image.transpose(4)
        assert upright.size == (picture.height, picture.width)
        original = picture.copy()
        original.info["exif"] = turned.tobytes()
        assert opened(saved(name, original)).size == picture.size

    @FORMATS
    def test_an_unknown_option_is_ignored(self, saved, name):
        assert opened(saved(name, nonsense=3)).format == name

    @FORMATS
    def test_a_failed_save_leaves_no_file(self, picture, tmp_path, name):
        wrong = {"ODP": {"tokens": -1}, "AVIF": {"quality": -1}}.get(name, {})
        image = picture.convert("CMYK") if name == "QOI" else picture
        with pytest.raises(ValueError):
            image.save(tmp_path / "out", name, **wrong)
        assert not (tmp_path / "out").exists()


class TestOpening:
    def test_only_the_header_is_read(self, saved):
        file = Counting(saved("ODP"))
        Image.open(file, formats=["ODP"])  # other plugins may read more to find out
        assert file.count <= 48  # Pillow looks at 16 bytes first

    def test_info_says_what_the_header_says(self, saved):
        data = saved("ODP", tokens=64)
        info = opened(data).info
        assert info == {"tokens": 64, "token_set": "onedpiece-1", "bytes": len(data)}

    def test_info_of_an_adaptive_and_dense_file_is_that_of_the_package(self, make_picture):
        for options in ({"max_bytes": 300}, {"tokens": 400}):
            data = saved_now(make_picture(400, 300), "ODP", **options)
            assert opened(data).info["tokens"] == onedpiece.open(data).num_tokens

    def test_another_token_set_is_shown_and_cannot_be_loaded(self, uninstalled):
        image = opened(uninstalled)
        assert image.size == (256, 256)
        assert image.info["token_set"] == Header.unpack(uninstalled)[0].model.hex()
        with pytest.raises(OSError, match="not installed"):
            image.load()

    def test_pixels_are_those_of_the_package(self, saved):
        assert opened(saved("ODP")).tobytes() == onedpiece.decode(saved("ODP")).tobytes()

    @pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
    def test_the_mode_is_known_from_the_beginning(self, picture, mode):
        image = picture.convert(mode)
        if mode.endswith("A"):
            image.putalpha(128)
        again = opened(saved_now(image, "ODP", tokens=4))
        assert again.mode == mode
        again.load()
        assert again.mode == mode

    def test_damaged_headers_are_not_identified(self, saved):
        data = saved("ODP")
        for bit in range(8 * 5):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            with pytest.raises(UnidentifiedImageError):
                opened(bytes(damaged))

    def test_random_damage_has_no_other_errors(self, one_tile):
        random = np.random.default_rng(0)
        for _ in range(300):
            damaged = bytearray(one_tile)
            for place in random.integers(0, len(damaged), 3):
                damaged[place] = random.integers(256)
            with contextlib.suppress(OSError):  # UnidentifiedImageError is one
                opened(bytes(damaged)).verify()

    def test_a_presentation_is_not_identified(self):
        with pytest.raises(UnidentifiedImageError):
            opened(b"PK\x03\x04" + bytes(60))

    @pytest.mark.parametrize(
        "chunk", [Chunk(EXIF, b"no frame"), Chunk(ICC, b""), Chunk(0x9F, b"critical")]
    )
    def test_broken_chunks_are_not_identified(self, chunk):
        tokens = np.zeros((1, 4), int)
        with pytest.raises(UnidentifiedImageError):
            opened(build(Header(256, 256, 4, DEFAULT_TOKEN_SET), tokens, [chunk]))

    def test_broken_transparency_fails_when_it_is_loaded(self):
        header = Header(256, 256, 4, DEFAULT_TOKEN_SET)
        image = opened(build(header, np.zeros((1, 4), int), [Chunk(ALPHA, b"?")]))
        assert image.mode == "RGBA"
        with pytest.raises(OSError):
            image.load()

    def test_tokens_that_no_encoder_writes_fail_when_they_are_loaded(self, saved):
        data = saved("ODP") + bytes(4000)
        for act in (Image.Image.load, Image.Image.verify):
            image = opened(data)
            with pytest.raises(OSError):
                getattr(image, act.__name__)()

    def test_verify_refuses_a_file_that_lost_its_end(self, saved):
        with pytest.raises(OSError, match="truncated"):
            opened(saved("ODP")[:-3]).verify()

    def test_a_file_without_any_token_is_a_blank_picture(self, saved, truncated_allowed):
        data = saved("ODP", tokens=64)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            image = opened(data[: Header.unpack(data)[1]])
            image.load()
        assert image.getextrema()[0][0] == image.getextrema()[0][1]

    def test_bombs_are_refused_before_they_are_decoded(self, monkeypatch):
        tokens = np.zeros((16, 1), int)
        header = Header.for_picture(512, 512, 1, DEFAULT_TOKEN_SET, density=2)
        data = build(header, tokens, allocation=Allocation(16))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 512 * 512)  # in all, 4 times as many
        with pytest.raises(Image.DecompressionBombError):
            opened(data)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        assert opened(data).size == (512, 512)


class TestSaving:
    @pytest.mark.parametrize(
        "options", [{"tokens": 64}, {"max_bytes": 120}, {"bpp": 0.2}, {"psnr": 20}], ids=str
    )
    def test_targets_are_those_of_the_package(self, saved, picture, options):
        assert saved("ODP", **options) == onedpiece.encode(picture, **options)

    def test_without_a_target_it_has_256_tokens(self, saved, picture):
        assert saved("ODP") == onedpiece.encode(picture, 256)

    def test_more_effort_gives_another_file(self, saved):
        assert saved("ODP", tokens=8, effort=2) != saved("ODP", tokens=8)

    @pytest.mark.parametrize(
        "options",
        [
            {"tokens": 0},
            {"tokens": 2000},
            {"tokens": "64"},
            {"tokens": 4, "max_bytes": 90},
            {"bpp": -1},
            {"psnr": "high"},
            {"effort": 9},
            {"exif": "text"},
            {"icc_profile": 5},
        ],
        ids=str,
    )
    def test_bad_options_are_refused(self, saved, options):
        with pytest.raises((ValueError, TypeError)):
            saved("ODP", **options)

    def test_what_cannot_be_written_is_an_os_error(self, saved, picture):
        with pytest.raises(OSError, match="cannot write file as ODP"):
            saved("ODP", max_bytes=3)
        with pytest.raises(OSError, match="cannot write file as ODP"):
            saved("ODP", picture.convert("F"))

    @pytest.mark.parametrize("mode", ["1", "P", "CMYK", "I;16", "HSV", "YCbCr"])
    def test_other_modes_are_converted(self, picture, mode):
        source = picture.convert("L") if mode in {"1", "I;16"} else picture
        assert opened(saved_now(source.convert(mode), "ODP", tokens=4)).mode in {"L", "RGB"}

    def test_colours_of_a_profile_become_srgb_unless_it_is_kept(self, picture, exif):
        image = picture.copy()
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        image.info["icc_profile"] = profile
        assert "icc_profile" not in opened(saved_now(image, "ODP", tokens=4)).info
        kept = opened(saved_now(image, "ODP", tokens=4, icc_profile=profile))
        assert kept.info["icc_profile"] == profile

    def test_the_image_stays_as_it_is(self, picture, exif):
        image = picture.copy()
        image.info["exif"] = exif.tobytes()
        before = dict(image.info)
        saved_now(image, "ODP", tokens=4)
        assert image.info == before and image.tobytes() == picture.tobytes()

    def test_an_odp_picture_is_saved_over_itself(self, path_of):
        path = path_of("ODP")
        with Image.open(path) as image:
            image.save(path, "ODP", tokens=4)
        with Image.open(path) as image:
            assert image.info["tokens"] == 4


class TestRegistration:
    def test_the_package_alone_registers_nothing(self, loaded_modules):
        assert "PIL.Image" not in loaded_modules("import onedpiece")
        code = "import onedpiece.api; from PIL import Image; Image.init()\n"
        code += "    assert 'ODP' not in Image.OPEN and 'ODP' not in Image.SAVE"
        loaded_modules(code)

    def test_the_plugin_loads_no_network(self, loaded_modules):
        modules = loaded_modules("import onedpiece.pillow")
        assert not {"torch", "onnxruntime", "onedpiece.codec"} & modules

    def test_opening_loads_no_network(self, loaded_modules, path_of):
        code = (
            f"import onedpiece.pillow; from PIL import Image; Image.open({str(path_of('ODP'))!r})"
        )
        assert not {"torch", "onnxruntime", "onedpiece.codec"} & loaded_modules(code)

    def test_the_extension_is_left_to_presentations(self, picture, tmp_path):
        with pytest.raises(ValueError, match="unknown file extension"):
            picture.save(tmp_path / "out.odp")
        assert ".odp" not in Image.registered_extensions()

    def test_the_extension_on_request(self, picture, tmp_path, registration):
        onedpiece.pillow.register(extension=True)
        picture.save(tmp_path / "out.odp", tokens=64)
        assert Image.open(tmp_path / "out.odp").info["tokens"] == 64

    def test_registering_again_changes_nothing(self):
        before = list(Image.ID)
        onedpiece.pillow.register()
        assert before == Image.ID and before.count("ODP") == 1

    def test_the_media_type(self, saved):
        assert opened(saved("ODP")).get_format_mimetype() == "image/x-onedpiece"

    @pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "QOI"])
    def test_other_formats_are_opened_as_before(self, saved, name):
        assert opened(saved(name)).format == name
