/** Which tile each token belongs to: docs/format.md, section "Allocation". */

import { BitReader } from "./bits.js";
import { crc8 } from "./checksum.js";
import { damaged } from "./errors.js";

const MAX_TOKENS = 256; // of a tile
const TOP_LEVEL = 15;
const INTERVALS = Array.from({ length: TOP_LEVEL + 1 }, (_, level) =>
  Math.round(65536 / 2 ** (level / 2)),
);

/**
 * The allocation at byte `start`, and the position of the byte after it. Throws an OdpError.
 * @param {Uint8Array} data the file
 * @param {number} start
 * @param {number} tiles
 * @param {number} tokensPerTile the number in the header
 */
export function readAllocation(data, start, tiles, tokensPerTile) {
  const bits = new BitReader(data, start, "the allocation of tokens");
  const dropped = bits.readExpGolomb(1);
  const levels = bits.readFlag() ? readLevels(bits, tiles) : null;
  const padded = bits.align();
  const end = bits.nextByte + 1;
  const checked = bits.read(8) === crc8(data.subarray(start, end - 1));
  const total = tiles * tokensPerTile - dropped;
  const redundant = levels ? tiles === 1 : dropped === 0;
  if (!padded || !checked || redundant || dropped >= tiles || total < tiles) {
    throw damaged("the allocation of tokens is damaged");
  }
  return { allocation: { total, levels }, end };
}

function readLevels(bits, tiles) {
  const levels = new Uint8Array(tiles);
  let level = TOP_LEVEL;
  for (let tile = 0; tile < tiles; tile++) {
    const number = bits.readExpGolomb(0);
    level += number % 2 ? (number + 1) / 2 : -number / 2;
    if (level < 0 || level > TOP_LEVEL) throw damaged("there is no such level of tokens");
    levels[tile] = level;
  }
  return levels;
}

/**
 * The tile of each of the first tokens of the payload, and its position there.
 * @param {{total: number, levels: Uint8Array | null}} allocation
 * @param {number} tiles
 * @param {number} arrived how many tokens
 */
export function sequence({ levels }, tiles, arrived) {
  const levelOf = levels ?? new Uint8Array(tiles);
  const intervals = Array.from(levelOf, (level) => INTERVALS[level]);
  // Sorted by time, and by tile where the time is the same.
  const keys = timesOf(intervals, arrived).sort().subarray(0, arrived);
  const tile = Uint16Array.from(keys, (key) => key % tiles);
  const position = Uint8Array.from(keys, (key, index) => {
    return Math.floor(key / tiles) / intervals[tile[index]];
  });
  return { tile, position };
}

/** time * tiles + tile of at least the first `arrived` tokens, unsorted; exact below 2^53. */
function timesOf(intervals, arrived) {
  const tiles = intervals.length;
  const countAt = (time, interval) => Math.min(MAX_TOKENS, Math.floor(time / interval) + 1);
  const numberAt = (time) => intervals.reduce((sum, each) => sum + countAt(time, each), 0);
  let [early, late] = [-1, (MAX_TOKENS - 1) * INTERVALS[0]];
  while (late - early > 1) {
    const middle = Math.floor((early + late) / 2);
    if (numberAt(middle) >= arrived) late = middle;
    else early = middle;
  }
  const keys = new Float64Array(numberAt(late));
  let next = 0;
  intervals.forEach((interval, tile) => {
    const end = next + countAt(late, interval);
    for (let time = 0; next < end; time += interval) keys[next++] = time * tiles + tile;
  });
  return keys;
}
