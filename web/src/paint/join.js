/** Join decoded tiles to a picture, without visible seams: the steps of Python's tiles/join.py. */

import { TILE } from "../grid.js";

// Weights of neighbouring pixels in the mean of a step, and pixels on either side that change.
const SMOOTH = { smooth: Array(7).fill(1), reach: 12 };
const SMOOTH_FINE = { smooth: Array(11).fill(1), reach: 12 };
const SHARP = { smooth: [1, 2, 3, 2, 1], reach: 8 };

/** The size in pixels of what the tiles of a file cover. */
export function coveredSize({ header, grid }) {
  if (!header.scaled) return { width: header.width, height: header.height };
  return { width: grid.columns * TILE, height: grid.rows * TILE };
}

/**
 * Tiles to a picture of the size that they cover.
 * @param {ArrayLike<number>[]} tiles RGB of 256x256 pixels each, 0 to 255, row by row
 * @param {import("../index.js").File} file
 * @param {boolean} sharp the tiles are from a decoder of pictures that look real
 * @returns {Uint8ClampedArray} RGB
 */
export function join(tiles, file, sharp) {
  const { grid, header } = file;
  const { width, height } = coveredSize(file);
  const rows = (grid.rows - 1) * grid.stride + TILE; // the last ones may reach below the picture
  const picture = new Float32Array(3 * width * rows);
  tiles.forEach((tile, index) => {
    const [column, row] = [index % grid.columns, Math.floor(index / grid.columns)];
    add(picture, width, tile, { column, row }, grid, header.overlap);
  });
  if (header.overlap === 0) {
    deblock(picture, width, grid, sharp ? SHARP : header.density === 1 ? SMOOTH : SMOOTH_FINE);
  }
  return Uint8ClampedArray.from(picture.subarray(0, 3 * width * height));
}

/** Adds a tile; tiles that overlap are cross-faded. */
function add(picture, width, tile, { column, row }, grid, overlap) {
  const [left, top] = [column * grid.stride, row * grid.stride];
  const across = fade(overlap, column > 0, column < grid.columns - 1);
  const down = fade(overlap, row > 0, row < grid.rows - 1);
  const wide = Math.min(TILE, width - left);
  for (let y = 0; y < TILE; y++) {
    let [source, target] = [3 * TILE * y, 3 * ((top + y) * width + left)];
    for (let x = 0; x < wide; x++) {
      const weight = across[x] * down[y];
      for (let channel = 0; channel < 3; channel++) picture[target++] += weight * tile[source++];
    }
  }
}

/** Weights of a tile along one axis, given whether it has neighbours on either side. */
function fade(overlap, before, after) {
  const weights = new Float32Array(TILE).fill(1);
  for (let index = 0; index < overlap; index++) {
    const weight = (index + 0.5) / overlap;
    if (before) weights[index] = weight;
    if (after) weights[TILE - 1 - index] = weight;
  }
  return weights;
}

/** Smooths the seams between tiles that do not overlap: first those inside of each row of tiles. */
function deblock(picture, width, { columns, rows }, seam) {
  const [pixel, line] = [3, 3 * width];
  for (let row = 0; row < rows; row++) {
    for (let column = 1; column < columns; column++) {
      const start = row * TILE * line + column * TILE * pixel;
      smooth(picture, start, { along: line, length: TILE }, pixel, width - column * TILE, seam);
    }
  }
  for (let row = 1; row < rows; row++) {
    smooth(picture, row * TILE * line, { along: pixel, length: width }, line, TILE, seam);
  }
}

/**
 * Smooths a seam whose first pixel behind it is at `start`.
 *
 * The step at the seam, less the slope next to it, is averaged along the seam: that is the error of
 * the tiles. Half of it is removed on either side, less and less with the distance. The rest of the
 * step is texture and is kept.
 * @param {number} across distance from one side of the seam to the other, in numbers
 * @param {number} behind pixels that there are behind the seam
 */
function smooth(picture, start, { along, length }, across, behind, { smooth: weights, reach }) {
  const steps = [0, 1, 2].map((channel) =>
    Float32Array.from({ length }, (_, index) => {
      return stepAt(picture, start + along * index + channel, across, behind > 1);
    }),
  );
  const reached = Math.min(reach, behind);
  for (let index = 0; index < length; index++) {
    for (let channel = 0; channel < 3; channel++) {
      const half = meanAround(steps[channel], index, weights) / 2;
      const place = start + along * index + channel;
      for (let distance = 0; distance < reach; distance++) {
        const change = half * (1 - (distance + 0.5) / reach);
        picture[place - across * (distance + 1)] += change;
        if (distance < reached) picture[place + across * distance] -= change;
      }
    }
  }
}

function stepAt(picture, place, across, hasSecond) {
  const [above, below] = [picture[place - across], picture[place]];
  const slope = above - picture[place - 2 * across];
  return below - above - (hasSecond ? (slope + picture[place + across] - below) / 2 : slope);
}

/** A weighted mean of neighbours; the ends are repeated. */
function meanAround(values, centre, weights) {
  let [sum, total] = [0, 0];
  weights.forEach((weight, index) => {
    const place = centre + index - (weights.length >> 1);
    sum += weight * values[Math.max(0, Math.min(values.length - 1, place))];
    total += weight;
  });
  return sum / total;
}
