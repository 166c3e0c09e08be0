"""Odd but valid files as in public test sets are read right; broken ones are one clear error."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from onedpiece.errors import LimitExceeded, PictureError
from onedpiece.images.reader import ReadOptions, open_picture

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
KINDS = [(GREY, depth) for depth in (1, 2, 4, 8, 16)]
KINDS += [(PALETTE, depth) for depth in (1, 2, 4, 8)]
KINDS += [(kind, depth) for kind in (RGB, GREY_ALPHA, RGBA) for depth in (8, 16)]
WITH_KEY = [(kind, depth) for kind, depth in KINDS if kind in (GREY, RGB, PALETTE)]
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
ADAM7 += [(0, 1, 1, 2)]  # x, y, step in x, step in y

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)


def chunk(kind: bytes, data: bytes = b"", crc_off_by: int = 0) -> bytes:
    checksum = zlib.crc32(kind + data) ^ crc_off_by
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def header(width: int, height: int, depth: int = 8, kind: int = RGB, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced))


def rows(samples: np.ndarray, depth: int) -> bytes:
    """Scan lines, unfiltered, of samples (H, W, C)."""
    if not samples.size:
        return b""
    lines = samples.reshape(len(samples), -1)
    if depth == 16:
        packed = lines.astype(">u2").view(np.uint8)
    else:
        bits = (lines[..., None] >> np.arange(depth)[::-1]) & 1
        packed = np.packbits(bits.reshape(len(lines), -1).astype(np.uint8), axis=1)
    return np.pad(packed, ((0, 0), (1, 0))).tobytes()


def png(samples: np.ndarray, kind: int, depth: int, extra: bytes = b"", interlaced=False) -> bytes:
    height, width, _ = samples.shape
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    data = zlib.compress(b"".join(rows(samples[y::dy, x::dx], depth) for x, y, dx, dy in passes))
    if kind == PALETTE:
        extra = chunk(b"PLTE", COLOURS[: 1 << depth].tobytes()) + extra
    return (
        SIGNATURE
        + header(width, height, depth, kind, int(interlaced))
        + extra
        + chunk(b"IDAT", data[:7])  # a picture's data may be in several chunks, and empty ones
        + chunk(b"IDAT")
        + chunk(b"IDAT", data[7:])
        + chunk(b"IEND")
    )


def samples_of(kind: int, depth: int, width: int, height: int) -> np.ndarray:
    random = np.random.default_rng(width * height)
    return random.integers(0, 1 << depth, (height, width, CHANNELS[kind]), np.int64)


def seen(samples: np.ndarray, kind: int, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """What a viewer shows: colours (H, W, 3) and opacity (H, W), 0 to 255."""
    if kind == PALETTE:
        return COLOURS[samples[..., 0]].astype(float), np.full(samples.shape[:2], 255.0)
    levels = samples * 255 / ((1 << depth) - 1)
    opaque = np.full(samples.shape[:2], 255.0)
    alpha = levels[..., -1] if kind in (GREY_ALPHA, RGBA) else opaque
    colours = levels[..., :1].repeat(3, -1) if kind in (GREY, GREY_ALPHA) else levels[..., :3]
    return colours, alpha


def check(picture, colours, alpha, off_by=1.0):
    """Colours match wherever anybody sees them; so does transparency."""
    opacity = picture.alpha if picture.alpha is not None else np.full(alpha.shape, 255)
    np.testing.assert_allclose(opacity, alpha, atol=1)
    visible = opacity > 0
    np.testing.assert_allclose(picture.pixels[visible].astype(float), colours[visible], atol=off_by)


class TestPng:
    @pytest.mark.parametrize("interlaced", [False, True])
    @pytest.mark.parametrize("kind, depth", KINDS)
    def test_every_kind_and_depth_at_every_small_size(self, kind, depth, interlaced):
        for width, height in [(n, n) for n in range(1, 10)] + [(1, 7), (13, 1), (37, 33)]:
            samples = samples_of(kind, depth, width, height)
            picture = open_picture(png(samples, kind, depth, interlaced=interlaced))
            assert picture.grey == (kind in (GREY, GREY_ALPHA))
            check(picture, *seen(samples, kind, depth))

    @pytest.mark.parametrize("kind, depth", WITH_KEY)
    def test_a_transparent_colour(self, kind, depth):
        samples = samples_of(kind, depth, 9, 5)
        samples[2:] >>= 1  # some levels are there more than once
        key = samples[-1, -1]
        data = bytes([255] * key[0] + [0]) if kind == PALETTE else key.astype(">u2").tobytes()
        picture = open_picture(png(samples, kind, depth, chunk(b"tRNS", data)))
        colours, _ = seen(samples, kind, depth)
        check(picture, colours, np.where((samples == key).all(-1), 0, 255))
        assert picture.grey == (kind == GREY)

    def test_a_palette_may_be_translucent_and_its_list_short(self):
        samples = samples_of(PALETTE, 2, 8, 8)
        picture = open_picture(png(samples, PALETTE, 2, chunk(b"tRNS", bytes([0, 99]))))
        check(picture, seen(samples, PALETTE, 2)[0], np.array([0, 99, 255, 255])[samples[..., 0]])

    @pytest.mark.parametrize("kind, depth", [(GREY, 8), (GREY, 16), (RGB, 8), (RGBA, 8)])
    @pytest.mark.parametrize("gamma", [0.35, 0.45455, 0.55, 1.0, 2.5])
    def test_gamma_is_corrected(self, kind, depth, gamma):
        samples = samples_of(kind, depth, 9, 9)
        extra = chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))
        colours, alpha = seen(samples, kind, depth)
        corrected = 255 * (colours / 255) ** (1 / (2.2 * gamma))
        off_by = 1.5 if depth == 8 else 12  # of 16 bits, 8 are left when it happens
        check(open_picture(png(samples, kind, depth, extra)), corrected, alpha, off_by)

    def test_gamma_is_ignored_beside_something_better(self):
        samples = samples_of(RGB, 8, 9, 9)
        gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        for better in (
            chunk(b"sRGB", b"\0"),
            chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile)),
        ):
            picture = open_picture(png(samples, RGB, 8, gamma + better))
            check(picture, *seen(samples, RGB, 8))

    def test_chunks_that_say_nothing_about_pixels_do_not_matter(self):
        samples = samples_of(RGB, 8, 9, 9)
        odd = [
            chunk(b"bKGD", bytes(6)),
            chunk(b"pHYs", bytes(9)),
            chunk(b"tIME", bytes(7)),
            chunk(b"sBIT", b"\x05\x06\x05"),
            chunk(b"hIST", bytes(6)),
            chunk(b"tEXt", b"Title\0a picture"),
            chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"text")),
            chunk(b"teSt", bytes(1000)),
        ]
        check(open_picture(png(samples, RGB, 8, b"".join(odd))), *seen(samples, RGB, 8))


def whole(**options) -> bytes:
    return png(samples_of(RGB, 8, 9, 9), RGB, 8, **options)


def a_text_that_unpacks_to(size: int) -> bytes:
    return chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(size)))


BROKEN_PNGS = {
    "signature": b"\x88" + whole()[1:],
    "signature after a transfer as text": whole().replace(b"\r\n", b"\n"),
    "signature alone": SIGNATURE,
    "no header": SIGNATURE + whole()[33:],
    "no width": whole().replace(header(9, 9), header(0, 9)),
    "no height": whole().replace(header(9, 9), header(9, 0)),
    "a negative width": whole().replace(header(9, 9), header(0x80000001, 9)),
    "a depth that does not exist": whole().replace(header(9, 9), header(9, 9, depth=3)),
    "a kind that does not exist": whole().replace(header(9, 9), header(9, 9, kind=5)),
    "a palette of 16 bits": whole().replace(header(9, 9), header(9, 9, 16, PALETTE)),
    "a header whose checksum is wrong": whole().replace(
        header(9, 9), chunk(b"IHDR", header(9, 9)[8:21], crc_off_by=1)
    ),
    "a checksum of pixels": whole()[:-20] + bytes([whole()[-20] ^ 1]) + whole()[-19:],
    "no pixels": SIGNATURE + header(9, 9) + chunk(b"IEND"),
    "no palette": SIGNATURE
    + header(9, 9, 8, PALETTE)
    + chunk(b"IDAT", zlib.compress(bytes(90)))
    + chunk(b"IEND"),
    "a filter that does not exist": SIGNATURE
    + header(9, 9)
    + chunk(b"IDAT", zlib.compress(b"\x09" + bytes(27) * 9 + bytes(8)))
    + chunk(b"IEND"),
    "pixels that are no zlib stream": SIGNATURE
    + header(9, 9)
    + chunk(b"IDAT", b"not compressed")
    + chunk(b"IEND"),
    "too few pixels": SIGNATURE
    + header(9, 9)
    + chunk(b"IDAT", zlib.compress(bytes(50)))
    + chunk(b"IEND"),
    "a transparent colour that is cut": whole(extra=chunk(b"tRNS", b"\0")),
    "a gamma that is cut": whole(extra=chunk(b"gAMA", b"\0")),
    "a text that unpacks to 64 megabytes": whole(extra=a_text_that_unpacks_to(1 << 26)),
    "hundreds of texts of a megabyte": whole(extra=a_text_that_unpacks_to(1 << 20) * 500),
}


@pytest.mark.parametrize("name", BROKEN_PNGS)
def test_a_broken_png_is_one_clear_line(name):
    with pytest.raises((PictureError, LimitExceeded)) as error:
        open_picture(BROKEN_PNGS[name])
    assert len(str(error.value)) > 20 and "\n" not in str(error.value)


def test_a_png_that_is_cut_anywhere_is_refused():
    data = whole()
    for end in range(len(data) - 4):  # the last checksum is one of no data
        with pytest.raises(PictureError):
            open_picture(data[:end])


def saved(image: Image.Image, format: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


class TestJpeg:
    @pytest.mark.parametrize("progressive", [False, True])
    def test_one_that_is_cut_anywhere_is_refused(self, progressive):
        noise = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
        data = saved(Image.fromarray(noise), "JPEG", progressive=progressive)
        for end in range(
            0, len(data) - 8, 7
        ):  # the last bytes hold little more than the end's marker
            with pytest.raises(PictureError):
                open_picture(data[:end])

    def test_what_follows_it_does_not_matter(self):
        data = saved(Image.new("RGB", (8, 8), "red"), "JPEG") + b"a camera's own data"
        assert open_picture(data).pixels[0, 0, 0] > 250

    def cmyk(self) -> bytes:
        """As Adobe's programs and Pillow write it: inverted."""
        return saved(Image.new("CMYK", (16, 16), (0, 255, 255, 51)), "JPEG", quality=95)

    def test_inverted_cmyk(self):
        assert b"Adobe" in self.cmyk()
        colour = open_picture(self.cmyk()).pixels[8, 8].astype(int)
        np.testing.assert_allclose(colour, (204, 0, 0), atol=3)

    def test_ycck(self):
        """The inks 0, 255, 255 as if they were red, green and blue turned to YCbCr; black stays."""
        inks = Image.new("RGB", (16, 16), (0, 255, 255)).convert("YCbCr").getpixel((0, 0))
        stored = [255 - level for level in inks]  # which Pillow inverts once more
        data = bytearray(saved(Image.new("CMYK", (16, 16), (*stored, 51)), "JPEG", quality=95))
        data[data.index(b"Adobe") + 11] = 2  # the marker's "YCCK"
        colour = open_picture(bytes(data)).pixels[8, 8].astype(int)
        np.testing.assert_allclose(colour, (204, 0, 0), atol=4)


