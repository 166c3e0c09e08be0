/**
 * Resizes pictures and joins tiles, for comparison with Python: a JSON question on standard input,
 * the answer on standard output. Pixels are base64.
 */

import { readFileSync } from "node:fs";
import { gridOf } from "../src/grid.js";
import { join } from "../src/paint/join.js";
import { resize } from "../src/paint/resize.js";

const { resizes, joins } = JSON.parse(readFileSync(0, "utf8"));
const bytesOf = (text) => new Uint8Array(Buffer.from(text, "base64"));
const textOf = (pixels) => Buffer.from(pixels).toString("base64");
const answer = {
  resizes: resizes.map(({ pixels, from, to }) => textOf(resize(bytesOf(pixels), from, to))),
  joins: joins.map(({ tiles, header, sharp }) => {
    return textOf(join(tiles.map(bytesOf), { header, grid: gridOf(header) }, sharp));
  }),
};
console.log(JSON.stringify(answer));
