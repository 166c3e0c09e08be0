/** Tokens from the bytes of a range coder: docs/format.md, section "Range coder". */

import { damaged } from "./errors.js";
import { PRECISION } from "./tables.js";

const STATE_BYTES = 8;
const WORD_BYTES = 4;
const WORD = 32n;

/**
 * The ranks that the bytes determine, at most one for each position, and whether they are all the
 * bytes that a writer makes of these ranks.
 *
 * Throws an OdpError for bytes that are the code of no ranks.
 * @param {Uint8Array} data complete or truncated
 * @param {Uint8Array} positions of the tokens in their tiles
 * @param {import("./tables.js").Tables} tables
 */
export function decodeRanks(data, positions, tables) {
  const ranks = new Uint16Array(positions.length);
  let count = 0;
  let width = (1n << 64n) - 1n;
  let next = STATE_BYTES; // position of the next byte to read
  // The distance of the number from the lower end of the interval, and the most that missing bytes
  // can add to it.
  let [value, unknown] = window(data, 0, STATE_BYTES);
  for (const position of positions) {
    const { cumulative } = tables.at[position];
    const scale = width >> BigInt(PRECISION);
    const share = Number(value / scale);
    if (share >= 1 << PRECISION) throw damaged("the tokens are damaged");
    const rank = search(cumulative, share);
    const start = scale * BigInt(cumulative[rank]);
    const narrower = scale * BigInt(cumulative[rank + 1]) - start;
    if (value - start + unknown >= narrower) break; // the token depends on missing bytes
    ranks[count++] = rank;
    value -= start;
    width = narrower;
    if (width >> WORD === 0n) {
      const [word, missing] = window(data, next, WORD_BYTES);
      value = (value << WORD) | word;
      unknown = (unknown << WORD) | missing;
      width <<= WORD;
      next += WORD_BYTES;
    }
  }
  const [read] = window(data, next - STATE_BYTES, STATE_BYTES);
  const end = shortest(read - value, width);
  const exact = end.number === read && data.length === next - STATE_BYTES + end.bytes;
  return { ranks: ranks.subarray(0, count), exact };
}

/** The rank whose interval holds the share: the last one that begins at or before it. */
function search(cumulative, share) {
  let [low, high] = [0, cumulative.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (cumulative[middle] <= share) low = middle;
    else high = middle;
  }
  return low;
}

/** The number with the fewest leading bytes that determine an interval, and how many these are. */
export function shortest(low, width) {
  for (let bytes = 1; ; bytes++) {
    const unit = 1n << BigInt(64 - 8 * bytes);
    const number = (low + unit - 1n) & -unit; // rounded up to whole units
    if (number + unit <= low + width) return { number, bytes };
  }
}

/** The number in some bytes, and the most that missing bytes, which count as zeros, can add. */
function window(data, start, length) {
  let number = 0n;
  let missing = 0n;
  for (let index = start; index < start + length; index++) {
    number = (number << 8n) | BigInt(data[index] ?? 0);
    missing = (missing << 8n) | (index < data.length ? 0n : 255n);
  }
  return [number, missing];
}