def tiff(samples: np.ndarray, bits: int, photometric: int, order: str, extra: int | None) -> bytes:
    """Samples (H, W, C) of 8 or 16 bits, uncompressed; `extra` says what a last channel is."""
    height, width, channels = samples.shape
    data = samples.astype(f"{order}u{bits // 8}").tobytes()
    sizes = struct.pack(f"{order}{channels}H", *[bits] * channels)
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
    ]
    if extra is not None:
        entries.append((338, 3, 1, extra))
    if len(sizes) > 4:
        entries.append((258, 3, channels, 8 + len(data)))
        data += sizes
    else:
        entries.append((258, 3, channels, sizes))
    body = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in sorted(entries):
        if isinstance(value, int):
            value = struct.pack(order + ("H" if kind == 3 and count == 1 else "I"), value)
        body += struct.pack(f"{order}HHI", tag, kind, count) + value.ljust(4, b"\0")
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return start + data + body + bytes(4)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [8, 16])
class TestTiff:
    def samples(self, bits: int, channels: int) -> np.ndarray:
        return np.random.default_rng(bits).integers(0, 1 << bits, (5, 7, channels), np.int64)

    @pytest.mark.parametrize("white_is_zero", [False, True])
    def test_grey(self, bits, order, white_is_zero):
        samples = self.samples(bits, 1)
        data = tiff(samples, bits, 0 if white_is_zero else 1, order, None)
        if (bits, order, white_is_zero) == (16, ">", True):  # Pillow does not know this one
            with pytest.raises(PictureError, match="not a picture in a format"):
                open_picture(data)
            return
        picture = open_picture(data)
        colours, alpha = seen(samples, GREY, bits)
        assert picture.grey
        check(picture, 255 - colours if white_is_zero else colours, alpha)

    @pytest.mark.parametrize("channels, extra", [(3, None), (4, 2), (4, 0)])
    def test_colour(self, bits, order, channels, extra):
        samples = self.samples(bits, channels)
        kind = RGBA if extra == 2 else RGB  # 0: a channel that means nothing
        check(open_picture(tiff(samples, bits, 2, order, extra)), *seen(samples, kind, bits))

    def test_cmyk(self, bits, order):
        full = (1 << bits) - 1
        samples = np.full((4, 4, 4), full) * np.array([0, 1, 1, 0.2])
        colour = open_picture(tiff(samples, bits, 5, order, None)).pixels[0, 0].astype(int)
        np.testing.assert_allclose(colour, (204, 0, 0), atol=1)


