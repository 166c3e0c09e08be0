/** The spectral picture of a tile: docs/format.md, section "onedpiece-1". */

import { TILE } from "./grid.js";
import { CODES } from "./tables.js";

const BLANK = [125, 119, 107, 255]; // the colour of a tile without tokens

/**
 * What the tokens of a tile say, before any network repairs it.
 *
 * Below 256 pixels, frequencies that the picture cannot show are left out. A tile without tokens
 * is plain. Throws a RangeError for another side, and a TypeError for a token set that is not
 * spectral.
 * @param {ArrayLike<number>} tokens the first tokens of a tile, 0 to 4095, at most 256
 * @param {import("./token-set.js").TokenSet} tokenSet
 * @param {number} [side] of the picture in pixels, 1 to 256
 * @returns {{data: Uint8ClampedArray, width: number, height: number}} RGBA, as in an ImageData
 */
export function sketch(tokens, { spectral }, side = TILE) {
  if (!Number.isInteger(side) || side < 1 || side > TILE) {
    throw new RangeError(`the side must be 1 to ${TILE} pixels, not ${side}`);
  }
  if (!spectral) throw new TypeError("the token set is not spectral");
  const data = new Uint8ClampedArray(4 * side * side);
  if (tokens.length === 0) {
    for (let place = 0; place < data.length; place += 4) data.set(BLANK, place);
  } else {
    paint(data, channelsOf(coefficientsOf(tokens, spectral), spectral.frequencies, side), spectral);
  }
  return { data, width: side, height: side };
}

/** The sum of what the tokens add, Float32Array (3 * frequencies * frequencies). */
function coefficientsOf(tokens, { dim, blockOf, frequencies, arrays }) {
  const { class_of: classOf, class_mean: mean, order, scale, codebooks } = arrays;
  const size = 3 * frequencies ** 2;
  const label = classOf[tokens[0]];
  const coefficients = mean.slice(size * label, size * (label + 1));
  for (let position = 0; position < tokens.length; position++) {
    const place = blockOf.length * label + position;
    const code = CODES * blockOf[position] + tokens[position];
    for (let index = 0; index < dim; index++) {
      coefficients[order[dim * place + index]] += codebooks[dim * code + index] * scale[place];
    }
  }
  return coefficients;
}

/** The inverse cosine transform: three planes of side * side numbers. */
function channelsOf(coefficients, frequencies, side) {
  const used = Math.min(frequencies, side);
  const basis = basisOf(used, side);
  return [0, 1, 2].map((channel) => {
    const rows = new Float32Array(used * side); // vertical frequencies, columns
    for (let j = 0; j < used; j++) {
      const start = (channel * frequencies + j) * frequencies;
      for (let k = 0; k < used; k++) add(rows, j, coefficients[start + k], basis, k, side);
    }
    const plane = new Float32Array(side * side);
    for (let y = 0; y < side; y++) {
      for (let j = 0; j < used; j++) add(plane, y, basis[j * side + y], rows, j, side);
    }
    return plane;
  });
}

/** basis[k, x]; at every side, a coefficient has the amplitude that it has at 256 pixels. */
function basisOf(frequencies, side) {
  return Float32Array.from({ length: frequencies * side }, (_, index) => {
    const [k, x] = [Math.floor(index / side), index % side];
    return Math.sqrt((k ? 2 : 1) / TILE) * Math.cos((Math.PI * k * (x + 0.5)) / side);
  });
}

/** Adds a multiple of a row of one matrix to a row of another. */
function add(target, row, factor, source, sourceRow, length) {
  const [to, from] = [row * length, sourceRow * length];
  for (let x = 0; x < length; x++) target[to + x] += factor * source[from + x];
}

function paint(data, [first, second, third], { arrays: { colour } }) {
  for (let pixel = 0; pixel < first.length; pixel++) {
    for (let i = 0; i < 3; i++) {
      const [a, b, c] = [colour[3 * i], colour[3 * i + 1], colour[3 * i + 2]];
      data[4 * pixel + i] = 255 * (a * first[pixel] + b * second[pixel] + c * third[pixel]);
    }
    data[4 * pixel + 3] = 255;
  }
}
