/** Joins numbers of any width to bytes, most significant bit first. */
export class BitWriter {
  #bits = [];

  /**
   * @param {number} value unsigned
   * @param {number} width in bits, at most 32
   */
  write(value, width) {
    for (let bit = width - 1; bit >= 0; bit--) this.#bits.push(Math.floor(value / 2 ** bit) % 2);
  }

  writeExpGolomb(value, order) {
    const number = value + 2 ** order;
    const digits = number.toString(2).length;
    this.write(0, digits - order - 1);
    this.write(number, digits);
  }

  /** All bits, padded with zeros to whole bytes. */
  bytes() {
    const bytes = new Uint8Array(Math.ceil(this.#bits.length / 8));
    this.#bits.forEach((bit, index) => (bytes[index >> 3] |= bit << (7 - (index & 7))));
    return bytes;
  }
}
