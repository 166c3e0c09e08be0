"""The header: small, exact, and refused when a bit of it is wrong."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onedpiece.bitstream.bits import BitWriter
from onedpiece.bitstream.checksum import crc8
from onedpiece.bitstream.header import Header
from onedpiece.constants import MAGIC, MAX_SIDE
from onedpiece.errors import (
    DamagedFile,
    LimitExceeded,
    NotAnOdpFile,
    OdpError,
    UnsupportedFile,
)

MODEL = bytes.fromhex("a1b2c3")
TILE_64 = Header(256, 256, 64, MODEL)

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
)
headers = native | native.map(
    lambda header: replace(
        header,
        width=1 + header.width % 255,
        height=1 + header.height % 2048,
        overlap=0,
        scaled=True,
    )
)


def flip(data: bytes, bit: int) -> bytes:
    """`data` with one bit turned over, counted from the most significant bit of the first byte."""
    flipped = bytearray(data)
    flipped[bit // 8] ^= 0x80 >> bit % 8
    return bytes(flipped)


def raw_header(*fields: str, model: str = "a1b2c3") -> bytes:
    """A header with a right checksum and any bits: those of byte 2, then those after the model."""
    flags, *rest = fields
    bits = BitWriter()
    bits.write(int(flags, 2), 8)
    bits.write(int(model, 16), 24)
    for field in rest:
        digits = field.replace(" ", "")
        bits.write(int(digits, 2), len(digits))
    guarded = MAGIC + bits.getvalue()
    return guarded + bytes([crc8(guarded)])


class TestBytes:
    @pytest.mark.parametrize(
        "header, expected",
        [
            (TILE_64, "9d50 10 a1b2c3 28 58"),
            (Header(256, 256, 2, MODEL, grey=True), "9d50 12 a1b2c3 00 44"),
            (Header(256, 256, 256, b"\0\0\0", has_chunks=True), "9d50 11 000000 38 4d"),
            (Header(256, 256, 100, MODEL), "9d50 10 a1b2c3 58c0 63"),
            (Header(1, 1, 1, MODEL), "9d50 10 a1b2c3 c020002000 0e"),
            (Header(1920, 1080, 64, MODEL, overlap=16), "9d50 10 a1b2c3 887f29b845 1d"),
            (Header(32768, 32768, 77, MODEL, overlap=120), "9d50 10 a1b2c3 8080ff0101fe7a98 c5"),
            (Header(256, 256, 64, MODEL, entropy_coded=True), "9d50 14 a1b2c3 28 d7"),
        ],
    )
    def test_vectors(self, header, expected):
        data = bytes.fromhex(expected)
        assert header.pack().hex(" ") == data.hex(" ")
        assert Header.unpack(data) == (header, len(data))

    def test_the_checksum_of_the_usual_test_string(self):
        assert crc8(b"123456789") == 0xFB

    @pytest.mark.parametrize("tokens", range(1, 257))
    def test_a_256x256_picture_has_8_header_bytes_or_9(self, tokens):
        is_power_of_two = tokens in (2, 4, 8, 16, 32, 64, 128, 256)
        header = Header(256, 256, tokens, MODEL)
        assert len(header.pack()) == (8 if is_power_of_two else 9)

    def test_no_header_is_longer_than_15_bytes(self):
        assert len(Header(MAX_SIDE, MAX_SIDE, 77, MODEL).pack()) == 15


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

    @pytest.mark.parametrize("tokens", [1, 2, 4, 8, 16, 32, 64, 100, 128, 255, 256])
    @pytest.mark.parametrize("size", [(256, 256), (1, 1), (640, 480), (1920, 1080)])
    def test_every_flipped_bit_is_refused(self, size, tokens):
        whole = Header(*size, tokens, MODEL).pack()
        payload = bytes(range(7, 107))
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
    def test_flipped_flags_and_models_are_damage_not_features(self, bit):
        with pytest.raises(DamagedFile):
            Header.unpack(flip(TILE_64.pack(), bit))

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
    def test_only_the_canonical_form_is_read(self, fields):
        with pytest.raises(DamagedFile, match="canonical"):
            Header.unpack(raw_header(*fields))

    def test_a_number_that_is_too_long_is_damage(self):
        with pytest.raises(DamagedFile):
            Header.unpack(raw_header("00010000", "1", "0" * 400))

    @given(st.binary(max_size=60))
    def test_random_bytes_raise_nothing_else(self, data):
        for beginning in (b"", MAGIC, MAGIC + b"\x10"):
            with suppress(OdpError):
                Header.unpack(beginning + data)


class TestUnknown:
    @pytest.mark.parametrize("version", [0, *range(2, 16)])
    def test_other_versions_are_refused(self, version):
        with pytest.raises(UnsupportedFile, match=f"version {version}"):
            Header.unpack(raw_header(f"{version:04b}0000", "0", "0 101"))

    @pytest.mark.parametrize(
        "fields",
        [
            ("00011000", "0", "0 101"),  # must refuse
            ("00010000", "1 100000000 100000000 10 0000 0", "0 101"),  # layouts
            ("00010000", "1 100000000 100000000 11 0000 0", "0 101"),
        ],
    )
    def test_reserved_values_are_refused(self, fields):
        with pytest.raises(UnsupportedFile):
            Header.unpack(raw_header(*fields))

    def test_the_helper_of_these_tests_writes_readable_headers(self):
        fields = ("00010000", "1 100000000 100000000 00 0000 0", "0 101")
        assert Header.unpack(raw_header(*fields))[0] == Header(1, 1, 64, MODEL)


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
            data = raw_header(
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
                raw_header("00010000", "1", zeros + width, "100000000 00 0000 0", "0 101")
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
