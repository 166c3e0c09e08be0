/** Transparency: docs/format.md, section "Transparency". */

import { ALPHA } from "./chunks.js";
import { damaged } from "./errors.js";
import { decompress } from "./zstd.js";

const MAX_CELL = 64; // pixels

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
  if (chunk.data.length < 2 || cell < 1 || cell > MAX_CELL || steps < 1) {
    throw damaged("the transparency of the picture is damaged");
  }
  const [columns, rows] = [Math.ceil(width / cell), Math.ceil(height / cell)];
  const plane = decompress(chunk.data.subarray(2), columns * rows);
  if (plane.length !== columns * rows || plane.some((value) => value > steps)) {
    throw damaged("the transparency of the picture is damaged");
  }
  const opacity = plane.map((value) => Math.round((255 * value) / steps));
  return cell === 1 ? opacity : enlarge(opacity, columns, rows, cell, width, height);
}

/** Interpolates linearly between the centres of cells, first along rows, then along columns. */
function enlarge(plane, columns, rows, cell, width, height) {
  const wide = new Uint8Array(width * rows);
  for (let x = 0; x < width; x++) {
    const [left, right, weight] = neighbours(x, cell, columns);
    for (let row = 0; row < rows; row++) {
      const start = row * columns;
      wide[row * width + x] = between(plane[start + left], plane[start + right], weight);
    }
  }
  const full = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const [upper, lower, weight] = neighbours(y, cell, rows);
    for (let x = 0; x < width; x++) {
      full[y * width + x] = between(wide[upper * width + x], wide[lower * width + x], weight);
    }
  }
  return full;
}

/** The two cells between whose centres a pixel lies, and the weight of the second one. */
function neighbours(pixel, cell, cells) {
  const place = (pixel + 0.5) / cell - 0.5;
  const before = Math.floor(place);
  return [Math.max(0, before), Math.min(cells - 1, before + 1), place - before];
}

const between = (first, second, weight) => Math.round(first + (second - first) * weight);
