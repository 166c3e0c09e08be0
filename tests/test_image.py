"""Pictures are read upright, in sRGB and 8 bits; what cannot be read is a PictureError."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from onedpiece.errors import LimitExceeded, OdpError, PictureError
from onedpiece.images.picture import Picture
from onedpiece.images.reader import ReadOptions, from_pillow, open_picture


def saved(image: Image.Image, format: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def coloured() -> Image.Image:
    y, x = np.mgrid[:60, :70]
    return Image.fromarray(np.stack([3 * x, 4 * y, x + y], -1).astype(np.uint8))


def oriented(format: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(coloured(), format, exif=exif)


class TestOrientation:
    @pytest.mark.parametrize(
        "orientation, upright",
        [
            (1, lambda a: a),
            (2, lambda a: a[:, ::-1]),
            (3, lambda a: a[::-1, ::-1]),
            (4, lambda a: a[::-1]),
            (5, lambda a: a.swapaxes(0, 1)),
            (6, lambda a: np.rot90(a, -1)),
            (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
            (8, lambda a: np.rot90(a)),
        ],
    )
    def test_what_exif_says_is_applied(self, orientation, upright):
        picture = open_picture(oriented("PNG", orientation))
        np.testing.assert_array_equal(picture.pixels, upright(np.asarray(coloured())))

    def test_a_jpeg_from_a_camera_held_upright_is_portrait(self):
        assert open_picture(oriented("JPEG", 6)).pixels.shape == (70, 60, 3)


class TestGrey:
    @pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16"])
    def test_grey_pictures_are_grey(self, mode):
        assert open_picture(saved(Image.new(mode, (5, 4)))).grey

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
    def test_pictures_with_colour_channels_are_not(self, mode):
        assert not open_picture(saved(Image.new(mode, (5, 4)))).grey

    def test_16_bits_are_scaled_to_8(self):
        levels = np.array([[0, 1 * 257, 100 * 257, 200 * 257 + 90, 65535]], np.uint16)
        picture = open_picture(saved(Image.fromarray(levels)))
        np.testing.assert_array_equal(picture.pixels[0, :, 1], [0, 1, 100, 200, 255])

    def test_a_grey_picture_leaves_as_mode_l_and_a_coloured_one_as_rgb(self):
        pixels = np.full((4, 5, 3), 77, np.uint8)
        assert Picture(pixels, grey=True).to_pillow().mode == "L"
        assert Picture(pixels, grey=False).to_pillow().mode == "RGB"
        assert Picture(pixels, grey=True).to_pillow().getpixel((0, 0)) == 77


class TestTransparency:
    def three_pixels(self):
        image = Image.new("RGBA", (3, 1))
        image.putdata([(255, 0, 0, 255), (0, 0, 255, 0), (255, 0, 0, 128)])
        return saved(image)

    def test_it_is_kept_aside(self):
        picture = open_picture(self.three_pixels())
        np.testing.assert_array_equal(picture.alpha, [[255, 0, 128]])
        np.testing.assert_array_equal(picture.pixels[0, 0], (255, 0, 0))

    def test_pixels_that_nobody_sees_have_the_mean_of_the_others(self):
        picture = open_picture(self.three_pixels())
        np.testing.assert_array_equal(picture.pixels[0, 1], (255, 0, 0))
        nothing = open_picture(saved(Image.new("RGBA", (4, 4), (9, 9, 9, 0))))
        assert not nothing.pixels.any() and not nothing.alpha.any()

    def test_an_opaque_picture_has_none(self):
        assert open_picture(saved(Image.new("RGBA", (3, 3), (1, 2, 3, 255)))).alpha is None
        assert open_picture(saved(coloured())).alpha is None

    def test_a_background_takes_its_place(self):
        picture = open_picture(self.three_pixels(), ReadOptions(background=(255, 255, 255)))
        assert picture.alpha is None
        row = picture.pixels[0].astype(int)
        np.testing.assert_array_equal(row[:2], [(255, 0, 0), (255, 255, 255)])
        np.testing.assert_allclose(row[2], (255, 127, 127), atol=1)

    @pytest.mark.parametrize("background, grey", [((9, 9, 9), True), ((9, 8, 9), False)])
    def test_a_grey_picture_stays_grey_on_grey(self, background, grey):
        data = saved(Image.new("LA", (2, 2), (0, 0)))
        picture = open_picture(data, ReadOptions(background=background))
        assert picture.grey == grey and (picture.pixels == background).all()
        assert open_picture(data).grey

    def test_a_palette_can_have_a_transparent_colour(self):
        image = Image.new("P", (2, 1))
        image.putpalette([10, 20, 30, 40, 50, 60])
        image.putdata([0, 1])
        picture = open_picture(saved(image, transparency=1))
        np.testing.assert_array_equal(picture.alpha, [[255, 0]])
        np.testing.assert_array_equal(picture.pixels[0, 0], (10, 20, 30))

    @pytest.mark.parametrize("grey, mode", [(True, "LA"), (False, "RGBA")])
    def test_it_comes_back_as_a_channel(self, grey, mode):
        alpha = np.array([[0, 128]], np.uint8)
        image = Picture(np.zeros((1, 2, 3), np.uint8), grey, alpha).to_pillow()
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(image.getchannel("A")), alpha)


def swapped_profile() -> bytes:
    """An sRGB profile in which red and blue have changed places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ", 128), profile.index(b"bXYZ", 128)
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of a grey with its white and its curve, which is all that one needs."""
    white = (
        b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * v) for v in (0.9642, 1, 0.8249)))
    )
    curve = b"curv" + bytes(4) + struct.pack(">IHxx", 1, round(256 * gamma))
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", 156, 20, b"kTRC", 176, 16)
    head = struct.pack(">I4sI4s4s4s", 192, bytes(4), 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28)
    return head + white[8:] + bytes(128 - len(head) - 12) + tags + white + curve


class TestColour:
    def test_a_profile_is_converted_to_srgb(self):
        data = saved(Image.new("RGB", (4, 4), (250, 10, 10)), icc_profile=swapped_profile())
        np.testing.assert_allclose(
            open_picture(data).pixels[0, 0].astype(int), (10, 10, 250), atol=6
        )

    def test_a_grey_profile_is_not_kept_behind_colour(self):
        dark = saved(Image.new("LA", (4, 4), (55, 0)), icc_profile=grey_profile(gamma=1.0))
        options = ReadOptions(background=(255, 0, 0), metadata=frozenset({"icc"}))
        assert not open_picture(dark, options).metadata
        kept = open_picture(dark, ReadOptions(background=(9, 9, 9), metadata=frozenset({"icc"})))
        assert kept.grey and "icc" in kept.metadata

    def test_unless_it_is_to_be_kept(self):
        data = saved(Image.new("RGB", (4, 4), (250, 10, 10)), icc_profile=swapped_profile())
        picture = open_picture(data, ReadOptions(metadata=frozenset({"icc"})))
        np.testing.assert_array_equal(picture.pixels[0, 0], (250, 10, 10))
        assert picture.metadata == {"icc": swapped_profile()}

    def test_a_broken_profile_is_as_good_as_none(self):
        data = saved(coloured(), icc_profile=b"no profile")
        np.testing.assert_array_equal(open_picture(data).pixels, np.asarray(coloured()))

    def test_a_grey_profile_is_converted_with_and_without_transparency(self):
        dark = grey_profile(gamma=1.0)
        for mode, colour in (("L", 55), ("LA", (55, 200)), ("I;16", 55 * 257)):
            picture = open_picture(saved(Image.new(mode, (4, 4), colour), icc_profile=dark))
            assert picture.grey
            np.testing.assert_allclose(picture.pixels[0, 0].astype(int), 128, atol=3)

    def test_transparency_and_greyness_survive_a_profile(self):
        image = Image.new("RGBA", (2, 1), (250, 10, 10, 77))
        picture = open_picture(saved(image, icc_profile=swapped_profile()))
        assert (picture.alpha == 77).all() and picture.pixels[0, 0, 2] > 240
        grey = open_picture(saved(Image.new("L", (2, 2), 99), icc_profile=swapped_profile()))
        assert grey.grey


class TestMetadata:
    EVERYTHING = ReadOptions(metadata=frozenset({"exif", "icc", "xmp"}))

    def picture_file(self, format):
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "a gradient"
        return saved(
            coloured(), format, exif=exif, xmp=b"<x:xmpmeta/>", icc_profile=swapped_profile()
        )

    @pytest.mark.parametrize("format", ["JPEG", "WEBP"])
    def test_what_is_asked_for_is_kept(self, format):
        picture = open_picture(self.picture_file(format), self.EVERYTHING)
        assert set(picture.metadata) == {"exif", "icc", "xmp"}
        assert picture.metadata["xmp"] == b"<x:xmpmeta/>"
        assert open_picture(self.picture_file(format)).metadata == {}

    def test_a_picture_that_was_turned_upright_no_longer_says_so(self):
        exif = Image.Exif()
        exif.load(open_picture(self.picture_file("JPEG"), self.EVERYTHING).metadata["exif"])
        assert exif[0x010E] == "a gradient" and exif.get(0x0112, 1) == 1

    def test_a_profile_of_other_channels_is_not_kept(self):
        profile = bytearray(swapped_profile())
        profile[16:20] = b"CMYK"
        data = saved(Image.new("RGB", (4, 4), (250, 10, 10)), icc_profile=bytes(profile))
        assert open_picture(data, self.EVERYTHING).metadata == {}

    def test_broken_exif_does_not_matter(self):
        data = saved(coloured(), exif=b"Exif\0\0no tags at all")
        np.testing.assert_array_equal(
            open_picture(data, self.EVERYTHING).pixels, np.asarray(coloured())
        )

    def test_of_a_tiff_only_what_describes_the_picture_is_kept(self):
        data = saved(coloured(), "TIFF", tiffinfo={270: "a gradient"})
        exif = Image.Exif()
        exif.load(open_picture(data, self.EVERYTHING).metadata["exif"])
        assert dict(exif) == {270: "a gradient"}

    def test_the_exif_of_a_turned_tiff_is_reduced_too(self):
        data = saved(coloured(), "TIFF", tiffinfo={270: "a gradient", 0x0112: 6})
        picture = open_picture(data, self.EVERYTHING)
        exif = Image.Exif()
        exif.load(picture.metadata["exif"])
        assert picture.pixels.shape == (70, 60, 3) and dict(exif) == {270: "a gradient"}

    @pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
    def test_the_profile_of_a_grey_picture_is_kept(self, mode):
        profile = bytearray(swapped_profile())
        profile[16:20] = b"GRAY"
        data = saved(Image.new(mode, (4, 4)), icc_profile=bytes(profile))
        assert open_picture(data, self.EVERYTHING).metadata == {"icc": bytes(profile)}

    def test_without_metadata_none_is_kept(self):
        assert open_picture(saved(coloured()), self.EVERYTHING).metadata == {}


class TestOtherKinds:
    def test_cmyk_becomes_rgb(self):
        data = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
        np.testing.assert_allclose(open_picture(data).pixels[8, 8].astype(int), (255, 0, 0), atol=6)

    def test_an_animation_is_refused(self):
        frames = [Image.new("P", (8, 8), colour) for colour in (0, 1)]
        frames[1].putpalette([0, 0, 0, 255, 0, 0])
        data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
        with pytest.raises(PictureError, match="several frames"):
            open_picture(data)

    def test_a_gif_of_one_frame_is_a_picture(self):
        assert open_picture(saved(coloured(), "GIF")).pixels.shape == (60, 70, 3)

    def test_a_jpeg_with_a_second_picture_inside_is_its_first(self):
        extra = Image.new("RGB", (20, 10), "blue")
        data = saved(Image.new("RGB", (40, 30), "red"), "MPO", save_all=True, append_images=[extra])
        picture = open_picture(data)
        assert picture.pixels.shape == (30, 40, 3) and picture.pixels[0, 0, 0] > 250

    def test_floating_point_is_refused(self):
        with pytest.raises(PictureError, match="floating-point"):
            open_picture(saved(Image.new("F", (4, 4)), "TIFF"))

    def test_an_image_without_pixels_is_refused(self):
        with pytest.raises(PictureError, match="no pixels"):
            from_pillow(Image.new("RGB", (0, 5)))


def png_header(width: int, height: int) -> bytes:
    """A PNG file that ends where its pixels should begin."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


