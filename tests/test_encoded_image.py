"""Whole files: they come back, they may be truncated, and nothing in them breaks the reader."""

import zlib
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odp_files import build, parse, sizes, truncate

from onedpiece.bitstream.allocation import LEVELS, Allocation
from onedpiece.bitstream.chunks import (
    ALPHA,
    MAX_CHUNK_BYTES,
    MAX_CHUNKS,
    Chunk,
    compress,
    decompress,
    pack_chunks,
)
from onedpiece.bitstream.header import Header
from onedpiece.constants import DEFAULT_TOKEN_SET, MAGIC
from onedpiece.entropy import Tables
from onedpiece.entropy.tables import frequencies
from onedpiece.errors import (
    DamagedFile,
    LimitExceeded,
    NotAnOdpFile,
    OdpError,
    UnknownModel,
    UnsupportedFile,
)

MODEL = bytes.fromhex("a1b2c3")
ONE_TILE = build(Header(256, 256, 4, MODEL, version=1), np.array([[1, 2, 0xABC, 4095]]))
TWO_TILES = build(
    Header(300, 200, 3, MODEL, overlap=16, grey=True, version=1),
    np.array([[0x111, 0x222, 0x333], [0x444, 0x555, 0x666]]),
    [Chunk(0x7E, b"note"), Chunk(0x7F, b"")],
)

DEFAULT = build(Header(256, 256, 4, DEFAULT_TOKEN_SET), np.array([[1, 2, 0xABC, 4095]]))
FINE = build(
    Header.for_picture(256, 256, 2, DEFAULT_TOKEN_SET, density=2),
    np.array([[1, 5], [2, 6], [3, 7], [4, 8]]),
)

headers_of_density_1 = st.builds(
    Header,
    version=st.sampled_from([1, 2]),
    width=st.integers(1, 900),
    height=st.integers(1, 600),
    tokens_per_tile=st.integers(1, 40),
    model=st.binary(min_size=3, max_size=3),
    overlap=st.sampled_from([0, 16, 120]),
    grey=st.booleans(),
)
fine_headers = st.builds(
    Header,
    width=st.integers(1, 500),
    height=st.integers(1, 300),
    tokens_per_tile=st.integers(4, 40),
    model=st.just(DEFAULT_TOKEN_SET) | st.binary(min_size=3, max_size=3),
    scaled=st.just(True),
    density=st.integers(2, 4),
)
headers = headers_of_density_1 | fine_headers
chunk_lists = st.lists(st.builds(Chunk, st.integers(0, 0x7F), st.binary(max_size=300)), max_size=4)


@st.composite
def contents(draw):
    """(header, all tokens, chunks, allocation) of a file."""
    header = draw(headers)
    tiles = header.grid.count
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    tokens = random.integers(0, 4096, (tiles, 256), np.uint16)
    total = tiles * header.tokens_per_tile - draw(st.integers(0, tiles - 1))
    levels = tuple(random.integers(0, LEVELS, tiles).tolist())
    allocation = Allocation(
        max(total, tiles), levels if tiles > 1 and draw(st.booleans()) else None
    )
    return header, tokens, draw(chunk_lists), allocation


