/** Everything in a file but its tokens. */

import { readAllocation } from "./allocation.js";
import { asBytes } from "./bits.js";
import { readChunks } from "./chunks.js";
import { OdpError } from "./errors.js";
import { gridOf } from "./grid.js";
import { readHeader } from "./header.js";

const MAX_PIXELS = 16384 ** 2;

/**
 * Reads header, allocation and chunks, and finds the payload. Its tokens are not looked at, so a
 * file of any token set can be read.
 *
 * Throws an OdpError; "too-large" for more than `maxPixels`, before memory is taken for them.
 * @param {Uint8Array | ArrayBuffer} bytes the file; the end of its payload may be missing
 * @param {{maxPixels?: number}} [options] pixels that may be painted: those of the picture, times
 *   the square of its density
 */
export function parse(bytes, { maxPixels = MAX_PIXELS } = {}) {
  const data = asBytes(bytes);
  let { header, end } = readHeader(data);
  const { width, height, density, hasAllocation, hasChunks, tokensPerTile } = header;
  if (width * height * density ** 2 > maxPixels) {
    throw new OdpError("too-large", `${width}x${height} pixels are more than ${maxPixels}`);
  }
  const grid = gridOf(header);
  let allocation = { total: grid.count * tokensPerTile, levels: null };
  let chunks = [];
  if (hasAllocation) ({ allocation, end } = readAllocation(data, end, grid.count, tokensPerTile));
  if (hasChunks) ({ chunks, end } = readChunks(data, end));
  return { header, grid, allocation, chunks, payloadStart: end, payload: data.subarray(end) };
}
