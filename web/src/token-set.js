/** The file of a token set: docs/format.md, section "Token sets". */

import { asBytes } from "./bits.js";
import { checkTokenSet as check } from "./errors.js";
import { DEFAULT_TOKEN_SET } from "./header.js";
import { CODES, Tables } from "./tables.js";

const LONGEST_INDEX = 1 << 24;
const POSITIONS = 256;
const TYPES = {
  I32: [4, (buffer) => new Int32Array(buffer)],
  F32: [4, (buffer) => new Float32Array(buffer)],
  F16: [2, halves],
};

/** How version 1 names `onedpiece-1`. */
const DEFAULT_IN_VERSION_1 = "f05218";

/**
 * @typedef {object} TokenSet
 * @property {string[]} keys by which files name it: 3 bytes, hexadecimal
 * @property {Tables | null} tables null if its tokens are never range coded
 * @property {Spectral | null} spectral null if its tokens are not spectral
 */

/**
 * What the tokens of a spectral token set mean. The arrays are those of the file.
 * @typedef {object} Spectral
 * @property {number} frequencies for each axis
 * @property {number} dim coefficients of a token
 * @property {number[]} blockOf the block of each position
 * @property {Record<string, Int32Array | Float32Array>} arrays
 */

/**
 * Reads `token-set.safetensors`.
 *
 * Throws an OdpError for a file that is damaged.
 * @param {Uint8Array | ArrayBuffer} bytes
 * @param {string[]} [keys] of this token set; those of `onedpiece-1` by default
 * @returns {TokenSet}
 */
export function readTokenSet(bytes, keys = [DEFAULT_TOKEN_SET, DEFAULT_IN_VERSION_1]) {
  const tensor = openSafetensors(asBytes(bytes));
  const [sizes, frequency] = [tensor("block_sizes"), tensor("frequency")];
  const order = tensor("code_order")?.data ?? null;
  const tables = sizes && frequency ? new Tables(frequency.data, sizes.data, order) : null;
  return { keys, tables, spectral: tables && readSpectral(tensor, sizes.data) };
}

function readSpectral(tensor, blockSizes) {
  const [mean, order] = [tensor("class_mean"), tensor("order")];
  if (!mean || !order) return null;
  const [classes, size] = mean.shape;
  const dim = order.shape.at(-1);
  const frequencies = Math.round(Math.sqrt(size / 3));
  const shapes = {
    class_of: [CODES],
    class_mean: [classes, 3 * frequencies ** 2],
    order: [classes, POSITIONS, dim],
    scale: [classes, POSITIONS],
    codebooks: [CODES * blockSizes.length, dim],
    colour: [3, 3],
  };
  const arrays = {};
  for (const [name, shape] of Object.entries(shapes)) {
    const found = tensor(name);
    check(`${found?.shape}` === `${shape}`);
    arrays[name] = found.data;
  }
  check(arrays.class_of.every((label) => label >= 0 && label < classes));
  check(arrays.order.every((coefficient) => coefficient >= 0 && coefficient < size));
  const blockOf = Array.from(blockSizes).flatMap((length, block) => Array(length).fill(block));
  return { frequencies, dim, blockOf, arrays };
}

/** A function from the name of an array to its shape and numbers, or to null. */
function openSafetensors(bytes) {
  check(bytes.length >= 8);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const start = 8 + length;
  check(length <= LONGEST_INDEX && start <= bytes.length);
  const index = parseJson(bytes.subarray(8, start));
  return (name) => {
    const entry = index[`quantize.${name}`];
    if (!entry) return null;
    const { dtype, shape, data_offsets: offsets } = entry;
    const [size, convert] = TYPES[dtype] ?? [];
    check(size && Array.isArray(shape) && shape.every(isSize) && Array.isArray(offsets));
    const [from, to] = offsets;
    check(isSize(from) && isSize(to) && from <= to && start + to <= bytes.length);
    check(to - from === shape.reduce((product, side) => product * side, size));
    return { shape, data: convert(bytes.slice(start + from, start + to).buffer) };
  };
}

function parseJson(bytes) {
  try {
    return Object(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return check(false);
  }
}

/** Finite numbers of 16 bits, widened. */
function halves(buffer) {
  return Float32Array.from(new Uint16Array(buffer), (half) => {
    const [sign, exponent, fraction] = [half >> 15 ? -1 : 1, (half >> 10) & 31, half & 1023];
    return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
  });
}

const isSize = (number) => Number.isSafeInteger(number) && number >= 0;
