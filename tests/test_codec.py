"""The codec as a library: sizes, prefixes, batches, and what it refuses."""

import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from odp_files import parse, sizes, truncate
from PIL import Image, ImageDraw

import onedpiece
from onedpiece.bitstream.header import Header
from onedpiece.codec import Codec
from onedpiece.errors import (
    DamagedFile,
    LimitExceeded,
    NotAnOdpFile,
    OdpError,
    PictureError,
    TruncatedFile,
    UnknownModel,
)
from onedpiece.images.reader import from_pillow
from onedpiece.rate_control import Target

HEADER = 5  # bytes, for 256x256 and a power of two of tokens

PHOTOGRAPH = Path(__file__).parents[1] / "bench" / "pictures" / "coffee.png"


def error(a: Image.Image, b: Image.Image) -> float:
    return float(np.square(np.asarray(a, np.float64) - np.asarray(b, np.float64)).mean())


class TestSize:
    @pytest.mark.parametrize("tokens", [2, 64, 256])
    def test_256x256_pixels_cost_the_header_and_at_most_12_bits_a_token(
        self, codec, make_picture, tokens
    ):
        assert len(codec.encode(make_picture(), tokens)) <= HEADER + tokens * 3 // 2

    def test_tokens_are_coded_by_their_frequency(self, codec, make_picture):
        flat = Image.new("RGB", (256, 256), (90, 120, 60))
        assert len(codec.encode(flat)) < 0.8 * len(codec.encode(make_picture()))

    def test_everything_but_the_tokens_is_at_most_10_bytes(self, codec, make_picture):
        for tokens in (1, 3, 100, 255):
            data = codec.encode(make_picture(), tokens)
            assert len(data) - sizes(parse(data))["tokens"] <= 10

    def test_every_tile_has_its_tokens(self, codec, make_picture):
        file = parse(codec.encode(make_picture(400, 700), 16))
        assert file.tokens.shape == (2 * 3, 16)


class TestPicture:
    @pytest.mark.parametrize(
        "size", [(256, 256), (1, 1), (1, 300), (257, 255), (30, 9), (511, 300)]
    )
    def test_the_size_comes_back(self, codec, make_picture, size):
        decoded = codec.decode(codec.encode(make_picture(*size), 8))
        assert (decoded.size, decoded.mode) == (size, "RGB")

    def test_grey_comes_back_grey(self, codec, make_picture):
        grey = make_picture(100, 80).convert("L")
        decoded = codec.decode(codec.encode(grey))
        assert decoded.mode == "L"
        assert error(decoded, grey) < np.asarray(grey).var()

    @pytest.mark.parametrize("mode, back", [("RGB", "RGBA"), ("L", "LA")])
    def test_transparency_comes_back(self, codec, make_picture, mode, back):
        image = make_picture(300, 200).convert(mode)
        disc = Image.new("L", image.size)
        ImageDraw.Draw(disc).ellipse((50, 20, 250, 180), fill=255)
        image.putalpha(disc)
        data = codec.encode(image, 64)
        decoded = codec.decode(data)
        assert (decoded.size, decoded.mode) == (image.size, back)
        assert error(decoded.getchannel("A"), disc) < 20**2
        opaque = codec.encode(make_picture(300, 200), 64)
        assert len(data) - len(opaque) < 260

    def test_an_opaque_picture_pays_nothing_for_it(self, codec, make_picture):
        picture = make_picture()
        assert codec.encode(picture.convert("RGBA"), 9) == codec.encode(picture, 9)

    @pytest.mark.parametrize(
        "size, tiles", [((30, 9), 1), ((320, 200), 1), ((330, 900), 8), ((2100, 40), 9)]
    )
    def test_small_pictures_fill_their_tiles(self, codec, make_picture, size, tiles):
        file = parse(codec.encode(make_picture(*size), 1))
        assert file.header.grid.count == tiles
        assert file.header.scaled == (max(size) <= 2048)

    @pytest.mark.parametrize("size", [(256, 256), (400, 300)])
    def test_more_tokens_mean_less_error(self, codec, make_picture, size):
        pictures = [make_picture(*size, seed) for seed in range(3)]
        files = [codec.encode(picture) for picture in pictures]
        errors = [
            sum(error(codec.decode(f, tokens), p) for f, p in zip(files, pictures, strict=True))
            for tokens in (1, 16, 256)
        ]
        assert errors[0] > errors[1] > errors[2]


