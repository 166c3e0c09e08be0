"""The header: small, exact, and refused when a bit of it is wrong. Both versions are tested."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from odp_files import fingerprint, raw_header, side

from onedpiece.bitstream.checksum import crc8
from onedpiece.bitstream.header import VERSION, Header
from onedpiece.constants import DEFAULT_TOKEN_SET, MAGIC, MAX_DENSITY, MAX_SIDE
from onedpiece.errors import (
    DamagedFile,
    LimitExceeded,
    NotAnOdpFile,
    OdpError,
    UnsupportedFile,
)

MODEL = bytes.fromhex("a1b2c3")
NAMED = fingerprint(MODEL)
TILE_64 = Header(256, 256, 64, DEFAULT_TOKEN_SET)
OLD_TILE_64 = Header(256, 256, 64, MODEL, version=1)
POWERS = [1 << exponent for exponent in range(9)]
TILE = (256, 256)

sides = st.integers(1, MAX_SIDE) | st.just(256)
native = st.builds(
    Header,
    width=sides,
    height=sides,
    tokens_per_tile=st.integers(1, 256) | st.sampled_from(POWERS),
    model=st.binary(min_size=3, max_size=3) | st.just(DEFAULT_TOKEN_SET),
    overlap=st.integers(0, 15).map(lambda units: 8 * units),
    grey=st.booleans(),
    entropy_coded=st.booleans(),
    has_chunks=st.booleans(),
    has_allocation=st.booleans(),
    version=st.sampled_from((1, 2)),
)


def scaled_down(header: Header) -> Header:
    """The header with sides that can be scaled at density 1."""
    sides = {"width": 1 + header.width % 255, "height": 1 + header.height % 2048}
    return replace(header, **sides, overlap=0, scaled=True)


@st.composite
def dense(draw):
    """Headers of version 2 with a density above 1, one in four of them of 256x256 pixels."""
    density = draw(st.integers(2, MAX_DENSITY))
    lengths = st.integers(1, MAX_SIDE // density)
    width, height = draw(st.just(TILE) | st.tuples(lengths, lengths))
    old = draw(native)
    return Header(
        *(width, height, old.tokens_per_tile, old.model),
        grey=old.grey,
        entropy_coded=old.entropy_coded,
        has_chunks=old.has_chunks,
        has_allocation=draw(st.booleans()),
        scaled=True,
        density=density,
    )


headers = native | native.map(scaled_down) | dense()


def flip(data: bytes, bit: int) -> bytes:
    """`data` with one bit turned over, counted from the most significant bit of the first byte."""
    flipped = bytearray(data)
    flipped[bit // 8] ^= 0x80 >> bit % 8
    return bytes(flipped)


def version_1(*fields: str) -> bytes:
    """A header of version 1 without flags."""
    return raw_header("0001 0000", NAMED, *fields)


def version_2(*fields: str) -> bytes:
    """A header of version 2 without flags."""
    return raw_header("0010 0000", *fields)


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
    def test_examples_of_version_1(self, header, expected):
        data = bytes.fromhex(expected)
        assert header.pack().hex(" ") == data.hex(" ")
        assert Header.unpack(data) == (header, len(data))

    @pytest.mark.parametrize(
        "header, expected",
        [
            (Header(256, 256, 64, DEFAULT_TOKEN_SET), "9d50 20 06 e1"),
            (Header(256, 256, 1, DEFAULT_TOKEN_SET, grey=True), "9d50 22 00 d9"),
            (Header(256, 256, 256, DEFAULT_TOKEN_SET, has_chunks=True), "9d50 21 08 de"),
            (Header(256, 256, 100, DEFAULT_TOKEN_SET, entropy_coded=True), "9d50 24 09 63 ef"),
            (Header(256, 256, 64, MODEL), "9d50 20 86 a1b2c3 95"),
            (Header(256, 256, 100, MODEL), "9d50 20 89 a1b2c363 fc"),
            (Header(256, 256, 64, DEFAULT_TOKEN_SET, scaled=True, density=2), "9d50 20 16 91"),
            (
                Header(
                    256, 256, 64, DEFAULT_TOKEN_SET, scaled=True, density=4, has_allocation=True
                ),
                "9d50 20 3a 3f 11",
            ),
            (Header(1, 1, 1, MODEL), "9d50 20 c0 a1b2c3804000 b0"),
            (Header(300, 200, 64, DEFAULT_TOKEN_SET, scaled=True), "9d50 20 46 457c74 6d"),
            (
                Header(640, 480, 64, DEFAULT_TOKEN_SET, scaled=True, has_allocation=True),
                "9d50 20 4a 3f6feb7d 75",
            ),
            (Header(1920, 1080, 64, MODEL, overlap=16), "9d50 20 c6 a1b2c310fe537880 bd"),
            (
                Header(16384, 1, 8, DEFAULT_TOKEN_SET, scaled=True, density=2),
                "9d50 20 53 0207fc01 b0",
            ),
            (Header(32768, 32768, 77, MODEL, overlap=120), "9d50 20 c9 a1b2c34c0101fe0203fef0 a8"),
        ],
    )
    def test_examples_of_version_2(self, header, expected):
        data = bytes.fromhex(expected)
        assert header.pack().hex(" ") == data.hex(" ")
        assert Header.unpack(data) == (header, len(data))

    def test_the_newest_version_is_written_unless_another_is_asked_for(self):
        assert Header(300, 200, 64, MODEL).version == VERSION == 2

    def test_the_checksum_of_the_usual_test_string(self):
        assert crc8(b"123456789") == 0xFB

    @pytest.mark.parametrize("tokens", range(1, 257))
    def test_a_256x256_picture_has_5_header_bytes_or_6(self, tokens):
        header = Header(256, 256, tokens, DEFAULT_TOKEN_SET)
        assert len(header.pack()) == (5 if tokens in POWERS else 6)

    @pytest.mark.parametrize("density", range(1, MAX_DENSITY + 1))
    @pytest.mark.parametrize("tokens", POWERS)
    def test_so_it_has_at_any_density(self, density, tokens):
        header = Header.for_picture(256, 256, tokens, DEFAULT_TOKEN_SET, density=density)
        assert len(header.pack()) == 5
        assert header.grid.count == density**2

    def test_naming_a_token_set_takes_3_bytes_and_an_allocation_the_number_of_tokens(self):
        assert len(replace(TILE_64, model=MODEL).pack()) == 8
        finer = Header.for_picture(256, 256, 64, DEFAULT_TOKEN_SET, density=2)
        assert len(replace(finer, has_allocation=True).pack()) == 6

    @pytest.mark.parametrize("tokens", range(1, 257))
    def test_in_version_1_a_256x256_picture_has_8_header_bytes_or_9(self, tokens):
        header = Header(256, 256, tokens, MODEL, version=1)
        assert len(header.pack()) == (8 if tokens in POWERS[1:] else 9)

    def test_no_header_is_longer_than_16_bytes(self):
        longest = Header(MAX_SIDE, MAX_SIDE, 77, MODEL, overlap=8, has_allocation=True)
        assert len(longest.pack()) == 16
        assert len(replace(longest, version=1).pack()) == 15


class TestRoundTrip:
    @given(headers, st.binary(max_size=20))
    def test_a_header_comes_back_whatever_follows_it(self, header, rest):
        data = header.pack()
        assert Header.unpack(data + rest) == (header, len(data))

    def test_256x256_pixels_are_one_tile_and_keep_no_overlap(self):
        assert Header(256, 256, 64, DEFAULT_TOKEN_SET, overlap=16) == TILE_64

    def test_pixels_and_tiles_follow_from_the_size(self):
        header = Header(300, 200, 64, MODEL, overlap=16)
        assert header.pixels == header.decoded_pixels == 60000
        assert header.grid.corners() == [(0, 0), (240, 0)]

    def test_the_pixels_that_are_decoded_grow_with_the_square_of_the_density(self):
        header = Header(300, 200, 64, MODEL, scaled=True, density=3)
        assert (header.pixels, header.decoded_pixels) == (60000, 9 * 60000)


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
    @pytest.mark.parametrize("version", [1, 2])
    @pytest.mark.parametrize("model", [MODEL, DEFAULT_TOKEN_SET])
    def test_every_flipped_bit_is_refused(self, size, tokens, version, model):
        whole = Header(*size, tokens, model, version=version).pack()
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

    @pytest.mark.parametrize("header", [TILE_64, OLD_TILE_64], ids=["version 2", "version 1"])
    def test_flipped_flags_and_models_are_damage_not_features(self, header):
        whole = header.pack()
        for bit in range(20, 8 * len(whole)):
            with pytest.raises(DamagedFile):
                Header.unpack(flip(whole, bit))

    @pytest.mark.parametrize(
        "data",
        [
            version_1("0", "1 00111111"),  # 64 tokens in the long form
            version_1("0", "1 00000001"),  # 2 tokens in the long form
            version_1("1", side(256), side(256), "00 0000 0", "0 101"),  # 256x256, long form
            version_1("1", side(256), side(256), "00 0010 0", "0 101"),  # and with an overlap
            version_1("0", "0 101", "001"),  # padding that is not zero
            version_2("10 00 0110", fingerprint(DEFAULT_TOKEN_SET)),  # needs no name
            version_2("00 00 1001", "00000000"),  # 1 token in the explicit form
            version_2("00 00 1001", "00111111"),  # 64
            version_2("10 00 1001", NAMED, "11111111"),  # 256
            version_2("00 00 1010", "00111111"),  # 256x256 with an allocation
            version_2("01 00 0110", side(256), side(256), "00"),  # 256x256, long form
            version_2("01 00 0110", side(256), side(256), "10 0001"),  # and with an overlap
            version_2("01 01 0110", side(256), side(256), "01"),  # and at density 2
            version_2("01 00 0110", side(300), side(200), "10 0000"),  # an overlap of 0
            version_2("01 00 0110", side(300), side(200), "00", "1"),  # padding that is not zero
        ],
    )
    def test_only_the_canonical_form_is_read(self, data):
        with pytest.raises(DamagedFile, match="canonical"):
            Header.unpack(data)

    def test_with_an_allocation_powers_of_two_are_explicit(self):
        data = version_2("01 00 1010", "00111111", side(300), side(200), "00")
        expected = Header(300, 200, 64, DEFAULT_TOKEN_SET, has_allocation=True)
        assert Header.unpack(data) == (expected, len(data))

    @pytest.mark.parametrize("data", [version_1("1", "0" * 400), version_2("01 000110", "0" * 400)])
    def test_a_number_that_is_too_long_is_damage(self, data):
        with pytest.raises(DamagedFile, match="too long"):
            Header.unpack(data)

    @given(st.binary(max_size=60))
    def test_random_bytes_raise_nothing_else(self, data):
        for beginning in (b"", MAGIC, MAGIC + b"\x10", MAGIC + b"\x20"):
            with suppress(OdpError):
                Header.unpack(beginning + data)


class TestUnknown:
    @pytest.mark.parametrize("version", [0, *range(3, 16)])
    def test_other_versions_are_refused(self, version):
        with pytest.raises(UnsupportedFile, match=f"version {version}, this reader knows 1 to 2"):
            Header.unpack(raw_header(f"{version:04b} 0000", "00 00 0110"))

    @pytest.mark.parametrize(
        "data",
        [
            raw_header("0001 1000", NAMED, "0", "0 101"),  # must refuse
            version_1("1", side(1), side(1), "10 0000 0", "0 101"),  # layouts
            version_1("1", side(1), side(1), "11 0000 0", "0 101"),
            raw_header("0010 1000", "00 00 0110"),  # must refuse
            version_2("01 00 0110", side(1), side(1), "11"),  # layout
            version_2("01 01 0110", side(1), side(1), "11"),
            *(version_2("00 00", f"{code:04b}") for code in range(11, 16)),  # codes of tokens
        ],
    )
    def test_reserved_values_are_refused(self, data):
        with pytest.raises(UnsupportedFile):
            Header.unpack(data)

    def test_the_helpers_of_these_tests_write_readable_headers(self):
        old = version_1("1", side(1), side(300), "00 0000 0", "0 101")
        assert Header.unpack(old)[0] == Header(1, 300, 64, MODEL, version=1)
        new = version_2("11 00 0110", NAMED, side(1), side(300), "00")
        assert Header.unpack(new)[0] == Header(1, 300, 64, MODEL)


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

    @pytest.mark.parametrize("size", [(2049, 1), (512, 256)])
    def test_long_sides_and_whole_tiles_are_damage(self, size):
        sides = [side(pixels) for pixels in size]
        for data in (
            version_1("1", *sides, "01 0000 0", "0 101"),
            version_2("01 00 0110", *sides, "01"),
        ):
            with pytest.raises(DamagedFile, match="layout"):
                Header.unpack(data)

    def test_in_version_1_so_is_an_overlap(self):
        with pytest.raises(DamagedFile, match="layout"):
            Header.unpack(version_1("1", side(1), side(1), "01 0001 0", "0 101"))

    @pytest.mark.parametrize(
        "wrong", [{"overlap": 8}, {"width": 2049}, {"width": 512, "height": 256}]
    )
    def test_others_are_mistakes_of_the_caller(self, wrong):
        with pytest.raises(ValueError):
            replace(Header(300, 300, 64, MODEL), scaled=True, **wrong)


class TestDensity:
    @pytest.mark.parametrize(
        "size, density, tiles",
        [
            ((256, 256), 2, (2, 2)),
            ((256, 256), 4, (4, 4)),
            ((160, 161), 2, (1, 2)),
            ((300, 200), 3, (4, 3)),
            ((4096, 1), 2, (32, 1)),  # at density 1, this is too long to be scaled
            ((512, 256), 2, (4, 2)),  # at density 1, there is nothing to scale
        ],
    )
    def test_tiles_are_those_of_a_picture_with_longer_sides(self, size, density, tiles):
        header = Header.for_picture(*size, 64, MODEL, density=density)
        grid = header.grid
        assert header.scaled and (grid.columns, grid.rows, grid.overlap) == (*tiles, 0)

    def test_the_tiles_of_density_1_are_known_too(self):
        assert Header.for_picture(256, 256, 64, MODEL, density=4).base_tiles == 1
        assert Header.for_picture(300, 200, 64, MODEL, density=2).base_tiles == 1
        assert Header.for_picture(700, 300, 64, MODEL, density=2).base_tiles == 3

    def test_the_short_form_of_the_size_is_scaled(self):
        data = version_2("00 01 0110")
        expected = Header(256, 256, 64, DEFAULT_TOKEN_SET, scaled=True, density=2)
        assert Header.unpack(data) == (expected, len(data))

    def test_it_can_have_an_allocation_in_the_short_form(self):
        data = version_2("00 11 1010", "00111111")
        expected = Header(256, 256, 64, DEFAULT_TOKEN_SET, scaled=True, density=4)
        assert Header.unpack(data)[0] == replace(expected, has_allocation=True)

    @pytest.mark.parametrize("layout", ["00", "10 0001", "10 0000"])
    def test_other_layouts_are_damage(self, layout):
        with pytest.raises(DamagedFile):
            Header.unpack(version_2("01 01 0110", side(300), side(200), layout))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"scaled": False},
            {"overlap": 8},
            {"density": 0},
            {"density": MAX_DENSITY + 1},
            {"version": 1},
        ],
    )
    def test_others_are_mistakes_of_the_caller(self, wrong):
        with pytest.raises(ValueError):
            replace(Header(300, 200, 64, MODEL, scaled=True, density=2), **wrong)


class TestLimits:
    @pytest.mark.parametrize("size", [(MAX_SIDE + 1, 1), (1, MAX_SIDE + 1), (10**9, 10**9)])
    def test_a_side_must_not_be_too_long(self, size):
        with pytest.raises(LimitExceeded):
            Header(*size, 64, MODEL)

    @pytest.mark.parametrize("pixels", [MAX_SIDE + 1, 2**20])
    def test_a_reader_refuses_it_too(self, pixels):
        for data in (
            version_1("1", side(pixels), side(1), "00 0000 0", "0 101"),
            version_2("01 00 0110", side(1), side(pixels), "00"),
        ):
            with pytest.raises(LimitExceeded):
                Header.unpack(data)

    @pytest.mark.parametrize("density", range(1, MAX_DENSITY + 1))
    def test_nor_may_a_side_at_its_density(self, density):
        longest = MAX_SIDE // density
        layout = "01" if density > 1 else "00"
        density_code = f"{density - 1:02b}"
        for pixels, is_allowed in ((longest, True), (longest + 1, False)):
            data = version_2("01", density_code, "0110", side(1), side(pixels), layout)
            if is_allowed:
                assert Header.unpack(data)[0].height == longest
                continue
            with pytest.raises(LimitExceeded, match=f"{longest} a side is the most"):
                Header.unpack(data)
            with pytest.raises(LimitExceeded):
                Header(1, pixels, 64, DEFAULT_TOKEN_SET, scaled=density > 1, density=density)

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
            {"version": 0},
            {"version": 3},
        ],
    )
    def test_impossible_values_are_mistakes_of_the_caller(self, wrong):
        with pytest.raises(ValueError):
            replace(Header(300, 300, 64, MODEL), **wrong)
