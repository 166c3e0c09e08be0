"""The functions of the package: what the command line can do, a Python user can."""

import numpy as np
import pytest
from odp_files import build
from PIL import Image

import onedpiece
from onedpiece import EncodedImage, errors
from onedpiece.api import _codec
from onedpiece.bitstream.allocation import Allocation
from onedpiece.bitstream.chunks import ALPHA, EXIF, Chunk, compress
from onedpiece.bitstream.header import Header
from onedpiece.entropy import Tables
from onedpiece.entropy.tables import frequencies

UNKNOWN = bytes.fromhex("a1b2c3")
TABLES = Tables(
    frequencies((1e6 / (np.arange(4096) + 9) ** 1.3).astype(int))[None], np.array([256])
)


@pytest.fixture
def picture_file(make_picture, tmp_path):
    path = tmp_path / "in.png"
    exif = Image.Exif()
    exif[0x010E] = "a disc"
    make_picture(300, 200).save(path, exif=exif)
    return path


@pytest.fixture
def coded_for_an_unknown_model() -> bytes:
    """Entropy-coded tokens, an allocation and a chunk; the tables are nowhere."""
    header = Header(700, 300, 5, UNKNOWN)
    chunks = [Chunk(EXIF, compress(b"Exif\0\0"))]
    tokens = np.random.default_rng(0).integers(0, 9, (6, 256))
    return build(header, tokens, chunks, Allocation(26), TABLES)


class TestEncode:
    def test_it_takes_paths_and_pil_images(self, picture_file):
        data = onedpiece.encode(picture_file, 16)
        with Image.open(picture_file) as image:
            assert onedpiece.encode(image, 16) == data
        assert onedpiece.encode(str(picture_file), 16) == data

    def test_metadata_is_kept_on_request(self, picture_file):
        plain = onedpiece.decode(onedpiece.encode(picture_file, 4))
        assert "exif" not in plain.info
        kept = onedpiece.decode(onedpiece.encode(picture_file, 4, metadata=["exif"]))
        assert kept.getexif()[0x010E] == "a disc"

    @pytest.mark.parametrize("background", ["white", "#ffffff", (255, 255, 255)])
    def test_transparency_is_flattened_on_request(self, background):
        clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
        assert onedpiece.decode(onedpiece.encode(clear, 4)).mode == "RGBA"
        flat = onedpiece.decode(onedpiece.encode(clear, 4, background=background))
        assert flat.mode == "RGB" and np.asarray(flat).mean() > 240
        later = onedpiece.decode(onedpiece.encode(clear, 4), background=background)
        assert later.mode == "RGB" and np.asarray(later).mean() > 240

    def test_limits_hold(self, picture_file):
        with pytest.raises(errors.LimitExceeded):
            onedpiece.encode(picture_file, max_pixels=300 * 200 - 1)
        data = onedpiece.encode(picture_file, 4)
        with pytest.raises(errors.LimitExceeded):
            onedpiece.decode(data, max_pixels=300 * 200 - 1)
        with pytest.raises(errors.LimitExceeded):
            onedpiece.decode(onedpiece.open(data), max_pixels=300 * 200 - 1)

    def test_one_codec_serves_all_calls_with_the_same_arguments(self, make_picture, tmp_path):
        _codec.cache_clear()
        onedpiece.decode(onedpiece.encode(make_picture(), psnr=15, device="cpu"), device="cpu")
        assert _codec.cache_info().currsize == 1

    @pytest.mark.parametrize(
        "wrong",
        [
            {"metadata": ["gps"]},
            {"metadata": "exif"},
            {"background": (1, 2, 3, 4)},
            {"background": 5},
            {"background": "no colour"},
            {"tokens": 3, "bpp": 1},
            {"effort": 9},
        ],
        ids=str,
    )
    def test_arguments_out_of_range_are_the_callers_mistake(self, make_picture, wrong):
        with pytest.raises(ValueError):
            onedpiece.encode(make_picture(), **wrong)

    def test_a_search_by_lpips_needs_effort(self, make_picture, tmp_path):
        with pytest.raises(ValueError, match="effort 2 or 3"):
            onedpiece.encode(make_picture(), 4, lpips=tmp_path)

    def test_a_missing_file_is_a_picture_error(self, tmp_path):
        with pytest.raises(errors.PictureError, match=r"none\.png: cannot be opened"):
            onedpiece.encode(tmp_path / "none.png")


class TestFiles:
    def test_paths_and_bytes_are_the_same(self, one_tile, tmp_path):
        path = tmp_path / "a.odp"
        path.write_bytes(one_tile)
        for source in (one_tile, bytearray(one_tile), memoryview(one_tile), path, str(path)):
            assert onedpiece.is_odp(source)
            assert onedpiece.info(source)["tokens"] == 64
            assert onedpiece.open(source).to_bytes() == one_tile
            assert len(onedpiece.truncate(source, 16)) < len(one_tile)
            assert len(onedpiece.truncate(source, max_bytes=50)) <= 50
            onedpiece.verify(source)
            assert onedpiece.decode(source, 1).size == (256, 256)

    def test_other_data_is_told_by_its_first_bytes(self, picture_file):
        assert not onedpiece.is_odp(picture_file)
        assert not onedpiece.is_odp(b"PK\x03\x04")
        assert not onedpiece.is_odp(b"")

    def test_a_missing_file_is_one_of_our_errors(self, tmp_path):
        for function in (onedpiece.open, onedpiece.info, onedpiece.is_odp, onedpiece.decode):
            with pytest.raises(onedpiece.OdpError, match=r"none\.odp cannot be opened"):
                function(tmp_path / "none.odp")

    def test_a_truncated_file_does_not_verify(self, one_tile):
        with pytest.raises(errors.TruncatedFile):
            onedpiece.verify(one_tile[:-1])

    def test_a_broken_chunk_does_not_verify(self):
        data = build(Header(9, 6, 2, UNKNOWN), np.ones((1, 2), int), [Chunk(ALPHA, b"\x04")])
        with pytest.raises(errors.DamagedFile, match="transparency"):
            onedpiece.verify(data)

    def test_the_warning_of_a_truncated_file_names_the_line_of_the_caller(self, one_tile):
        for decode in (onedpiece.decode, onedpiece.Codec(device="cpu").decode):
            with pytest.warns(onedpiece.TruncatedFileWarning) as caught:
                decode(one_tile[:-9])
            assert [warning.filename for warning in caught] == [__file__]

    def test_files_opened_can_be_decoded(self, one_tile):
        image = onedpiece.open(one_tile)
        assert onedpiece.decode(image) == onedpiece.decode(one_tile)


