/** Tokens to the bytes of a range coder: docs/format.md, section "Range coder". */

import { shortest } from "../range-decoder.js";
import { PRECISION } from "../tables.js";

const WORD = 32n;
const MASK = (1n << WORD) - 1n;
const STATE_BYTES = 8;
const WORD_BYTES = 4;

/**
 * @param {ArrayLike<number>} tokens
 * @param {ArrayLike<number>} positions of the tokens in their tiles
 * @param {import("../tables.js").Tables} tables
 * @returns {Uint8Array}
 */
export function encodeTokens(tokens, positions, tables) {
  let [low, width] = [0n, (1n << 64n) - 1n];
  const words = []; // each may exceed a word by a carry, which is added up at the end
  const ranks = new Map();
  for (let index = 0; index < tokens.length; index++) {
    const table = tables.at[positions[index]];
    if (!ranks.has(table)) ranks.set(table, rankOf(table));
    const rank = ranks.get(table)(tokens[index]);
    const scale = width >> BigInt(PRECISION);
    const start = BigInt(table.cumulative[rank]);
    low += scale * start;
    width = scale * (BigInt(table.cumulative[rank + 1]) - start);
    if (width <= MASK) {
      words.push(low >> WORD);
      low = (low & MASK) << WORD;
      width <<= WORD;
    }
  }
  const { number, bytes } = shortest(low, width);
  return joinWords(words, number).subarray(0, WORD_BYTES * words.length + bytes);
}

/** A function from a code to its rank. */
function rankOf({ codes }) {
  if (!codes) return (code) => code;
  const ranks = new Uint16Array(codes.length);
  codes.forEach((code, rank) => (ranks[code] = rank));
  return (code) => ranks[code];
}

/** All words and the last number as bytes, with carries added. */
function joinWords(words, number) {
  const data = new DataView(new ArrayBuffer(WORD_BYTES * words.length + STATE_BYTES));
  data.setBigUint64(WORD_BYTES * words.length, BigInt.asUintN(64, number));
  let carry = number >> 64n;
  for (let index = words.length - 1; index >= 0; index--) {
    const word = words[index] + carry;
    data.setUint32(WORD_BYTES * index, Number(word & MASK));
    carry = word >> WORD;
  }
  return new Uint8Array(data.buffer);
}
