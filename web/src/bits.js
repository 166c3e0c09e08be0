/** Bytes, and single bits of them, most significant bit first. */

import { damaged } from "./errors.js";

const MAX_PREFIX = 15; // zeros at the beginning of an Exp-Golomb code

/**
 * The bytes of an array or of a buffer, not copied.
 *
 * A Buffer of Node becomes a plain array, whose `slice` copies.
 * @param {ArrayBuffer | ArrayBufferView} bytes
 */
export function asBytes(bytes) {
  if (ArrayBuffer.isView(bytes)) {
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  return new Uint8Array(bytes);
}

export class BitReader {
  /**
   * @param {Uint8Array} data
   * @param {number} start position of the first byte
   * @param {string} what is read, for messages
   */
  constructor(data, start, what) {
    this.data = data;
    this.position = 8 * start; // of the next bit
    this.what = what;
  }

  /** The position of the next whole byte. */
  get nextByte() {
    return (this.position + 7) >> 3;
  }

  /**
   * The next bits as an unsigned number. Throws an OdpError at the end of the data.
   * @param {number} width at most 32
   */
  read(width) {
    if (this.position + width > 8 * this.data.length) throw damaged(`${this.what} is truncated`);
    let value = 0;
    for (const end = this.position + width; this.position < end; this.position++) {
      const octet = this.data[this.position >> 3];
      value = 2 * value + ((octet >> (7 - (this.position & 7))) & 1);
    }
    return value;
  }

  readFlag() {
    return this.read(1) === 1;
  }

  /** @param {number} order */
  readExpGolomb(order) {
    let prefix = 0;
    while (!this.readFlag()) {
      if (++prefix > MAX_PREFIX) throw damaged(`${this.what} holds a number that is too long`);
    }
    return (1 << (order + prefix)) + this.read(order + prefix) - (1 << order);
  }

  /** Skip to the next whole byte; returns whether all bits on the way are zero. */
  align() {
    return this.read(-this.position & 7) === 0;
  }
}