class TestBadInput:
    def test_too_many_pixels_are_refused_before_any_is_decoded(self):
        with pytest.raises(LimitExceeded, match="more"):
            open_picture(png_header(30_000, 30_000))

    def test_the_limit_can_be_set(self):
        data = saved(coloured())
        assert open_picture(data, ReadOptions(max_pixels=60 * 70)).pixels.size
        with pytest.raises(LimitExceeded):
            open_picture(data, ReadOptions(max_pixels=60 * 70 - 1))

    def test_a_picture_whose_pixels_are_missing_cannot_be_read(self):
        with pytest.raises(PictureError):
            open_picture(png_header(30, 30))

    def test_a_truncated_jpeg_cannot_be_read(self):
        data = saved(coloured(), "JPEG")
        with pytest.raises(PictureError, match=r"(?i)truncated"):
            open_picture(data[: len(data) // 2])

    @pytest.mark.parametrize("data", [b"", b"hello", bytes(1000)])
    def test_what_is_no_picture_cannot_be_read(self, data):
        with pytest.raises(PictureError, match="not a picture"):
            open_picture(data)

    def test_an_odp_file_is_named_as_such(self, one_tile):
        with pytest.raises(PictureError, match=r"an \.odp picture already"):
            open_picture(one_tile)

    def test_a_file_that_is_not_there_cannot_be_opened(self, tmp_path):
        with pytest.raises(PictureError, match="cannot be opened: No such file"):
            open_picture(tmp_path / "nothing.png")

    @pytest.mark.parametrize("error", [RuntimeError, struct.error, SyntaxError, zlib.error])
    def test_whatever_pillow_raises_is_a_picture_error(self, error, monkeypatch):
        def load(self):
            raise error("broken in some way")

        monkeypatch.setattr(ImageFile.ImageFile, "load", load)
        with pytest.raises(PictureError, match="broken in some way"):
            open_picture(saved(coloured()))

    def test_a_lack_of_memory_is_named(self, monkeypatch):
        def load(self):
            raise MemoryError

        monkeypatch.setattr(ImageFile.ImageFile, "load", load)
        with pytest.raises(PictureError, match="not enough memory"):
            open_picture(saved(coloured()))

    @pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's about corrupt metadata
    @settings(deadline=None, max_examples=150)
    @given(
        st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]),
        st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=8),
        st.integers(0, 3000),
    )
    @example("PNG", [], 40)
    def test_damaged_files_raise_nothing_else(self, format, changes, cut):
        data = bytearray(
            oriented(format, 6) if format in {"PNG", "JPEG"} else saved(coloured(), format)
        )
        for position, value in changes:
            data[position % len(data)] = value
        try:
            picture = open_picture(bytes(data[: cut or None]), ReadOptions(max_pixels=1_000_000))
        except OdpError:
            return
        assert picture.pixels.dtype == np.uint8 and picture.pixels.shape[2] == 3