ONE_PIXEL = ["AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA"]


@pytest.mark.parametrize("format", [*ONE_PIXEL, "TIFF", "WEBP"])
def test_a_picture_of_one_pixel(format):
    picture = open_picture(saved(Image.new("RGB", (1, 1), (200, 100, 50)), format))
    np.testing.assert_allclose(picture.pixels[0, 0].astype(int), (200, 100, 50), atol=3)


def with_size(format: str, width: int, height: int) -> bytes:
    """A small file that says it holds a large picture."""
    data = bytearray(saved(Image.new("RGB", (16, 16), "red"), format))
    place, packed = {
        "BMP": (18, "<ii"),
        "GIF": (6, "<HH"),
        "JPEG": (data.find(b"\xff\xc0") + 5, ">HH"),  # height first
        "PCX": (8, "<HH"),
        "QOI": (4, ">II"),
        "SGI": (6, ">HH"),
        "TGA": (12, "<HH"),
        "WEBP": (data.find(b"\x9d\x01\x2a") + 3, "<HH"),
        "JPEG2000": (data.find(b"\xff\x51") + 6, ">II"),
    }[format]
    struct.pack_into(packed, data, place, width, height)
    if format == "JPEG2000":
        struct.pack_into(">II", data, data.index(b"ihdr") + 4, height, width)
    return bytes(data)


