/** From a file to a picture: tokens through the network, tiles joined, chunks unpacked. */

import { decodeAlpha } from "../alpha.js";
import { decodeMetadata } from "../chunks.js";
import { OdpError } from "../errors.js";
import { TILE, canBeScaled, gridOf } from "../grid.js";
import { decodeTokens } from "../payload.js";
import { sketch } from "../sketch.js";
import { coveredSize, join } from "./join.js";
import { openModel } from "./model.js";
import { resize } from "./resize.js";

export { Model, openModel } from "./model.js";

const MAX_PIXELS = 1 << 24;
const FIRST = 16; // tokens of the first picture
const PAUSE = 300; // milliseconds between two pictures of tiles that arrive, at least
const SHARE = 4; // and at least so many times as long as it takes to make a picture

/**
 * A file, complete or truncated anywhere in its tokens, as a picture.
 *
 * Throws an OdpError for data that cannot be decoded ("no-model" if the model does not load), a
 * RangeError for options out of range, and the reason of `signal` when it aborts.
 * @param {Uint8Array | ArrayBuffer} bytes
 * @param {object} [options]
 * @param {number} [options.numTokens] use at most so many tokens for each 256x256 pixels
 * @param {number} [options.realism] 1 for a picture that looks real, 0 for the least error
 * @param {import("./model.js").Model} [options.model]
 * @param {number} [options.maxPixels] as of `parse`; 4096 * 4096 by default
 * @param {AbortSignal} [options.signal] looked at before and after each tile
 * @returns {Promise<ImageData>}
 */
export async function decode(bytes, options) {
  const job = await Job.read(bytes, options);
  for (const index of job.tiles.keys()) await job.paint(index);
  return job.picture();
}

/**
 * The same picture in steps, each better than the one before:
 *
 * - "sketch": the first 16 tokens, without a network
 * - "rough": the first 16 tokens
 * - "final": all tokens; of several tiles, this and the step before come in parts.
 *
 * Options and errors are those of `decode`.
 * @returns {AsyncGenerator<{image: ImageData, stage: string, isLast: boolean}>}
 */
export async function* decodeProgressively(bytes, options) {
  const job = await Job.read(bytes, options);
  job.prepare();
  const first = job.withAtMost(FIRST);
  const sketched = first.sketch();
  if (sketched) yield { image: first.picture(), stage: "sketch", isLast: false };
  const isAll = job.tokens.every((tokens, tile) => tokens.length === first.tokens[tile].length);
  if (!isAll) yield* steps(first, "rough");
  job.tiles = first.tiles;
  yield* steps(job, "final");
}

/**
 * What all tokens of a small file say, without a network; null if its token set has no sketches.
 * Options and errors are those of `decode`.
 */
export async function decodePreview(bytes, options) {
  const job = await Job.read(bytes, options);
  return job.sketch() ? job.picture() : null;
}

async function* steps(job, stage) {
  let [shown, pause] = [performance.now(), PAUSE];
  for (const index of job.tiles.keys()) {
    await job.paint(index);
    const isLast = index === job.tiles.length - 1;
    const begin = performance.now();
    if (!isLast && begin - shown < pause) continue;
    const image = job.picture();
    pause = Math.max(PAUSE, SHARE * (performance.now() - begin));
    yield { image, stage, isLast: isLast && stage === "final" };
    shown = performance.now();
  }
}

/** A file on its way to a picture. */
class Job {
  static async read(bytes, options = {}) {
    const { model = openModel(), numTokens = Infinity, realism = 1, signal } = options;
    if (!(numTokens >= 1)) throw new RangeError("numTokens must be at least 1");
    if (!(realism >= 0 && realism <= 1)) throw new RangeError("realism must be 0 to 1");
    const [tokenSet, manifest] = [await model.tokenSet(), await model.manifest()];
    const { maxPixels = MAX_PIXELS } = options;
    const file = decodeTokens(bytes, tokenSet, { maxPixels });
    const { tokenSet: key, entropyCoded } = file.header;
    if (!tokenSet.keys.includes(key)) {
      throw new OdpError("unknown-token-set", `the file needs token set ${key}`);
    }
    if (entropyCoded && manifest.withoutTables.includes(key)) {
      throw new OdpError("damaged", "the token set has no tables for coded tokens");
    }
    decodeMetadata(file); // damage is an error before a network runs
    const alpha = decodeAlpha(file);
    const sharp = realism > 0 && Boolean(manifest.faithful);
    const blank = blankTile(manifest.blank);
    const context = { model, tokenSet, realism, signal, sharp, alpha, blank };
    const tiles = Array(file.grid.count).fill(context.blank);
    return new Job(file, limited(file, numTokens), context, tiles);
  }

  constructor(file, tokens, context, tiles) {
    Object.assign(this, { file, tokens, context, tiles });
  }

  withAtMost(numTokens) {
    const tokens = limited({ ...this.file, tokens: this.tokens }, numTokens);
    return new Job(this.file, tokens, this.context, [...this.tiles]);
  }

  /** Begins to load the network. What goes wrong is told when the network is used. */
  prepare() {
    this.context.model.prepare(this.context.realism).catch(() => {});
  }

  async paint(index) {
    const { model, realism, signal, blank } = this.context;
    signal?.throwIfAborted();
    const tokens = this.tokens[index];
    this.tiles[index] = tokens.length ? await model.paint(tokens, realism) : blank;
    signal?.throwIfAborted();
  }

  /** Whether the tokens can be sketched; their tiles are, then. */
  sketch() {
    const { tokenSet, blank } = this.context;
    if (!tokenSet.spectral) return false;
    this.tiles = this.tokens.map((tokens) => {
      return tokens.length ? rgb(sketch(tokens, tokenSet)) : blank;
    });
    return true;
  }

  picture() {
    return assemble(this.file, this.tiles, this.context);
  }
}

/** The picture of a file from its tiles, RGB of 256x256 pixels each. */
function assemble(file, tiles, { sharp, alpha }) {
  const { width, height, scaled, grey } = file.header;
  let pixels = join(tiles, file, sharp);
  if (scaled) pixels = resize(pixels, coveredSize(file), file.header);
  const image = new ImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const [red, green, blue] = [pixels[3 * pixel], pixels[3 * pixel + 1], pixels[3 * pixel + 2]];
    const luma = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16;
    image.data[4 * pixel] = grey ? luma : red;
    image.data[4 * pixel + 1] = grey ? luma : green;
    image.data[4 * pixel + 2] = grey ? luma : blue;
    image.data[4 * pixel + 3] = alpha ? alpha[pixel] : 255;
  }
  return image;
}

/** The tokens of each tile, at most so many for each tile that the picture has at density 1. */
function limited({ header, grid, tokens }, numTokens) {
  const scaled = canBeScaled(header.width, header.height);
  const coarse = gridOf({ ...header, density: 1, overlap: 0, scaled });
  const base = header.density === 1 ? grid.count : coarse.count;
  const most = Math.ceil((numTokens * base) / grid.count);
  return tokens.map((ofTile) => ofTile.subarray(0, most));
}

const blankTile = (colour) => rgb({ data: [...colour, 255] }, TILE * TILE);

/** RGB from RGBA; of a single pixel, repeated. */
function rgb({ data }, count = data.length / 4) {
  const single = data.length === 4;
  const pixels = new Float32Array(3 * count);
  for (let pixel = 0; pixel < count; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      pixels[3 * pixel + channel] = data[(single ? 0 : 4 * pixel) + channel];
    }
  }
  return pixels;
}
