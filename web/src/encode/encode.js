/** From a picture to a file: what Python's encoder does at effort 1 and density 1. */

import { TILE } from "../grid.js";
import { coveredSize } from "../paint/join.js";
import { openModel } from "../paint/model.js";
import { resize } from "../paint/resize.js";
import { layoutOf, writeFile } from "./write.js";

const WHITE = 255;
const MAX_TOKENS = 256;

export { writeFile } from "./write.js";

/**
 * The bytes of an .odp file.
 *
 * Transparent pixels are put on white; a picture whose pixels are all grey is stored as greyscale.
 * Throws an OdpError ("no-model") if the model does not load, a RangeError for other numbers.
 * @param {ImageData} image
 * @param {object} [options]
 * @param {number} [options.tokens] of each tile, 1 to 256
 * @param {import("../paint/model.js").Model} [options.model]
 * @returns {Promise<Uint8Array>}
 */
export async function encode(image, { tokens = MAX_TOKENS, model = openModel() } = {}) {
  return writeFile(await encodeAll(image, { model }), await model.tokenSet(), tokens);
}

/**
 * All tokens of a picture, for `writeFile`, which makes files of any number of them.
 * @param {ImageData} image
 * @param {{model?: import("../paint/model.js").Model, signal?: AbortSignal}} [options]
 * @returns {Promise<{header: object, tokens: Uint16Array[]}>}
 */
export async function encodeAll({ data, width, height }, { model = openModel(), signal } = {}) {
  const opaque = flatten(data);
  const { header, grid } = layoutOf(width, height, isGrey(opaque));
  const covered = coveredSize({ header, grid });
  const pixels = header.scaled ? resize(opaque, { width, height }, covered) : opaque;
  const tokens = [];
  for (let index = 0; index < grid.count; index++) {
    signal?.throwIfAborted();
    const [x, y] = [index % grid.columns, Math.floor(index / grid.columns)];
    tokens.push(await model.encode(cut(pixels, covered, x * grid.stride, y * grid.stride)));
  }
  return { header, tokens };
}

/** RGB from RGBA, on white. */
function flatten(data) {
  const pixels = new Uint8ClampedArray((3 * data.length) / 4);
  for (let pixel = 0; pixel < data.length / 4; pixel++) {
    const opacity = data[4 * pixel + 3] / 255;
    for (let channel = 0; channel < 3; channel++) {
      const value = data[4 * pixel + channel];
      pixels[3 * pixel + channel] = WHITE + (value - WHITE) * opacity;
    }
  }
  return pixels;
}

function isGrey(pixels) {
  for (let place = 0; place < pixels.length; place += 3) {
    if (pixels[place] !== pixels[place + 1] || pixels[place] !== pixels[place + 2]) return false;
  }
  return true;
}

/** A tile, which is filled with the mirrored picture beyond the right and lower edges. */
function cut(pixels, { width, height }, left, top) {
  const [columns, rows] = [mirrored(left, width), mirrored(top, height)];
  const tile = new Uint8Array(3 * TILE * TILE);
  for (let y = 0; y < TILE; y++) {
    for (let x = 0; x < TILE; x++) {
      const source = 3 * (rows[y] * width + columns[x]);
      tile.set(pixels.subarray(source, source + 3), 3 * (TILE * y + x));
    }
  }
  return tile;
}

function mirrored(start, size) {
  const period = Math.max(1, 2 * (size - 1));
  return Array.from({ length: TILE }, (_, index) => {
    const place = (start + index) % period;
    return Math.min(place, period - place);
  });
}