class TestPrefixes:
    @pytest.mark.parametrize("size", [(256, 256), (300, 200)])
    def test_fewer_tokens_are_a_truncation_of_more(self, codec, make_picture, size):
        picture = make_picture(*size)
        assert codec.encode(picture, 64) == truncate(codec.encode(picture, 256), 64)

    def test_using_fewer_tokens_is_the_same_as_having_fewer(self, codec, one_tile):
        assert codec.decode(one_tile, 9) == codec.decode(truncate(one_tile, 9))

    def test_a_cut_in_the_middle_of_a_token_is_the_cut_before_it(self, codec, one_tile):
        assert codec.decode(one_tile[: HEADER + 5]) == codec.decode(one_tile, 3)

    def test_every_cut_after_the_header_decodes(self, codec, two_tiles):
        header = sizes(parse(two_tiles))["header"]
        for end in (*range(header, header + 7), len(two_tiles) // 2, len(two_tiles) - 1):
            assert codec.decode(two_tiles[:end]).size == (400, 200)

    def test_without_any_token_it_is_the_blank_colour(self, codec, one_tile):
        decoded = np.asarray(codec.decode(one_tile[:HEADER]))
        assert (decoded == codec.model.blank).all()

    def test_a_tile_whose_first_token_is_missing_is_blank(self, codec, two_tiles):
        header = sizes(parse(two_tiles))["header"]
        decoded = np.asarray(codec.decode(two_tiles[: header + 2]))
        assert (decoded[:, 256:] == codec.model.blank).all()
        assert not (decoded[:, :200] == codec.model.blank).all()


class TestBatches:
    SIZES = ((256, 256), (300, 520), (40, 50))

    def test_pictures_encoded_together_are_those_encoded_alone(self, codec, make_picture):
        images = [make_picture(*size, seed) for seed, size in enumerate(self.SIZES)]
        together = codec.encode_many(images, 32)
        assert together == [codec.encode(image, 32) for image in images]

    def test_files_decoded_together_are_those_decoded_alone(self, codec, make_picture):
        files = [codec.encode(make_picture(*size), 5 + size[0]) for size in ((9, 9), (200, 400))]
        files.append(files[1][:60])
        together = codec.decode_many(files)
        for picture, file in zip(together, files, strict=True):
            alone = np.asarray(codec.decode(file), int)
            assert abs(np.asarray(picture, int) - alone).max() <= 1

    def test_the_size_of_batches_changes_nothing(self, codec, make_picture):
        picture = make_picture(600, 300)
        assert Codec(device="cpu", batch=1).encode(picture, 16) == codec.encode(picture, 16)


class TestRefusal:
    @pytest.mark.parametrize("tokens", [0, -1, 1025])
    def test_encoding_takes_1_to_1024_tokens(self, codec, make_picture, tokens):
        with pytest.raises(ValueError):
            codec.encode(make_picture(8, 8), tokens)

    @pytest.mark.parametrize("tokens", [0, -1])
    def test_decoding_takes_at_least_one(self, codec, one_tile, tokens):
        with pytest.raises(ValueError):
            codec.decode(one_tile, tokens)

    def test_a_model_that_is_not_installed_is_named(self, codec, uninstalled):
        with pytest.raises(UnknownModel, match=parse(uninstalled).header.model.hex()):
            codec.decode(uninstalled)

    def test_an_unknown_model_name_is_an_error(self):
        with pytest.raises(UnknownModel, match="no-such-model"):
            Codec("no-such-model")

    def test_a_device_is_one_of_three(self, make_picture):
        with pytest.raises(ValueError, match="auto, cpu, cuda"):
            Codec(device="abacus").encode(make_picture(8, 8))

    @pytest.mark.parametrize(
        "data, expected",
        [(b"", NotAnOdpFile), (b"PK\x03\x04", NotAnOdpFile), (b"\x9dP", DamagedFile)],
    )
    def test_other_data_is_refused(self, codec, data, expected):
        with pytest.raises(expected):
            codec.decode(data)

    def test_a_picture_that_the_format_cannot_hold_is_refused(self, codec):
        with pytest.raises(LimitExceeded):
            codec.encode(Image.new("L", (32769, 1)))


class TestPackage:
    def test_two_functions_do_it_all(self, make_picture):
        picture = make_picture(300, 280)
        data = onedpiece.encode(picture, tokens=20)
        assert onedpiece.decode(data).size == picture.size
        assert onedpiece.decode(data, 4) == onedpiece.decode(truncate(data, 4))

    def test_errors_have_one_base(self):
        with pytest.raises(onedpiece.OdpError):
            onedpiece.decode(b"not a picture")

    def test_the_codec_class_is_there_when_asked_for(self):
        assert onedpiece.Codec is Codec
        with pytest.raises(AttributeError):
            _ = onedpiece.no_such_thing

    def test_importing_it_loads_nothing_heavy(self, loaded_modules):
        loaded = loaded_modules("import onedpiece")
        assert "onedpiece" in loaded
        assert not loaded & {"torch", "onnxruntime", "PIL", "numpy"}


class TestMemory:
    def test_a_header_alone_asks_for_little_more_than_the_picture_it_promises(self, codec):
        """4096x4096 pixels are 50 MB; all its tiles as float would be 200 MB."""
        import tracemalloc

        promise = Header(4096, 4096, 256, codec.model.key).pack()
        tracemalloc.start()
        try:
            picture = codec.decode(promise)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert picture.size == (4096, 4096)
        assert peak < 150e6


def test_a_broken_picture_given_as_an_image_is_a_picture_error(codec, tmp_path, make_picture):
    make_picture().save(tmp_path / "x.jpg")
    whole = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(whole[: len(whole) // 2])
    with Image.open(tmp_path / "x.jpg") as image, pytest.raises(PictureError):
        codec.encode(image)


def test_what_is_no_picture_or_no_number_is_a_mistake_of_the_caller(codec, make_picture):
    for wrong in ("in.png", np.zeros((4, 4, 3), np.uint8)):
        with pytest.raises(TypeError, match="a picture is a PIL image"):
            codec.encode(wrong)
    with pytest.raises(TypeError):
        codec.encode(make_picture(), 64.5)
    assert codec.encode(make_picture(), np.int64(3)) == codec.encode(make_picture(), 3)


def test_files_within_the_limit_of_pixels_can_be_decoded_with_it(make_picture):
    small = Codec(device="cpu", max_pixels=256 * 256)
    assert small.parse(small.encode(make_picture(), 512)).header.density == 1


def test_numbers_of_numpy_are_numbers(codec, make_picture):
    file = codec.encode(make_picture(512, 512), 128)
    image = codec.parse(file)
    assert codec.decode(image, np.uint16(64)) == codec.decode(image, 64)
    assert image.truncate(np.uint16(100)).to_bytes() == image.truncate(100).to_bytes()
    assert (
        image.truncate(max_bytes=np.int16(300)).to_bytes()
        == image.truncate(max_bytes=300).to_bytes()
    )


def test_max_pixels_limits_encoding_and_decoding(codec, make_picture):
    small = Codec(device="cpu", max_pixels=100 * 100)
    data = codec.encode(make_picture(101, 100), 4)
    with pytest.raises(LimitExceeded):
        small.encode(make_picture(101, 100))
    with pytest.raises(LimitExceeded):
        small.decode(data)
    assert small.decode(small.encode(make_picture(100, 100), 4)).size == (100, 100)


@pytest.mark.parametrize("wrong", [{"device": "abacus"}, {"batch": 0}, {"threads": 0}])
def test_a_codec_that_cannot_work_is_not_made(wrong):
    with pytest.raises(ValueError):
        Codec(**wrong)


def test_nothing_to_do_is_done(codec):
    assert codec.encode_many([]) == codec.decode_many([]) == []


class TestTargets:
    """One run of the encoder, and as many of its tokens as fit."""

    @pytest.fixture
    def pictures(self, make_picture):
        flat = Image.new("RGB", (700, 300), (90, 120, 60))
        flat.paste(make_picture(250, 300), (0, 0))
        return {"one tile": make_picture(), "uneven": flat, "small": make_picture(31, 20)}

    @pytest.mark.parametrize("name", ["one tile", "uneven", "small"])
    @pytest.mark.parametrize("max_bytes", [40, 104, 300])
    def test_bytes_are_filled_and_never_exceeded(self, codec, pictures, name, max_bytes):
        data = codec.encode(pictures[name], Target(max_bytes=max_bytes))
        assert len(data) <= max_bytes
        assert max_bytes - 4 <= len(data) or data == codec.encode(pictures[name])
        assert codec.decode(data).size == pictures[name].size

    def test_bits_per_pixel_are_bytes(self, codec, pictures):
        picture = pictures["uneven"]
        size = int(0.01 * picture.width * picture.height / 8)
        assert codec.encode(picture, Target(bpp=0.01)) == codec.encode(
            picture, Target(max_bytes=size)
        )

    def test_more_bytes_than_there_are_tokens_for_give_all_tokens(self, codec, pictures):
        whole = parse(codec.encode(pictures["one tile"], Target(max_bytes=10**6)))
        assert (whole.header.density, whole.total_tokens) == (2, 1024)

    def test_too_few_bytes_say_what_is_possible(self, codec, pictures):
        with pytest.raises(OdpError, match=r"the least for this picture is \d"):
            codec.encode(pictures["one tile"], Target(max_bytes=6))

    @pytest.mark.parametrize("name", ["one tile", "uneven"])
    def test_decibels_are_reached_with_the_fewest_tokens(self, codec, pictures, name):
        picture = pictures[name]
        reached = psnr(
            codec.decode(codec.encode(picture, Target(tokens=40, adaptive=True)), realism=0),
            picture,
        )
        data = codec.encode(picture, Target(psnr=reached - 0.01))
        tokens = parse(data).header.tokens_per_tile
        assert tokens <= 44  # the tiles may have other shares
        assert psnr(codec.decode(data, realism=0), picture) >= reached - 0.01
        fewer = truncate(data, tokens - 1)
        assert psnr(codec.decode(fewer, realism=0), picture) < reached - 0.01

    def test_decibels_out_of_reach_say_what_is_possible(self, codec, pictures):
        with pytest.raises(OdpError, match=r"1024 tokens give \d\d\.\d\d dB"):
            codec.encode(pictures["one tile"], Target(psnr=90))

    def test_adaptive_gives_more_to_tiles_with_detail_and_the_same_in_all(self, codec, pictures):
        even = parse(codec.encode(pictures["uneven"], 64))
        adapted = parse(codec.encode(pictures["uneven"], Target(tokens=64, adaptive=True)))
        assert adapted.total_tokens == even.total_tokens
        assert adapted.counts[0] > 64 > adapted.counts[2]

    def test_it_gains_where_pictures_are_uneven(self, codec, pictures):
        picture = pictures["uneven"]
        even = codec.encode(picture, 48)
        adapted = codec.encode(picture, Target(max_bytes=len(even)))
        assert psnr(codec.decode(adapted), picture) > psnr(codec.decode(even), picture) + 0.5

    def test_one_tile_is_the_same_either_way(self, codec, pictures):
        data = codec.encode(pictures["one tile"], Target(tokens=48, adaptive=True))
        assert data == codec.encode(pictures["one tile"], 48)

    @pytest.mark.parametrize("name", ["one tile", "uneven"])
    def test_truncating_is_the_same_as_encoding_at_that_rate(self, codec, pictures, name):
        picture = pictures[name]
        whole = codec.encode(picture, 256)
        for tokens in (1, 30, 255):
            assert truncate(whole, tokens) == codec.encode(picture, tokens)

    def test_truncating_one_tile_is_the_same_as_encoding_so_many_bytes(self, codec, pictures):
        whole = codec.encode(pictures["one tile"], 256)
        for size in (60, 201, 202, 203):
            target = Target(max_bytes=size)
            assert truncate(whole, max_bytes=size) == codec.encode(pictures["one tile"], target)

    def test_truncating_an_adaptive_file_is_about_as_good_as_encoding(self, codec, pictures):
        picture = pictures["uneven"]
        whole = codec.encode(picture, Target(tokens=200, adaptive=True))
        data = codec.encode(picture, Target(max_bytes=300))
        scores = [
            psnr(codec.decode(file, realism=0), picture)
            for file in (truncate(whole, max_bytes=300), data)
        ]
        assert scores[1] - 0.5 < scores[0] <= scores[1] + 0.05

    @pytest.mark.parametrize(
        "wrong",
        [
            {},
            {"tokens": 5, "bpp": 1},
            {"tokens": 0},
            {"tokens": 1025},
            {"max_bytes": 0},
            {"bpp": -1},
            {"psnr": float("inf")},
            {"psnr": float("nan")},
        ],
    )
    def test_a_target_is_exactly_one_number(self, wrong):
        with pytest.raises(ValueError):
            Target(**wrong)


def test_progress_counts_tiles(make_picture):
    counts = []
    codec = Codec(device="cpu", batch=2)
    picture = from_pillow(make_picture(600, 300))
    images = codec.encode_pictures([picture], 3, progress=counts.append)
    assert counts == [2, 1]
    codec.decode_pictures(images, progress=counts.append)
    assert sum(counts) == 6


class TestRealism:
    def test_less_of_it_is_nearer_to_the_original(self, codec):
        photograph = Image.open(PHOTOGRAPH).convert("RGB")
        data = codec.encode(photograph)
        decoded = [codec.decode(data, realism=realism) for realism in (1.0, 0.0)]
        real, least = (psnr(picture, photograph) for picture in decoded)
        assert least - 1.3 < real < least

    @pytest.mark.parametrize("realism", [-0.1, 1.1, float("nan")])
    def test_it_is_from_0_to_1(self, codec, one_tile, realism):
        with pytest.raises(ValueError, match="realism"):
            codec.decode(one_tile, realism=realism)


class TestTruncatedFiles:
    def test_they_are_decoded_with_a_warning(self, codec, one_tile):
        with pytest.warns(onedpiece.TruncatedFileWarning, match="of 64 tokens"):
            codec.decode(one_tile[:-9])

    def test_they_are_an_error_if_strict(self, codec, one_tile):
        with pytest.raises(TruncatedFile, match="of 64 tokens"):
            codec.decode(one_tile[:-9], strict=True)

    def test_complete_files_give_no_warning(self, codec, one_tile):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            codec.decode(one_tile)


class TestSharing:
    def test_several_threads_use_one_codec(self, make_picture):
        pictures = [make_picture(*size, seed) for seed, size in enumerate([(256, 256), (300, 90)])]

        def work(index):
            picture = pictures[index % 2]
            data = codec.encode(picture, 8 + index)
            return data, np.asarray(codec.decode(data, realism=index / 8))

        with Codec(device="cpu") as codec, ThreadPoolExecutor(4) as pool:
            together = list(pool.map(work, range(8)))
            alone = [work(index) for index in range(8)]
        for (data, pixels), (same_data, same_pixels) in zip(together, alone, strict=True):
            assert data == same_data
            assert np.abs(pixels.astype(int) - same_pixels).max() <= 1

    def test_it_can_be_pickled_for_other_processes(self, codec, one_tile):
        copy = pickle.loads(pickle.dumps(codec))
        assert np.abs(np.asarray(copy.decode(one_tile), int) - codec.decode(one_tile)).max() <= 1

    def test_as_a_context_manager_it_drops_its_networks(self, make_picture):
        with Codec(device="cpu") as codec:
            data = codec.encode(make_picture(), 4)
            assert codec._runtimes
        assert not codec._runtimes
        assert codec.encode(make_picture(), 4) == data


class TestPicturesThatAreNoPhotographs:
    """The default model was trained on photographs; other pictures must not look broken."""

    @pytest.mark.parametrize("mode, colour", [("RGB", 0), ("RGB", "white"), ("L", 128)])
    def test_flat_pictures_stay_flat(self, codec, mode, colour):
        flat = Image.new(mode, (256, 256), colour)
        for tokens in (16, 64, 256):
            assert psnr(codec.decode(codec.encode(flat, tokens)), flat) > 38

    @pytest.mark.parametrize("colour", ["red", "blue", "lime", "yellow", "magenta", "white"])
    def test_saturated_colours_come_back(self, codec, colour):
        flat = Image.new("RGB", (256, 256), colour)
        assert psnr(codec.decode(codec.encode(flat)), flat) > 29

    def test_a_screenshot_keeps_its_panes_and_colours(self, codec):
        screen = Image.new("RGB", (256, 256), "white")
        draw = ImageDraw.Draw(screen)
        draw.rectangle((0, 0, 255, 40), fill=(40, 60, 90))
        draw.rectangle((0, 41, 60, 255), fill=(235, 238, 242))
        for line in range(12):
            draw.text((70, 50 + 16 * line), "The quick brown fox", fill=(30, 30, 30))
        decoded = codec.decode(codec.encode(screen))
        for box in ((10, 5, 250, 35), (5, 60, 55, 250), (200, 60, 250, 250)):
            original, result = (
                np.asarray(p.crop(box), float).mean((0, 1)) for p in (screen, decoded)
            )
            assert np.abs(original - result).max() < 12

    def test_noise_does_not_blow_up(self, codec):
        noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
        decoded = np.asarray(codec.decode(codec.encode(Image.fromarray(noise))), float)
        assert abs(decoded.mean() - noise.mean()) < 2 and decoded.std() < noise.std()


@pytest.fixture(scope="module", params=[64, 256])
def coded_kodak(request, codec, shared):
    """Full pictures of several tiles, and what comes back of them."""
    pairs = []
    for path in sorted((shared / "eval/full").glob("*.png"))[::2]:
        original = Image.open(path).convert("RGB")
        pairs.append((original, codec.decode(codec.encode(original, request.param))))
    return pairs


class TestSeams:
    """Mean absolute gradient across tile borders over that elsewhere, relative to the originals."""

    def test_gradients_across_borders_are_as_elsewhere(self, coded_kodak):
        ratios = [line_ratio(decoded) / line_ratio(original) for original, decoded in coded_kodak]
        assert np.mean(ratios) == pytest.approx(1, abs=0.08)

    def test_no_picture_shows_its_borders(self, coded_kodak):
        """One picture has few borders: they are compared with lines inside its tiles."""
        inside = [offset for offset in range(-120, 121, 15) if abs(offset) > 30]
        for original, decoded in coded_kodak:
            elsewhere = [line_ratio(decoded, n) / line_ratio(original, n) for n in inside]
            border = line_ratio(decoded) / line_ratio(original)
            assert abs(border - np.mean(elsewhere)) < 4 * np.std(elsewhere)


def line_ratio(picture, offset=0):
    """Gradient across the lines `offset` pixels after tile borders, over that of all others."""
    pixels = np.asarray(picture, float)
    across = [np.abs(np.diff(pixels, axis=axis)).mean((1 - axis, 2)) for axis in (0, 1)]
    at_line = [(np.arange(len(steps)) + 1 - offset) % 256 == 0 for steps in across]
    for chosen in at_line:
        chosen[: max(0, offset)] = False  # at the edge of the picture, there is no border
    line = np.concatenate([s[b] for s, b in zip(across, at_line, strict=True)]).mean()
    return line / np.concatenate([s[~b] for s, b in zip(across, at_line, strict=True)]).mean()


def psnr(decoded, picture):
    return 10 * np.log10(255**2 / error(decoded, picture))
