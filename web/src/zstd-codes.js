/** The two kinds of codes in zstd frames (RFC 8878, section 4): finite states, and Huffman. */

import { damaged } from "./errors.js";

const MAX_HUFFMAN_BITS = 11;
const MAX_WEIGHTS = 255;
const WEIGHT_ACCURACY = 6;

export function check(condition) {
  if (!condition) throw damaged("a chunk cannot be decompressed");
}

/** The little-endian number in some bytes, exact below 2^53. */
export function little(data, start, bytes) {
  check(start + bytes <= data.length);
  let value = 0;
  for (let index = start + bytes - 1; index >= start; index--) value = 256 * value + data[index];
  return value;
}

/** The number in at most 32 bits from bit `at` on, the least significant bit first. */
function bitsAt(data, at, count) {
  const bytes = ((at & 7) + count + 7) >> 3;
  return Math.floor(little(data, at >> 3, bytes) / 2 ** (at & 7)) % 2 ** count;
}

/** Bits that are read from the end of the data to its start. */
export class BackwardBits {
  constructor(data, start, end) {
    check(start < end && end <= data.length && data[end - 1]);
    this.data = data.subarray(start, end);
    this.position = 8 * (end - start) - 1 - Math.clz32(data[end - 1]) + 24; // bits that are left
  }

  read(count) {
    this.position -= count;
    check(this.position >= 0);
    return bitsAt(this.data, this.position, count);
  }

  /** The next bits, which are not taken; zeros before the start. */
  peek(count) {
    const missing = Math.max(0, count - this.position);
    return bitsAt(this.data, this.position - count + missing, count - missing) << missing;
  }
}

/** A table of finite states. `counts` are the shares of the symbols; -1 is less than 1. */
export class States {
  constructor(counts, accuracy) {
    const size = 1 << accuracy;
    this.accuracy = accuracy;
    this.symbols = new Uint8Array(size);
    let end = size;
    counts.forEach((count, symbol) => {
      if (count < 0) this.symbols[--end] = symbol;
    });
    const step = (size >> 1) + (size >> 3) + 3;
    let place = 0;
    counts.forEach((count, symbol) => {
      for (let index = 0; index < count; index++) {
        this.symbols[place] = symbol;
        do place = (place + step) & (size - 1);
        while (place >= end);
      }
    });
    const next = counts.map(Math.abs);
    const numbers = Array.from(this.symbols, (symbol) => next[symbol]++);
    this.bits = numbers.map((number) => accuracy - 31 + Math.clz32(number));
    this.bases = numbers.map((number, state) => (number << this.bits[state]) - size);
  }

  /** A table in the data, and the position of the byte after it. */
  static read(data, start, maxAccuracy, symbols) {
    let at = 8 * start;
    const take = (count) => bitsAt(data, (at += count) - count, count);
    const accuracy = take(4) + 5;
    check(accuracy <= maxAccuracy);
    const counts = [];
    for (let left = 1 << accuracy; left > 0; left -= Math.abs(counts.at(-1))) {
      if (counts.at(-1) === 0) {
        let zeros;
        do counts.push(...Array((zeros = take(2))).fill(0));
        while (zeros === 3);
      }
      // A number up to left + 1; the smallest ones take one bit less.
      const width = 31 - Math.clz32(left + 1);
      const short = 2 ** (width + 1) - 2 - left;
      const value = take(width);
      counts.push(value - 1 + (value >= short && take(1) ? 2 ** width - short : 0));
      check(counts.length <= symbols);
    }
    return { table: new States(counts, accuracy), end: (at + 7) >> 3 };
  }

  static ofOneSymbol(symbol, symbols) {
    check(symbol < symbols);
    return new States([...Array(symbol).fill(0), 1], 0);
  }

  /** A state that begins with the next bits. */
  begin(bits) {
    let state = bits.read(this.accuracy);
    return {
      symbol: () => this.symbols[state],
      width: () => this.bits[state],
      advance: () => (state = this.bases[state] + bits.read(this.bits[state])),
    };
  }
}

export class Huffman {
  /** @param {number[]} weights of all symbols but the last one, which completes the code */
  constructor(weights) {
    const total = weights.reduce((sum, weight) => sum + ((1 << weight) >> 1), 0);
    const maxBits = 32 - Math.clz32(total);
    const rest = (1 << maxBits) - total;
    check(total > 0 && maxBits <= MAX_HUFFMAN_BITS && (rest & (rest - 1)) === 0);
    const all = [...weights, 32 - Math.clz32(rest)];
    this.maxBits = maxBits;
    this.symbols = new Uint8Array(1 << maxBits);
    this.bits = new Uint8Array(1 << maxBits);
    let place = 0;
    for (let weight = 1; weight <= maxBits; weight++) {
      all.forEach((one, symbol) => {
        if (one !== weight) return;
        const end = place + 2 ** (weight - 1);
        this.symbols.fill(symbol, place, end);
        this.bits.fill(maxBits + 1 - weight, place, end);
        place = end;
      });
    }
  }

  /** A code in the data, and the position of the byte after it. */
  static read(data) {
    const head = little(data, 0, 1);
    if (head < 128) return { code: new Huffman(readWeights(data, 1 + head)), end: 1 + head };
    const nibbles = Array.from({ length: head - 127 }, (_, index) => {
      const octet = little(data, 1 + (index >> 1), 1);
      return index % 2 ? octet & 15 : octet >> 4;
    });
    return { code: new Huffman(nibbles), end: 1 + Math.ceil(nibbles.length / 2) };
  }

  decode(bits) {
    const index = bits.peek(this.maxBits);
    bits.position -= this.bits[index];
    check(bits.position >= 0);
    return this.symbols[index];
  }
}

/** Weights of two states that take turns, until the bits are used up. */
function readWeights(data, end) {
  const { table, end: start } = States.read(data, 1, WEIGHT_ACCURACY, MAX_HUFFMAN_BITS + 1);
  const bits = new BackwardBits(data, start, end);
  let [one, other] = [table.begin(bits), table.begin(bits)];
  const weights = [];
  while (weights.length < MAX_WEIGHTS) {
    weights.push(one.symbol());
    if (bits.position < one.width()) return [...weights, other.symbol()];
    one.advance();
    [one, other] = [other, one];
  }
  throw check(false);
}
