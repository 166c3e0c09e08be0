/**
 * One zstd frame (RFC 8878) to bytes, for the small data of chunks.
 *
 * Time and memory are bounded: what is written is checked before. Content checksums are not
 * compared, because a chunk has a checksum of its own.
 */

import { BackwardBits, Huffman, States, check, little } from "./zstd-codes.js";

const MAX_WINDOW = 1 << 27;
const MAX_BLOCK = 1 << 17;
const RAW = 0; // types of blocks and of literals; 1 is a byte that is repeated
const COMPRESSED = 2;

const times = (count, value) => Array(count).fill(value);

// What a sequence holds, in the order of the tables in a block. The values of a code begin where
// those of the last one end, and have extra bits.
const FEW_BITS = [1, 1, 1, 1, 2, 2, 3, 3, 4];
const LOW = times(4, -1); // shares of less than 1
const MANY_BITS = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const LITERALS = kindOf(
  [...times(16, 0), ...FEW_BITS, 6, ...MANY_BITS],
  0,
  new States([4, 3, ...times(11, 2), 1, 1, 1, ...times(9, 2), 3, 2, ...times(5, 1), ...LOW], 6),
  9,
);
const OFFSETS = kindOf(
  Array.from({ length: 32 }, (_, code) => code),
  1,
  new States([...times(6, 1), 2, 2, 2, ...times(15, 1), ...LOW, -1], 5),
  8,
);
const MATCHES = kindOf(
  [...times(32, 0), ...FEW_BITS, 4, 5, ...MANY_BITS],
  3,
  new States([1, 4, 3, ...times(6, 2), ...times(37, 1), ...LOW, -1, -1, -1], 6),
  9,
);

/** Extra bits of each code, the value of the first code, the usual table, most bits of another. */
function kindOf(bits, first, usual, accuracy) {
  let next = first;
  const bases = bits.map((count) => (next += 2 ** count) - 2 ** count);
  return { bits, bases, usual, accuracy };
}

/**
 * The contents of a frame. Throws an OdpError unless the data is exactly one whole frame whose
 * contents have at most `limit` bytes.
 * @param {Uint8Array} frame
 * @param {number} limit
 */
export function decompress(frame, limit) {
  const { start, size, window, checksum } = readFrameHeader(frame);
  const state = {
    out: new Output(limit),
    most: Math.min(window, MAX_BLOCK),
    huffman: null,
    tables: [],
    distances: [1, 4, 8],
  };
  let [position, head] = [start, 0];
  do {
    head = little(frame, position, 3);
    position += 3 + readBlock(frame.subarray(position + 3), (head >> 1) & 3, head >> 3, state);
  } while (head % 2 === 0);
  const { out } = state;
  check(position + checksum === frame.length && (size === null || size === out.length));
  return out.data.slice(0, out.length);
}

function readFrameHeader(frame) {
  const flags = little(frame, 4, 1);
  check(little(frame, 0, 4) === 0xfd2fb528 && !(flags & 8));
  const single = (flags >> 5) & 1;
  const dictionary = [0, 1, 2, 4][flags & 3];
  const start = 6 - single + dictionary;
  check(little(frame, start - dictionary, dictionary) === 0);
  const bytes = [single, 2, 4, 8][flags >> 6];
  const size = bytes ? little(frame, start, bytes) + (bytes === 2 ? 256 : 0) : null;
  const window = single ? size : 2 ** (10 + (frame[5] >> 3)) * (1 + (frame[5] & 7) / 8);
  check(window <= MAX_WINDOW);
  return { start: start + bytes, size, window, checksum: flags & 4 };
}

/** Appends the contents of a block; returns how many bytes of the data it takes. */
function readBlock(data, type, size, state) {
  check(type <= COMPRESSED && size <= state.most);
  if (type < COMPRESSED) {
    const plain = readPlain(data, 0, type, size);
    state.out.append(plain.data);
    return plain.end;
  }
  check(size <= data.length);
  readCompressed(data.subarray(0, size), state);
  return size;
}

/** Bytes as they are, or one byte that is repeated. */
function readPlain(data, start, type, size) {
  const end = start + (type === RAW ? size : 1);
  check(end <= data.length);
  const bytes = data.subarray(start, end);
  return { data: type === RAW ? bytes : new Uint8Array(size).fill(bytes[0]), end };
}

function readCompressed(block, state) {
  const end = state.out.length + state.most;
  const literals = readLiterals(block, state);
  const rest = readSequences(block.subarray(literals.end), literals.data, end, state);
  check(state.out.length + rest.length <= end);
  state.out.append(rest);
}

