/** Transparency: docs/format.md, section "Transparency". */

import { ALPHA } from "./chunks.js";
import { damaged } from "./errors.js";
import { decompress } from "./zstd.js";

const MAX_CELL = 64; // pixels
const BROKEN = "the transparency of the picture is damaged";

/**
 * The opacity of every pixel, 0 (transparent) to 255, row by row; null for an opaque picture.
 *
 * Throws an OdpError for a damaged chunk.
 * @param {import("./index.js").File} file as `parse` or `decodeTokens` has read it
 * @returns {Uint8Array | null} width * height values
 */
export function decodeAlpha({ header: { width, height }, chunks }) {
  const chunk = chunks.find(({ kind }) => kind === ALPHA);
  if (!chunk) return null;
  const [cell, steps] = chunk.data;
  if (!(cell >= 1 && cell <= MAX_CELL && steps >= 1)) throw damaged(BROKEN);
  const [columns, rows] = [Math.ceil(width / cell), Math.ceil(height / cell)];
  const plane = decompress(chunk.data.subarray(2), columns * rows);
  const isWhole = plane.length === columns * rows;
  if (!isWhole || plane.some((value) => value > steps)) throw damaged(BROKEN);
  const opacity = plane.map((value) => Math.round((255 * value) / steps));
  return enlarge(enlarge(opacity, columns, cell, width), rows, cell, height);
}

/**
 * Makes rows of cells longer, with linear interpolation between the centres of cells, and turns
 * rows into columns. Done twice, it enlarges a plane.
 */
function enlarge(plane, cells, cell, pixels) {
  const rows = plane.length / cells;
  const wide = new Uint8Array(rows * pixels);
  for (let x = 0; x < pixels; x++) {
    const place = (x + 0.5) / cell - 0.5; // 0 at the centre of the first cell
    const left = Math.floor(place);
    const [before, after] = [Math.max(0, left), Math.min(cells - 1, left + 1)];
    for (let row = 0; row < rows; row++) {
      const [first, second] = [plane[row * cells + before], plane[row * cells + after]];
      wide[x * rows + row] = Math.round(first + (second - first) * (place - left));
    }
  }
  return wide;
}
