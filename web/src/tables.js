/** The frequencies of tokens: docs/format.md, section "Tables". */

import { OdpError } from "./errors.js";

/** The frequencies of all codes add up to 2 to the power of this. */
export const PRECISION = 24;

export const CODES = 4096;

const GROUPS = 80;
const TOTAL = 1 << 16; // sum of the frequencies of all groups
const POSITIONS = 256;
const sizeOf = (group) => (group < 16 ? 1 : 1 << (Math.floor(group / 8) - 1)); // codes of a group

/** The tables of a token set, one for each position of a token in its tile. */
export class Tables {
  /**
   * Throws an OdpError for arrays that are no tables.
   * @param {ArrayLike<number>} frequency of the 80 groups of each block, one after the other
   * @param {ArrayLike<number>} blockSizes consecutive positions that share a table, 256 together
   * @param {ArrayLike<number> | null} order the code of each rank, 4096 for each block; null if a
   *   code is its own rank
   */
  constructor(frequency, blockSizes, order = null) {
    const blocks = blockSizes.length;
    const sizes = Array.from(blockSizes);
    check(sizes.every(isPositive) && sum(sizes) === POSITIONS);
    check(frequency.length === GROUPS * blocks);
    check(!order || order.length === CODES * blocks);
    const rows = sizes.map((_, block) => row(frequency, block));
    /** For each position, where the interval of each rank begins, and 2^24. */
    this.cumulative = sizes.flatMap((size, block) => Array(size).fill(rows[block].cumulative));
    /** For each position, the code of each rank; undefined if it is the rank. */
    this.codes = sizes.flatMap((size, block) => Array(size).fill(order && codes(order, block)));
    this.leastBits = PRECISION - Math.log2(Math.max(...rows.map(({ largest }) => largest)));
  }

  /** An upper bound for the number of tokens in so many bytes. */
  most(size) {
    return Math.floor((8 * size) / this.leastBits) + 1;
  }
}

function row(frequency, block) {
  const groups = Array.from({ length: GROUPS }, (_, group) => frequency[GROUPS * block + group]);
  check(groups.every(isPositive) && sum(groups) === TOTAL);
  const cumulative = new Uint32Array(CODES + 1);
  let [code, largest] = [0, 0];
  groups.forEach((all, group) => {
    const share = (all * 256) / sizeOf(group);
    largest = Math.max(largest, share);
    for (const end = code + sizeOf(group); code < end; code++) {
      cumulative[code + 1] = cumulative[code] + share;
    }
  });
  return { cumulative, largest };
}

function codes(order, block) {
  const those = Uint16Array.from({ length: CODES }, (_, rank) => order[CODES * block + rank]);
  check(those.slice().sort().every((code, index) => code === index));
  return those;
}

const isPositive = (number) => Number.isInteger(number) && number > 0;
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

function check(condition) {
  if (!condition) throw new OdpError("bad-token-set", "the entropy tables do not add up");
}
