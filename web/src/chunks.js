/** Optional sections between header and tokens: docs/format.md, section "Chunks". */

import { crc32 } from "./checksum.js";
import { OdpError, damaged } from "./errors.js";
import { decompress } from "./zstd.js";

/** The kind of the chunk that holds transparency. */
export const ALPHA = 0x81;

const METADATA = { exif: 0x01, icc: 0x02, xmp: 0x03 };
const CRITICAL = 0x80;
const MAX_CHUNKS = 16;
const MAX_BYTES = 16 << 20; // of a chunk, and of decompressed metadata
const LENGTH_BYTES = 4;

/**
 * The chunks that begin at byte `start`, and the position of the byte after them. Their data is
 * not copied. Throws an OdpError.
 * @param {Uint8Array} data the file
 * @param {number} start
 */
export function readChunks(data, start) {
  const [count] = take(data, start, 1);
  if (count < 1 || count > MAX_CHUNKS) throw damaged(`the file claims to have ${count} chunks`);
  const chunks = [];
  let end = start + 1;
  while (chunks.length < count) ({ chunk: chunks[chunks.length], end } = readChunk(data, end));
  return { chunks, end };
}

function readChunk(data, start) {
  const [kind] = take(data, start, 1);
  const length = readLength(data, start + 1);
  const checksum = take(data, length.end, 4).reduce((value, octet) => 256 * value + octet, 0);
  const content = take(data, length.end + 4, length.value);
  if (crc32([kind], content) !== checksum) {
    throw damaged("the checksum of a chunk does not match");
  }
  if (kind & CRITICAL && kind !== ALPHA) {
    throw new OdpError("unsupported", `chunks of kind ${kind} need a newer reader`);
  }
  return { chunk: { kind, data: content }, end: length.end + 4 + length.value };
}

/** An unsigned LEB128 number in its shortest form. */
function readLength(data, start) {
  let [value, end, octet] = [0, start, 0];
  do {
    if (end === start + LENGTH_BYTES) throw damaged("the length of a chunk is too long");
    [octet] = take(data, end, 1);
    value |= (octet & 0x7f) << (7 * (end - start));
    end++;
  } while (octet & 0x80);
  if (value > MAX_BYTES) throw new OdpError("too-large", `a chunk claims ${value} bytes`);
  if (octet === 0 && end > start + 1) {
    throw damaged("the length of a chunk is too long");
  }
  return { value, end };
}

function take(data, start, length) {
  if (start + length > data.length) throw damaged("the chunks are truncated");
  return data.subarray(start, start + length);
}

/**
 * Exif, ICC profile and XMP of a file that `parse` has read, each only if it is there.
 *
 * Throws an OdpError for data that is not one whole zstd frame, and above 16 MiB of contents.
 * @param {{chunks: {kind: number, data: Uint8Array}[]}} file
 * @returns {{exif?: Uint8Array, icc?: Uint8Array, xmp?: Uint8Array}}
 */
export function decodeMetadata({ chunks }) {
  const metadata = {};
  for (const [name, kind] of Object.entries(METADATA)) {
    const chunk = chunks.find((one) => one.kind === kind);
    if (chunk) metadata[name] = decompress(chunk.data, MAX_BYTES);
  }
  return metadata;
}
