/** The frequencies of tokens: docs/format.md, section "Tables". */

import { checkTokenSet as check } from "./errors.js";

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
   * @param {number[] | Int32Array} frequency of the 80 groups of each block, one after the other
   * @param {ArrayLike<number>} blockSizes consecutive positions that share a table, 256 together
   * @param {number[] | Int32Array | null} order the code of each rank, 4096 for each block; null
   *   if a code is its own rank
   */
  constructor(frequency, blockSizes, order = null) {
    const sizes = Array.from(blockSizes);
    check(sizes.every(isPositive) && sum(sizes) === POSITIONS);
    check(frequency.length === GROUPS * sizes.length);
    check(!order || order.length === CODES * sizes.length);
    const blocks = sizes.map((_, block) => ({
      ...readFrequencies(slice(frequency, GROUPS, block)),
      codes: order && readCodes(slice(order, CODES, block)),
    }));
    /**
     * The table of each position. `cumulative` has the start of each rank, and 2^24 at the end;
     * `codes` the code of each rank, or it is null.
     */
    this.at = sizes.flatMap((size, block) => Array(size).fill(blocks[block]));
    this.leastBits = PRECISION - Math.log2(Math.max(...blocks.map(({ largest }) => largest)));
  }

  /** An upper bound for the number of tokens in so many bytes. */
  most(size) {
    return Math.floor((8 * size) / this.leastBits) + 1;
  }
}

const slice = (array, size, block) => array.slice(size * block, size * (block + 1));

function readFrequencies(groups) {
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

function readCodes(codes) {
  check([...codes].sort((one, other) => one - other).every((code, index) => code === index));
  return codes;
}

const isPositive = (number) => Number.isInteger(number) && number > 0;
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
