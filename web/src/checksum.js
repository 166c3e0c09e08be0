/** The checksums of sections: CRC-8 for short ones, CRC-32 for chunks. */

/**
 * CRC-8 with polynomial 0x07 and initial value 0xFF.
 * @param {Uint8Array} data
 */
export function crc8(data) {
  let remainder = 0xff;
  for (const octet of data) {
    remainder ^= octet;
    for (let bit = 0; bit < 8; bit++) remainder = (remainder << 1) ^ (remainder & 0x80 ? 0x107 : 0);
  }
  return remainder;
}

const CRC32 = Uint32Array.from({ length: 256 }, (_, octet) => {
  let remainder = octet;
  for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (0xedb88320 & -(remainder & 1));
  return remainder;
});

/**
 * CRC-32 of all arrays one after the other, as in zip and PNG.
 * @param {...Iterable<number>} parts
 */
export function crc32(...parts) {
  let remainder = 0xffffffff;
  for (const part of parts) {
    for (const octet of part) remainder = (remainder >>> 8) ^ CRC32[(remainder ^ octet) & 0xff];
  }
  return (remainder ^ 0xffffffff) >>> 0;
}