HUGE = {
    **{
        format: with_size(format, 30_000, 30_000)
        for format in ("BMP", "GIF", "JPEG", "PCX", "QOI", "SGI", "TGA", "JPEG2000")
    },
    "WEBP": with_size("WEBP", 16_383, 16_383),
    "PNG": SIGNATURE + header(30_000, 30_000) + chunk(b"IDAT") + chunk(b"IEND"),
    "PPM": b"P6 30000 30000 255\n" + bytes(100),
    "TIFF": tiff(np.zeros((1, 30_000, 1)), 8, 1, "<", None).replace(
        struct.pack("<HHII", 257, 4, 1, 1), struct.pack("<HHII", 257, 4, 1, 30_000)
    ),
}


class TestHuge:
    """Pictures that are larger than allowed are refused from what their headers say."""

    @pytest.mark.parametrize("format", HUGE)
    def test_dimensions_in_a_small_file(self, format):
        with pytest.raises(LimitExceeded, match="pixels"):
            open_picture(HUGE[format], ReadOptions(max_pixels=10**8))

    def test_a_side_that_the_file_format_cannot_hold(self):
        with pytest.raises(LimitExceeded, match="32768 a side"):
            open_picture(SIGNATURE + header(32_769, 1) + chunk(b"IDAT") + chunk(b"IEND"))

    def test_a_real_bomb(self):
        """A gigabyte of zeros in a megabyte."""
        pixels = zlib.compress(bytes(1 << 24)) * 4
        data = SIGNATURE + header(18_000, 18_000) + chunk(b"IDAT", pixels) + chunk(b"IEND")
        with pytest.raises(LimitExceeded):
            open_picture(data)