def lengths(content, total=None):
    """Numbers of tokens to which a file can be truncated."""
    header, _, _, allocation = content
    least = -(-header.grid.count // header.base_tiles)  # one token for each tile
    most = (allocation.total if total is None else total) // header.base_tiles
    return range(least, most + 1)


def expected_tokens(content, arrived):
    """What a file of which so many tokens arrived must give."""
    header, tokens, _, allocation = content
    tile, place = allocation.sequence(header.grid.count, arrived)
    out = np.zeros_like(tokens)
    out[tile, place] = tokens[tile, place]
    return out


class TestRoundTrip:
    @pytest.mark.parametrize(
        "data, expected",
        [
            (ONE_TILE, "9d50 10 a1b2c3 08 b8 001002 abcfff"),
            (truncate(ONE_TILE, 3), "9d50 10 a1b2c3 4080 5b 001002 abc0"),
            (
                TWO_TILES,
                "9d50 13 a1b2c3 a2be384810 e2"
                "02 7e 04 6e398cbb 6e6f7465 7f 00 12b88320"
                "111444 222555 333666",
            ),
            (DEFAULT, "9d50 20 02 fd 001002 abcfff"),
            (FINE, "9d50 20 11 84 001002 003004 005006 007008"),
        ],
        ids=["one tile", "one tile truncated", "two tiles with chunks", "version 2", "fine tiles"],
    )
    def test_vectors(self, data, expected):
        assert data.hex(" ") == bytes.fromhex(expected).hex(" ")

    @given(contents())
    def test_a_file_comes_back(self, content):
        header, _, chunks, allocation = content
        data = build(*content)
        file = parse(data)
        plain = allocation.is_plain(header.grid.count)
        assert file.header == replace(header, has_chunks=bool(chunks), has_allocation=not plain)
        assert file.chunks == tuple(chunks)
        assert file.allocation == allocation
        everything = expected_tokens(content, allocation.total)
        np.testing.assert_array_equal(file.tokens, everything[:, : file.tokens.shape[1]])
        assert not file.is_truncated
        assert file.total_tokens == file.counts.sum() == allocation.total
        assert sum(sizes(file).values()) == len(data)

    def test_sizes_tell_where_the_bytes_are(self):
        assert sizes(parse(ONE_TILE)) == {"header": 8, "chunks": 0, "tokens": 6}
        assert sizes(parse(TWO_TILES)) == {"header": 12, "chunks": 17, "tokens": 9}

    def test_sizes_of_a_cut_file_count_the_bytes_that_are_there(self):
        assert sizes(parse(ONE_TILE[:9])) == {"header": 8, "chunks": 0, "tokens": 1}

    @pytest.mark.parametrize(
        "shape, allocation",
        [
            ((1, 3), None),
            ((2, 4), None),
            ((1, 256), Allocation(257)),
            ((1, 256), Allocation(0)),
            ((1, 256), Allocation(4, (3, 3))),
        ],
    )
    def test_tokens_must_fit_the_header(self, shape, allocation):
        with pytest.raises(ValueError):
            build(Header(256, 256, 4, MODEL), np.zeros(shape, np.uint16), (), allocation)


class TestCuts:
    @settings(deadline=None)
    @given(contents())
    def test_every_cut_after_header_and_parts_can_be_read(self, content):
        data = build(*content)
        section = sizes(parse(data))
        front = section["header"] + section["chunks"]
        for length in {
            front,
            min(front + 1, len(data) - 1),
            (front + len(data)) // 2,
            len(data) - 1,
        }:
            file = parse(data[:length])
            assert file.is_truncated
            assert file.total_tokens == 8 * (length - front) // 12
            expected = expected_tokens(content, file.total_tokens)
            np.testing.assert_array_equal(file.tokens, expected[:, : file.tokens.shape[1]])

    @pytest.mark.parametrize("length", range(29))
    def test_a_cut_in_header_or_parts_is_an_error(self, length):
        expected = DamagedFile if length else NotAnOdpFile
        with pytest.raises(expected):
            parse(TWO_TILES[:length])

    def test_bytes_after_the_last_token_are_damage(self):
        with pytest.raises(DamagedFile):
            parse(ONE_TILE + b"\0")


class TestTruncation:
    @given(contents(), st.data())
    def test_truncating_is_the_same_as_building_with_fewer_tokens(self, content, data):
        header, tokens, chunks, allocation = content
        kept = data.draw(st.sampled_from(lengths(content)))
        total = kept * header.base_tiles
        shorter = build(header, tokens, chunks, replace(allocation, total=total))
        assert truncate(build(*content), kept) == shorter

    @settings(deadline=None)
    @given(contents(), st.data())
    def test_truncating_to_bytes_fills_them_as_far_as_tokens_go(self, content, data):
        header, tokens, chunks, allocation = content
        whole, tiles = build(*content), header.grid.count
        least = len(build(header, tokens, chunks, replace(allocation, total=tiles)))
        limit = data.draw(st.integers(least, len(whole) + 3))
        shorter = truncate(whole, max_bytes=limit)
        total = parse(shorter).allocation.total
        assert len(shorter) <= limit
        assert shorter == build(header, tokens, chunks, replace(allocation, total=total))
        for more in range(total + 1, min(total + 5, allocation.total) + 1):
            assert len(build(header, tokens, chunks, replace(allocation, total=more))) > limit

    def test_too_few_bytes_say_how_many_it_takes(self):
        with pytest.raises(OdpError, match="the least for this picture is 11"):
            truncate(ONE_TILE, max_bytes=10)
        assert len(truncate(ONE_TILE, max_bytes=11)) == 11

    @pytest.mark.parametrize("both", [{}, {"num_tokens": 2, "max_bytes": 50}])
    def test_tokens_or_bytes(self, both):
        with pytest.raises(ValueError):
            truncate(ONE_TILE, **both)

    @settings(deadline=None)
    @given(contents(), st.data())
    def test_it_makes_no_difference_that_the_file_was_cut_before(self, content, data):
        whole = build(*content)
        section = sizes(parse(whole))
        cut = whole[: data.draw(st.integers(section["header"] + section["chunks"], len(whole)))]
        for kept in lengths(content, parse(cut).total_tokens):
            assert truncate(cut, kept) == truncate(whole, kept)

    def test_only_tokens_that_are_there_can_be_kept(self):
        with pytest.raises(OdpError, match="can be kept, not"):
            truncate(ONE_TILE, 5)

    @pytest.mark.parametrize("wrong", [{"num_tokens": 0}, {"num_tokens": -1}, {"max_bytes": 0}])
    def test_nothing_cannot_be_kept(self, wrong):
        with pytest.raises(ValueError, match="at least 1"):
            truncate(ONE_TILE, **wrong)

    def test_tokens_that_did_not_arrive_cannot_be_kept(self):
        with pytest.raises(OdpError, match="can be kept, not"):
            truncate(ONE_TILE[:-1], 4)


class TestParts:
    def test_unknown_parts_are_kept(self):
        assert parse(TWO_TILES).chunks == (Chunk(0x7E, b"note"), Chunk(0x7F, b""))
        assert parse(truncate(TWO_TILES, 1)).chunks == parse(TWO_TILES).chunks

    def test_unknown_critical_parts_are_refused(self):
        data = build(Header(256, 256, 1, MODEL), np.array([[7]]), [Chunk(0x82, b"more")])
        with pytest.raises(UnsupportedFile, match="0x82"):
            parse(data)

    def test_alpha_is_a_critical_part_that_is_known(self):
        chunk = Chunk(ALPHA, b"alpha")
        assert chunk.is_critical
        file = parse(build(Header(256, 256, 1, MODEL), np.array([[7]]), [chunk]))
        assert file.chunk(ALPHA) == b"alpha" and file.chunk(1) is None

    @given(st.binary(max_size=5000))
    def test_squeezed_data_comes_back(self, data):
        assert decompress(compress(data)) == data

    def test_a_small_frame_cannot_ask_for_much_memory(self):
        bomb = compress(bytes(10_000_000))
        assert len(bomb) < 1000
        with pytest.raises(LimitExceeded):
            decompress(bomb, 1_000_000)

    @pytest.mark.parametrize("change", [lambda f: f[:-1], lambda f: f[:-3], lambda f: f + b"x"])
    def test_a_frame_must_be_whole(self, change):
        with pytest.raises(DamagedFile):
            decompress(change(compress(b"something to say")))

    def test_too_much_is_not_squeezed(self):
        with pytest.raises(LimitExceeded):
            compress(bytes(MAX_CHUNK_BYTES + 1))

    @given(st.binary(min_size=1, max_size=50))
    def test_other_frames_raise_our_own_errors(self, data):
        with suppress(OdpError):
            decompress(data)

    @pytest.mark.parametrize("length", [0, 1, 127, 128, 16383, 16384, 2**21])
    def test_parts_of_any_length_come_back(self, length):
        chunks = (Chunk(5, bytes(length)), Chunk(6, b"next"))
        data = build(Header(256, 256, 1, MODEL), np.array([[7]]), chunks)
        assert parse(data).chunks == chunks

    @pytest.mark.parametrize("position", range(12 + 1 + 1 + 1, 12 + 1 + 10))
    def test_damage_in_checksum_or_data_is_found(self, position):
        damaged = bytearray(TWO_TILES)
        damaged[position] ^= 1
        with pytest.raises(DamagedFile, match="checksum"):
            parse(bytes(damaged))

    @pytest.mark.parametrize(
        "raw, error",
        [
            ("00", DamagedFile),  # no chunks, though the header says so
            ("11", DamagedFile),  # 17 chunks
            ("01 01 8000 a505df1b", DamagedFile),  # a length in two bytes where one would do
            ("01 01 80808000 a505df1b", DamagedFile),
            ("01 01 8080808000 a505df1b", DamagedFile),  # a length of five bytes
            ("01 01 81808008 00000000", LimitExceeded),  # one byte more than 16 MiB
            ("01 01 80808008 00000000", DamagedFile),  # 16 MiB that are not there
        ],
    )
    def test_malformed_parts_are_refused(self, raw, error):
        header = Header(256, 256, 1, MODEL, has_chunks=True).pack()
        with pytest.raises(error):
            parse(header + bytes.fromhex(raw) + b"\x00\x00")

    def test_a_writer_keeps_to_the_limits_too(self):
        with pytest.raises(LimitExceeded):
            Chunk(1, bytes(MAX_CHUNK_BYTES + 1))
        with pytest.raises(LimitExceeded):
            pack_chunks([Chunk(1, b"")] * (MAX_CHUNKS + 1))
        with pytest.raises(ValueError):
            Chunk(256, b"")


class TestLimits:
    def test_a_tiny_file_cannot_ask_for_a_huge_picture(self):
        data = Header(32768, 32768, 256, MODEL).pack()
        with pytest.raises(LimitExceeded, match="32768x32768"):
            parse(data)
        assert parse(data, max_pixels=32768**2).tokens.shape == (128 * 128, 0)

    def test_the_limit_itself_is_allowed(self):
        assert parse(ONE_TILE, max_pixels=256 * 256)
        with pytest.raises(LimitExceeded):
            parse(ONE_TILE, max_pixels=256 * 256 - 1)


class TestRefusal:
    @pytest.mark.parametrize("data", [ONE_TILE, TWO_TILES], ids=["one tile", "two tiles"])
    def test_every_flipped_header_bit_is_refused(self, data):
        for bit in range(8 * sizes(parse(data))["header"]):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 0x80 >> bit % 8
            with pytest.raises(OdpError):
                parse(bytes(flipped))

    @given(st.binary(max_size=100))
    def test_random_bytes_raise_nothing_but_our_own_errors(self, data):
        one_tile_with_parts = Header(256, 256, 4, MODEL, has_chunks=True).pack()
        for beginning in (b"", MAGIC, MAGIC + b"\x10", one_tile_with_parts):
            with suppress(OdpError):
                parse(beginning + data)

    @given(contents(), st.data())
    def test_damaged_files_raise_nothing_but_our_own_errors_either(self, content, data):
        damaged = bytearray(build(*content))
        for _ in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        with suppress(OdpError):
            parse(bytes(damaged))


def test_the_checksum_of_a_part_covers_its_kind_and_data():
    assert pack_chunks([Chunk(0x7E, b"note")])[3:7] == zlib.crc32(b"\x7enote").to_bytes(4, "big")


TABLES = Tables(
    frequencies((1e6 / (np.arange(4096) + 9) ** 1.3).astype(int))[None], np.array([256])
)


def known(key):
    return TABLES


@st.composite
def skewed(draw):
    """`contents` whose tokens are about as frequent as the tables say."""
    header, tokens, chunks, allocation = draw(contents())
    return header, (tokens.astype(int) ** 4 >> 36).astype(np.uint16), chunks, allocation


class TestEntropyCoding:
    @given(skewed())
    def test_files_come_back(self, content):
        data = build(*content, TABLES)
        file = parse(data, tables_of=known)
        assert not file.is_truncated
        assert file.header.entropy_coded == (len(data) < len(build(*content)))
        expected = expected_tokens(content, content[3].total)[:, : file.tokens.shape[1]]
        np.testing.assert_array_equal(file.tokens, expected)

    @given(contents())
    def test_tokens_that_are_rare_are_written_as_they_are(self, content):
        header, tokens, chunks, allocation = content
        assert build(header, tokens | 0xC00, chunks, allocation, TABLES) == build(
            header, tokens | 0xC00, chunks, allocation
        )

    @given(skewed(), st.data())
    def test_a_cut_file_gives_the_tokens_that_are_completely_there(self, content, data):
        whole = build(*content, TABLES)
        front = len(whole) - sizes(parse(whole, tables_of=known))["tokens"]
        file = parse(whole[: data.draw(st.integers(front, len(whole) - 1))], tables_of=known)
        assert file.is_truncated
        expected = expected_tokens(content, file.total_tokens)[:, : file.tokens.shape[1]]
        np.testing.assert_array_equal(file.tokens, expected)

    @given(skewed(), st.data())
    def test_truncation_equals_building_with_fewer_tokens(self, content, data):
        header, tokens, chunks, allocation = content
        kept = data.draw(st.sampled_from(lengths(content)))
        shorter = replace(allocation, total=kept * header.base_tiles)
        assert truncate(build(*content, TABLES), kept, tables_of=known) == build(
            header, tokens, chunks, shorter, TABLES
        )

    @given(skewed(), st.data())
    def test_as_many_tokens_as_fit(self, content, data):
        header, tokens, chunks, allocation = content
        whole = build(*content, TABLES)
        least = build(header, tokens, chunks, replace(allocation, total=header.grid.count), TABLES)
        limit = data.draw(st.integers(len(least), len(whole) + 3))
        shorter = truncate(whole, max_bytes=limit, tables_of=known)
        assert len(shorter) <= limit
        total = parse(shorter, tables_of=known).allocation.total
        for more in range(total + 1, min(total + 5, allocation.total + 1)):
            longer = build(header, tokens, chunks, replace(allocation, total=more), TABLES)
            assert len(longer) > limit

    def test_without_the_model_the_tokens_cannot_be_read(self):
        data = build(Header(256, 256, 4, MODEL), np.zeros((1, 4), int), tables=TABLES)
        with pytest.raises(UnknownModel, match="a1b2c3"):
            parse(data)
        with pytest.raises(DamagedFile, match="no tables"):
            parse(data, tables_of=lambda key: None)

    def test_without_the_model_other_files_can_be_read(self):
        assert parse(truncate(ONE_TILE, 3)).tokens.tolist() == [[1, 2, 0xABC]]

    def test_bytes_after_the_last_token_are_damage(self):
        data = build(Header(256, 256, 4, MODEL), np.zeros((1, 4), int), tables=TABLES)
        with pytest.raises(DamagedFile, match="after the last"):
            parse(data + b"\0", tables_of=known)

    def test_memory_follows_the_data_not_the_promise(self):
        header = Header(16384, 16384, 256, MODEL, entropy_coded=True)
        file = parse(header.pack() + bytes(3), tables_of=known)
        assert 0 < file.total_tokens < 100

    @given(skewed(), st.data())
    def test_damaged_files_raise_nothing_but_our_own_errors(self, content, data):
        damaged = bytearray(build(*content, TABLES))
        for _ in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        with suppress(OdpError):
            parse(bytes(damaged), tables_of=known)
