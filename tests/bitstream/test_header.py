"""The header: small, exact, and refused when a bit of it is wrong."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onedpiece.bitstream.bits import BitWriter
from onedpiece.bitstream.checksum import crc8
from onedpiece.bitstream.header import Header
from onedpiece.constants import DEFAULT_TOKEN_SET, MAGIC, MAX_DENSITY, MAX_SIDE
from onedpiece.errors import (
    DamagedFile,
    LimitExceeded,
    NotAnOdpFile,
    OdpError,
    UnsupportedFile,
)

MODEL = bytes.fromhex("a1b2c3")
TILE_64 = Header(256, 256, 64, MODEL)
OLD_TILE_64 = Header(256, 256, 64, MODEL, version=1)

sides = st.integers(1, MAX_SIDE) | st.just(256)
native = st.builds(
    Header,
    width=sides,
    height=sides,
    tokens_per_tile=st.integers(1, 256),
    model=st.binary(min_size=3, max_size=3),
    overlap=st.integers(0, 15).map(lambda units: 8 * units),
    grey=st.booleans(),
    entropy_coded=st.booleans(),
    has_chunks=st.booleans(),
    has_allocation=st.booleans(),
    version=st.sampled_from([1, 2]),
)
fine = st.builds(
    Header,
    width=st.integers(1, MAX_SIDE // MAX_DENSITY) | st.just(256),
    height=st.integers(1, MAX_SIDE // MAX_DENSITY) | st.just(256),
    tokens_per_tile=st.integers(1, 256),
    model=st.just(DEFAULT_TOKEN_SET) | st.binary(min_size=3, max_size=3),
    grey=st.booleans(),
    has_allocation=st.booleans(),
    scaled=st.just(True),
    density=st.integers(2, MAX_DENSITY),
)
headers = (
    fine
    | native
    | native.map(
        lambda header: replace(
            header,
            width=1 + header.width % 255,
            height=1 + header.height % 2048,
            overlap=0,
            scaled=True,
        )
    )
)


def flip(data: bytes, bit: int) -> bytes:
    """`data` with one bit turned over, counted from the most significant bit of the first byte."""
    flipped = bytearray(data)
    flipped[bit // 8] ^= 0x80 >> bit % 8
    return bytes(flipped)


def with_checksum(*fields: str) -> bytes:
    """A header with a right checksum and any bits after the magic."""
    bits = BitWriter()
    for field in fields:
        digits = field.replace(" ", "")
        bits.write(int(digits, 2), len(digits))
    guarded = MAGIC + bits.getvalue()
    return guarded + bytes([crc8(guarded)])


def old_header(flags: str, *fields: str) -> bytes:
    """A header of version 1 of MODEL: the bits of byte 2, then those after the fingerprint."""
    return with_checksum(flags, f"{int.from_bytes(MODEL, 'big'):024b}", *fields)


class TestBytes:
    @pytest.mark.parametrize(
        "header, expected",
        [
            (OLD_TILE_64, "9d50 10 a1b2c3 28 58"),
            (Header(256, 256, 2, MODEL, grey=True, version=1), "9d50 12 a1b2c3 00 44"),
            (
                Header(256, 256, 256, b"\0\0\0", has_chunks=True, version=1),
                "9d50 11 000000 38 4d",
            ),
            (Header(256, 256, 100, MODEL, version=1), "9d50 10 a1b2c3 58c0 63"),
            (Header(1, 1, 1, MODEL, version=1), "9d50 10 a1b2c3 c020002000 0e"),
            (
                Header(1920, 1080, 64, MODEL, overlap=16, version=1),
                "9d50 10 a1b2c3 887f29b845 1d",
            ),
            (
                Header(32768, 32768, 77, MODEL, overlap=120, version=1),
                "9d50 10 a1b2c3 8080ff0101fe7a98 c5",
            ),
            (Header(256, 256, 64, MODEL, entropy_coded=True, version=1), "9d50 14 a1b2c3 28 d7"),
        ],
    )
    def test_version_1(self, header, expected):
        data = bytes.fromhex(expected)
        assert header.pack().hex(" ") == data.hex(" ")
        assert Header.unpack(data) == (header, len(data))

    @pytest.mark.parametrize(
        "header, expected",
        [
            (Header(256, 256, 64, DEFAULT_TOKEN_SET), "9d50 20 06 e1"),
            (Header(256, 256, 100, DEFAULT_TOKEN_SET), "9d50 20 09 63 44"),
            (TILE_64, "9d50 20 86 a1b2c3 95"),
            (Header.for_picture(256, 256, 256, DEFAULT_TOKEN_SET, density=2), "9d50 20 18 bb"),
            (Header(1, 1, 1, DEFAULT_TOKEN_SET), "9d50 20 40 804000 1a"),
            (Header.for_picture(1920, 1080, 64, DEFAULT_TOKEN_SET), "9d50 20 46 10fe5374 e5"),
            (
                Header(1920, 1080, 64, DEFAULT_TOKEN_SET, scaled=True, has_allocation=True),
                "9d50 20 4a 3f 10fe5374 fd",
            ),
            (
                Header.for_picture(640, 480, 100, DEFAULT_TOKEN_SET, density=2),
                "9d50 20 59 63 6feb7d f5",
            ),
            (
                Header(32768, 32768, 77, MODEL, overlap=120),
                "9d50 20 c9 a1b2c3 4c 0101fe0203fef0 a8",
            ),
        ],
    )
    def test_version_2(self, header, expected):
        data = bytes.fromhex(expected)
        assert header.pack().hex(" ") == data.hex(" ")
        assert Header.unpack(data) == (header, len(data))

    def test_the_checksum_of_the_usual_test_string(self):
        assert crc8(b"123456789") == 0xFB

    @pytest.mark.parametrize("tokens", range(1, 257))
    def test_a_256x256_picture_has_5_header_bytes_or_6(self, tokens):
        size = 5 if tokens in (1, 2, 4, 8, 16, 32, 64, 128, 256) else 6
        for density in (1, 2, 3, 4):
            header = Header.for_picture(256, 256, tokens, DEFAULT_TOKEN_SET, density=density)
            assert len(header.pack()) == size

    def test_another_token_set_takes_3_bytes_more(self):
        assert len(TILE_64.pack()) == 5 + 3

    def test_no_header_is_longer_than_16_bytes(self):
        assert len(Header(MAX_SIDE, MAX_SIDE, 77, MODEL, overlap=120).pack()) == 16


class TestRoundTrip:
    @given(headers, st.binary(max_size=20))
    def test_a_header_comes_back_whatever_follows_it(self, header, rest):
        data = header.pack()
        assert Header.unpack(data + rest) == (header, len(data))

    def test_256x256_pixels_are_one_tile_and_keep_no_overlap(self):
        assert Header(256, 256, 64, MODEL, overlap=16) == TILE_64

    def test_pixels_and_tiles_follow_from_the_size(self):
        header = Header(300, 200, 64, MODEL, overlap=16)
        assert header.pixels == 60000
        assert header.grid.corners() == [(0, 0), (240, 0)]


class TestNotThisFormat:
    @pytest.mark.parametrize(
        "beginning, hint",
        [
            (b"", "empty"),
            (b"PK\x03\x04\x14\0", "OpenDocument Presentation"),
            (b"\x89PNG\r\n\x1a\n", "PNG"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "WebP"),
            (b"\x1dP\x10!2C(", "eighth bit"),
            (b"hello", "not a One-D-Piece picture"),
            (b"\x9dQ", "not a One-D-Piece picture"),
        ],
    )
    def test_other_files_are_named_where_they_are_known(self, beginning, hint):
        with pytest.raises(NotAnOdpFile, match=hint):
            Header.unpack(beginning)


class TestDamage:
    @given(headers, st.data())
    def test_a_truncated_header_is_damaged(self, header, data):
        whole = header.pack()
        length = data.draw(st.integers(1, len(whole) - 1))
        with pytest.raises(DamagedFile, match="truncated"):
            Header.unpack(whole[:length])

    @pytest.mark.parametrize("version", [1, 2])
    @pytest.mark.parametrize("tokens", [1, 2, 4, 8, 16, 32, 64, 100, 128, 255, 256])
    @pytest.mark.parametrize("size", [(256, 256), (1, 1), (640, 480), (1920, 1080)])
    def test_every_flipped_bit_is_refused(self, size, tokens, version):
        """With this payload. With 1 of 256, a flip that moves the checksum passes."""
        whole = Header(*size, tokens, MODEL, version=version).pack()
        payload = bytes(range(8, 108))
        for bit in range(8 * len(whole)):
            with pytest.raises(OdpError):
                Header.unpack(flip(whole, bit) + payload)

    @given(headers, st.binary(max_size=40), st.data())
    def test_a_flipped_bit_passes_only_if_it_moves_the_checksum(self, header, payload, data):
        """The checksum finds every single flip, as long as it is looked for in its own place."""
        whole = header.pack()
        bit = data.draw(st.integers(0, 8 * len(whole) - 1))
        try:
            _, length = Header.unpack(flip(whole, bit) + payload)
        except OdpError:
            return
        assert length != len(whole)

    @pytest.mark.parametrize("bit", range(20, 64))
    def test_flipped_flags_and_fingerprints_are_damage_not_features(self, bit):
        for header in (OLD_TILE_64, TILE_64):
            with pytest.raises(DamagedFile):
                Header.unpack(flip(header.pack(), bit))

    @pytest.mark.parametrize(
        "fields",
        [
            ("00010000", "0", "1 00111111"),  # 64 tokens in the long form
            ("00010000", "0", "1 00000001"),  # 2 tokens in the long form
            ("00010000", "1 111111111 111111111 00 0000 0", "0 101"),  # 256x256 in the long form
            ("00010000", "1 111111111 111111111 00 0010 0", "0 101"),  # and with an overlap
            ("00010000", "0", "0 101", "001"),  # padding that is not zero
        ],
    )
    def test_only_the_canonical_form_of_version_1_is_read(self, fields):
        with pytest.raises(DamagedFile, match="canonical"):
            Header.unpack(old_header(*fields))

    @pytest.mark.parametrize(
        "fields",
        [
            ("1 0 00 0110", f"{int.from_bytes(DEFAULT_TOKEN_SET, 'big'):024b}"),  # named in vain
            ("0 0 00 1001", "00111111"),  # 64 tokens in full
            ("0 0 00 1001", "00000000"),  # 1 token in full
            ("0 0 00 1010", "00111111"),  # one tile with an allocation
            ("0 1 00 0110", "111111111 111111111 00"),  # 256x256 as a long size
            ("0 1 01 0110", "111111111 111111111 01"),  # the same at density 2
            ("0 1 00 0110", "100000000 100000000 10 0000"),  # overlap of 0
            ("0 1 00 0110", "100000000 100000000 01", "0001"),  # padding that is not zero
        ],
    )
    def test_only_the_canonical_form_of_version_2_is_read(self, fields):
        with pytest.raises(DamagedFile, match="canonical"):
            Header.unpack(with_checksum("0010 0000", *fields))

    def test_a_number_that_is_too_long_is_damage(self):
        with pytest.raises(DamagedFile):
            Header.unpack(old_header("00010000", "1", "0" * 400))
        with pytest.raises(DamagedFile):
            Header.unpack(with_checksum("0010 0000", "0 1 00 0000", "0" * 400))

    @given(st.binary(max_size=60))
    def test_random_bytes_raise_nothing_else(self, data):
        for beginning in (b"", MAGIC, MAGIC + b"\x10", MAGIC + b"\x20"):
            with suppress(OdpError):
                Header.unpack(beginning + data)


class TestUnknown:
    @pytest.mark.parametrize("version", [0, *range(3, 16)])
    def test_other_versions_are_refused(self, version):
        with pytest.raises(UnsupportedFile, match=f"version {version}"):
            Header.unpack(with_checksum(f"{version:04b}0000", "0 0 00 0000"))

    @pytest.mark.parametrize(
        "fields",
        [
            ("00011000", "0", "0 101"),  # must refuse
            ("00010000", "1 100000000 100000000 10 0000 0", "0 101"),  # layouts
            ("00010000", "1 100000000 100000000 11 0000 0", "0 101"),
        ],
    )
    def test_reserved_values_of_version_1_are_refused(self, fields):
        with pytest.raises(UnsupportedFile):
            Header.unpack(old_header(*fields))

    @pytest.mark.parametrize(
        "fields",
        [
            ("0010 1000", "0 0 00 0110"),  # must refuse
            ("0010 0000", "0 1 00 0110", "100000000 100000000 11"),  # layout
            *(("0010 0000", f"0 0 00 {code:04b}") for code in range(11, 16)),  # tokens
        ],
    )
    def test_reserved_values_of_version_2_are_refused(self, fields):
        with pytest.raises(UnsupportedFile):
            Header.unpack(with_checksum(*fields))

    def test_the_helpers_of_these_tests_write_readable_headers(self):
        fields = ("00010000", "1 100000000 100000000 00 0000 0", "0 101")
        assert Header.unpack(old_header(*fields))[0] == Header(1, 1, 64, MODEL, version=1)
        fields = ("0010 0000", "0 1 00 0110", "100000000 100000000 00")
        assert Header.unpack(with_checksum(*fields))[0] == Header(1, 1, 64, DEFAULT_TOKEN_SET)


class TestDensity:
    def test_tiles_are_as_many_as_of_a_picture_scaled_up(self):
        header = Header.for_picture(256, 256, 64, MODEL, density=3)
        assert (header.grid.columns, header.grid.rows) == (3, 3)
        assert header.base_tiles == 1
        assert header.decoded_pixels == 9 * 256 * 256

    def test_tiles_at_density_1_are_those_that_the_picture_would_have(self):
        for size in ((300, 200), (321, 500), (512, 256), (5000, 300)):
            coarse = Header.for_picture(*size, 64, MODEL)
            assert Header.for_picture(*size, 64, MODEL, density=2).base_tiles == coarse.grid.count

    @pytest.mark.parametrize("density", [2, 3, 4])
    def test_the_tiles_must_not_be_too_wide(self, density):
        side = MAX_SIDE // density
        Header.for_picture(side, 1, 64, MODEL, density=density)
        with pytest.raises(LimitExceeded, match=f"at density {density}"):
            Header.for_picture(side + 1, 1, 64, MODEL, density=density)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"density": 0},
            {"density": 5},
            {"density": 2, "scaled": False},
            {"density": 2, "overlap": 8},
            {"density": 2, "version": 1},
            {"version": 3},
        ],
    )
    def test_others_are_mistakes_of_the_caller(self, wrong):
        with pytest.raises(ValueError):
            replace(Header(300, 300, 64, MODEL, scaled=True), **wrong)

    @pytest.mark.parametrize("layout", ["00", "10 0001"])
    def test_only_scaled_pictures_have_fine_tiles(self, layout):
        fields = ("0010 0000", "0 1 01 0110", f"100000000 100000000 {layout}")
        with pytest.raises(DamagedFile):
            Header.unpack(with_checksum(*fields))


class TestScaled:
    @pytest.mark.parametrize(
        "size, tiles",
        [
            ((1, 1), (1, 1)),
            ((320, 64), (1, 1)),
            ((321, 500), (2, 2)),
            ((576, 577), (2, 3)),
            ((2048, 9), (8, 1)),
        ],
    )
    def test_a_side_beyond_its_tiles_by_a_quarter_gets_another_one(self, size, tiles):
        grid = Header(*size, 64, MODEL, scaled=True).grid
        assert (grid.columns, grid.rows, grid.overlap) == (*tiles, 0)
        assert (grid.width, grid.height) == (256 * tiles[0], 256 * tiles[1])

    def test_overlap_long_sides_and_whole_tiles_are_damage(self):
        def side(pixels):
            code = f"{pixels + 255:b}"
            return "0" * (len(code) - 9) + code

        for width, height, overlap in ((1, 1, "0001"), (2049, 1, "0000"), (512, 256, "0000")):
            data = old_header(
                "00010000", "1", side(width), side(height), f"01 {overlap} 0", "0 101"
            )
            with pytest.raises(DamagedFile):
                Header.unpack(data)

    @pytest.mark.parametrize(
        "wrong", [{"overlap": 8}, {"width": 2049}, {"width": 512, "height": 256}]
    )
    def test_others_are_mistakes_of_the_caller(self, wrong):
        with pytest.raises(ValueError):
            replace(Header(300, 300, 64, MODEL), scaled=True, **wrong)


class TestLimits:
    @pytest.mark.parametrize("size", [(MAX_SIDE + 1, 1), (1, MAX_SIDE + 1), (10**9, 10**9)])
    def test_a_side_must_not_be_too_long(self, size):
        with pytest.raises(LimitExceeded):
            Header(*size, 64, MODEL)

    @pytest.mark.parametrize("side", [MAX_SIDE + 1, 2**20])
    def test_a_reader_refuses_it_too(self, side):
        width = f"{side + 255:b}"  # side - 1 of order 8, without its zeros
        zeros = "0" * (len(width) - 9)
        with pytest.raises(LimitExceeded):
            Header.unpack(
                old_header("00010000", "1", zeros + width, "100000000 00 0000 0", "0 101")
            )

    @pytest.mark.parametrize(
        "wrong",
        [
            {"width": 0},
            {"height": -1},
            {"tokens_per_tile": 0},
            {"tokens_per_tile": 257},
            {"model": b"ab"},
            {"overlap": 4},
            {"overlap": 128},
            {"overlap": -8},
        ],
    )
    def test_impossible_values_are_mistakes_of_the_caller(self, wrong):
        with pytest.raises(ValueError):
            replace(Header(300, 300, 64, MODEL), **wrong)
