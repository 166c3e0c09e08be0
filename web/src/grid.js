/** Where the tiles of a picture lie: docs/format.md, section "Layouts". */

/** Side of a tile in pixels. */
export const TILE = 256;

const SLACK = 64; // pixels; a scaled side that exceeds its tiles by more gets another tile
const MAX_SCALED = 2048; // pixels of the longest side

/** Whether a picture of this size is scaled to fill its tiles at density 1. */
export const canBeScaled = (width, height) =>
  (width % TILE || height % TILE) > 0 && Math.max(width, height) <= MAX_SCALED;

/**
 * Columns and rows of tiles, their number, and the distance between two in pixels.
 * @param {import("./index.js").Header} header
 */
export function gridOf({ width, height, density, scaled, overlap }) {
  const stride = TILE - overlap;
  const filled = (side) => Math.max(1, Math.ceil((density * side - SLACK) / TILE));
  const native = (side) => (side <= TILE ? 1 : Math.ceil((side - overlap) / stride));
  const [columns, rows] = [width, height].map(scaled ? filled : native);
  return { columns, rows, count: columns * rows, stride };
}