class TestUnknownModel:
    def test_everything_but_the_tokens_is_shown(self, coded_for_an_unknown_model):
        facts = onedpiece.info(coded_for_an_unknown_model)
        assert (facts["width"], facts["height"], facts["tiles"]) == (700, 300, 6)
        assert (facts["tokens_in_all"], facts["tokens_here"]) == (26, None)
        assert facts["metadata"] == ["exif"] and facts["model_name"] is None
        assert sum(facts["bytes_by_section"].values()) == len(coded_for_an_unknown_model)

    @pytest.mark.parametrize(
        "use",
        [
            onedpiece.verify,
            onedpiece.decode,
            lambda data: onedpiece.truncate(data, 1),
            lambda data: onedpiece.truncate(data, max_bytes=40),
            lambda data: onedpiece.open(data).tokens,
        ],
        ids=["verify", "decode", "truncate", "truncate to bytes", "tokens"],
    )
    def test_what_needs_the_tokens_says_so(self, coded_for_an_unknown_model, use):
        with pytest.raises(errors.UnknownModel, match="a1b2c3"):
            use(coded_for_an_unknown_model)

    def test_damage_before_the_tokens_is_found_all_the_same(self, coded_for_an_unknown_model):
        damaged = bytearray(coded_for_an_unknown_model)
        damaged[-30] ^= 1
        with pytest.raises(errors.OdpError):
            onedpiece.verify(bytes(damaged))

    def test_tokens_of_12_bits_need_no_model(self, uninstalled):
        onedpiece.verify(uninstalled)
        assert onedpiece.open(onedpiece.truncate(uninstalled, 1)).tokens.tolist() == [[1]]


class TestFromTokens:
    def test_an_image_is_its_size_and_its_tokens(self, codec, make_picture):
        data = codec.encode(make_picture(400, 200), 20)
        image = EncodedImage.from_bytes(data)
        same = EncodedImage.from_tokens(image.tokens, image.width, image.height)
        assert same.to_bytes() == data
        assert (same.mode, same.total_tokens, same.is_truncated) == ("RGB", 40, False)
        assert same.info() == image.info()

    def test_the_model_is_a_name_a_directory_or_a_model(self, codec):
        tokens = np.zeros((1, 4), int)
        expected = EncodedImage.from_tokens(tokens, 256, 256).to_bytes()
        for model in (codec.model, codec.model.path, str(codec.model.path), "default"):
            assert EncodedImage.from_tokens(tokens, 256, 256, model=model).to_bytes() == expected

    def test_tiles_of_unequal_counts_are_not_filled_up(self, make_picture):
        flat = Image.new("RGB", (700, 300), (90, 120, 60))
        flat.paste(make_picture(250, 300), (0, 0))
        image = onedpiece.open(onedpiece.encode(flat, 32, adaptive=True))
        with pytest.raises(errors.OdpError, match="fewer tokens than others"):
            image.with_equal_counts()

    def test_tokens_are_not_changed_from_outside(self, one_tile):
        image = EncodedImage.from_bytes(one_tile)
        image.tokens[:] = 0
        assert image.tokens.any()
        tokens = image.tokens
        same = EncodedImage.from_tokens(tokens, 256, 256)
        tokens[:] = 0
        assert same.truncate(9).to_bytes() == image.truncate(9).to_bytes()

    @pytest.mark.parametrize(
        "tokens, size",
        [
            (np.zeros((2, 4), int), (256, 256)),
            (np.zeros((1, 0), int), (256, 256)),
            (np.zeros((1, 257), int), (256, 256)),
            (np.full((1, 4), 4096), (256, 256)),
            (np.full((1, 4), -1), (256, 256)),
            (np.zeros((1, 4)), (256, 256)),
            (np.zeros((1, 4), int), (0, 256)),
            (np.zeros((3, 4), int), (400, 200)),
        ],
    )
    def test_other_tokens_are_refused(self, tokens, size):
        with pytest.raises(ValueError):
            EncodedImage.from_tokens(tokens, *size)


def test_everything_public_can_be_reached_and_is_documented():
    for name in onedpiece.__all__:
        assert getattr(onedpiece, name).__doc__, name
    assert set(onedpiece.__all__) <= set(dir(onedpiece))


def test_the_installed_models_are_listed():
    assert [model.name for model in onedpiece.models.list()] == ["default"]
    with pytest.raises(errors.UnknownModel):
        onedpiece.models.remove("no-such-model")
    with pytest.raises(errors.ModelError, match="cannot be removed"):
        onedpiece.models.remove("default")


def test_every_kind_of_metadata_has_a_chunk_and_a_key_in_pillow():
    from onedpiece.bitstream.chunks import METADATA_TYPES
    from onedpiece.images.metadata import INFO_KEYS

    assert set(METADATA_TYPES) == set(INFO_KEYS)
