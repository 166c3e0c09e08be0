/** Tokens to a file: header and payload of format version 2, with equally many tokens a tile. */

import { crc8 } from "../checksum.js";
import { TILE, canBeScaled, gridOf } from "../grid.js";
import { DEFAULT_TOKEN_SET } from "../header.js";
import { BitWriter } from "./bit-writer.js";
import { encodeTokens } from "./range-encoder.js";

const MAGIC = [0x9d, 0x50];
const VERSION = 2;
const MAX_SIDE = 32768;
const MAX_TOKENS = 256;
const EXPLICIT = 9; // the code for a number of tokens that is no power of two
const TOKEN_BITS = 12;

/**
 * Size, layout and grid of a picture in a file. Throws a RangeError for sides that no file has.
 * @param {number} width in pixels, 1 to 32768
 * @param {number} height
 * @param {boolean} grey
 */
export function layoutOf(width, height, grey) {
  if (!(Math.min(width, height) >= 1 && Math.max(width, height) <= MAX_SIDE)) {
    throw new RangeError(`a picture has 1 to ${MAX_SIDE} pixels a side, not ${width}x${height}`);
  }
  const scaled = canBeScaled(width, height);
  const header = { width, height, grey, scaled, density: 1, overlap: 0 };
  return { header, grid: gridOf(header) };
}

/**
 * The bytes of a file. Throws a RangeError for another number of tokens.
 * @param {{header: object, tokens: ArrayLike<number>[]}} encoded all tokens of each tile
 * @param {import("../token-set.js").TokenSet} tokenSet
 * @param {number} count tokens of each tile, 1 to 256
 * @returns {Uint8Array}
 */
export function writeFile({ header, tokens }, tokenSet, count) {
  if (!(Number.isInteger(count) && count >= 1 && count <= MAX_TOKENS)) {
    throw new RangeError(`a tile has 1 to ${MAX_TOKENS} tokens, not ${count}`);
  }
  const positions = Array.from({ length: count * tokens.length }, (_, index) => {
    return Math.floor(index / tokens.length);
  });
  const stream = positions.map((position, index) => tokens[index % tokens.length][position]);
  const coded = tokenSet.tables && encodeTokens(stream, positions, tokenSet.tables);
  const plain = packTokens(stream);
  const isCoded = Boolean(coded) && coded.length < plain.length;
  const head = packHeader(header, tokenSet.keys[0], count, isCoded);
  return Uint8Array.from([...head, ...(isCoded ? coded : plain)]);
}

function packHeader({ width, height, grey, scaled }, tokenSet, count, isCoded) {
  const bits = new BitWriter();
  const [named, long] = [tokenSet !== DEFAULT_TOKEN_SET, width !== TILE || height !== TILE];
  const exponent = Math.log2(count);
  bits.write(VERSION, 4);
  for (const flag of [false, isCoded, grey, false, named, long]) bits.write(Number(flag), 1);
  bits.write(0, 2); // density 1
  bits.write(Number.isInteger(exponent) ? exponent : EXPLICIT, 4);
  if (named) bits.write(parseInt(tokenSet, 16), 24);
  if (!Number.isInteger(exponent)) bits.write(count - 1, 8);
  if (long) {
    bits.writeExpGolomb(width - 1, 8);
    bits.writeExpGolomb(height - 1, 8);
    bits.write(Number(scaled), 2);
  }
  const guarded = Uint8Array.from([...MAGIC, ...bits.bytes()]);
  return [...guarded, crc8(guarded)];
}

function packTokens(stream) {
  const bits = new BitWriter();
  for (const token of stream) bits.write(token, TOKEN_BITS);
  return bits.bytes();
}