function readLiterals(block, state) {
  const [type, format] = [little(block, 0, 1) & 3, (block[0] >> 2) & 3];
  if (type < COMPRESSED) {
    const bytes = [1, 2, 1, 3][format];
    const size = little(block, 0, bytes) >> (bytes === 1 ? 3 : 4);
    check(size <= state.most);
    return readPlain(block, bytes, type, size);
  }
  const bytes = [3, 3, 4, 5][format];
  const range = 2 ** [10, 10, 14, 18][format];
  const sizes = Math.floor(little(block, 0, bytes) / 16);
  const end = bytes + Math.floor(sizes / range);
  check(sizes % range <= state.most && end <= block.length);
  let packed = block.subarray(bytes, end);
  if (type === COMPRESSED) {
    const huffman = Huffman.read(packed);
    state.huffman = huffman.code;
    packed = packed.subarray(huffman.end);
  }
  return { data: readStreams(packed, sizes % range, format ? 4 : 1, state.huffman), end };
}

/** Literals in one stream of Huffman codes, or a quarter of them in each of four. */
function readStreams(packed, size, streams, huffman) {
  check(huffman);
  const literals = new Uint8Array(size);
  const part = Math.ceil(size / streams);
  let start = streams === 1 ? 0 : 6;
  for (let stream = 0; stream < streams; stream++) {
    const isLast = stream === streams - 1;
    const end = isLast ? packed.length : start + little(packed, 2 * stream, 2);
    const bits = new BackwardBits(packed, start, end);
    const stop = isLast ? size : part * (stream + 1);
    check(stop <= size);
    for (let place = part * stream; place < stop; place++) literals[place] = huffman.decode(bits);
    check(bits.position === 0);
    start = end;
  }
  return literals;
}

/** Carries out the sequences of a block; returns the literals that are left. */
function readSequences(data, literals, end, { out, tables, distances }) {
  const [count, start] = readCount(data);
  if (count === 0) {
    check(data.length === 1);
    return literals;
  }
  const position = readTables(data, start, tables);
  const bits = new BackwardBits(data, position, data.length);
  const [literal, offset, match] = tables.map((table) => table.begin(bits));
  const value = (kind, code) => kind.bases[code] + bits.read(kind.bits[code]);
  let used = 0;
  for (let left = count; left > 0; left--) {
    const distanceCode = value(OFFSETS, offset.symbol());
    const matched = value(MATCHES, match.symbol());
    const copied = value(LITERALS, literal.symbol());
    if (left > 1) [literal, match, offset].forEach((state) => state.advance());
    check(used + copied <= literals.length && out.length + copied + matched <= end);
    out.append(literals.subarray(used, (used += copied)));
    out.repeat(distanceOf(distanceCode, copied > 0, distances), matched);
  }
  check(bits.position === 0);
  return literals.subarray(used);
}

/** The number of sequences, and the position of the byte after it. */
function readCount(data) {
  const first = little(data, 0, 1);
  if (first < 128) return [first, 1];
  if (first < 255) return [256 * (first - 128) + little(data, 1, 1), 2];
  return [little(data, 1, 2) + 0x7f00, 3];
}

/** Reads the tables that are not those of the block before; returns the position after them. */
function readTables(data, start, tables) {
  const modes = little(data, start, 1);
  check((modes & 3) === 0);
  let end = start + 1;
  [LITERALS, OFFSETS, MATCHES].forEach(({ usual, accuracy, bits }, index) => {
    const mode = (modes >> (6 - 2 * index)) & 3;
    if (mode === 0) tables[index] = usual;
    if (mode === 1) tables[index] = States.ofOneSymbol(little(data, end++, 1), bits.length);
    if (mode === 2) {
      ({ table: tables[index], end } = States.read(data, end, accuracy, bits.length));
    }
    check(tables[index]);
  });
  return end;
}

/** How far back a match lies; `last` has the last three distances. */
function distanceOf(code, hasLiterals, last) {
  const index = code > 3 ? 3 : code - (hasLiterals ? 1 : 0);
  const distance = code > 3 ? code - 3 : index === 3 ? last[0] - 1 : last[index];
  last.splice(Math.min(index, 2), 1);
  last.unshift(distance);
  return distance;
}

/** Bytes that grow up to a limit. */
class Output {
  constructor(limit) {
    this.limit = limit;
    this.data = new Uint8Array(Math.min(limit, 1024));
    this.length = 0;
  }

  append(bytes) {
    this.reserve(bytes.length);
    this.data.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Appends bytes that lie `distance` back, and may begin to repeat. */
  repeat(distance, bytes) {
    check(distance > 0 && distance <= this.length);
    this.reserve(bytes);
    for (const end = this.length + bytes; this.length < end; this.length++) {
      this.data[this.length] = this.data[this.length - distance];
    }
  }

  reserve(bytes) {
    const needed = this.length + bytes;
    check(needed <= this.limit);
    if (needed <= this.data.length) return;
    const larger = new Uint8Array(Math.min(this.limit, Math.max(needed, 2 * this.data.length)));
    larger.set(this.data);
    this.data = larger;
  }
}
