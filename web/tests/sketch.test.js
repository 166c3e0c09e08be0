import assert from "node:assert/strict";
import { test } from "node:test";
import { sketch } from "../src/index.js";
import { read } from "./facts.js";
import { defaultTokenSet, named, readJson, vectors } from "./vectors.js";

const { sketches } = readJson("web/tests/references.json");
const picture = vectors("decoded").find(({ name }) => name === "two-tiles");
const [tokens] = read(picture.data).tokens;

/** The mean of each channel over squares of pixels. */
function shrink({ data, width }, side) {
  const square = width / side;
  const sums = new Float64Array(3 * side * side);
  for (let y = 0; y < width; y++) {
    for (let x = 0; x < width; x++) {
      const cell = side * Math.floor(y / square) + Math.floor(x / square);
      for (let i = 0; i < 3; i++) sums[3 * cell + i] += data[4 * (width * y + x) + i];
    }
  }
  return sums.map((sum) => sum / square ** 2);
}

test("a sketch is what Python paints", () => {
  for (const { tokens: some, step, pixels } of sketches) {
    const { data, width, height } = sketch(some, defaultTokenSet);
    assert.deepEqual([data.length, width, height], [4 * 256 * 256, 256, 256]);
    let next = 0;
    for (let y = 0; y < 256; y += step) {
      for (let x = 0; x < 256; x += step) {
        for (let i = 0; i < 3; i++) {
          const found = data[4 * (256 * y + x) + i];
          assert.ok(Math.abs(found - pixels[next]) < 0.52, `${found} is not ${pixels[next]}`);
          next++;
        }
        assert.equal(data[4 * (256 * y + x) + 3], 255);
      }
    }
    assert.equal(next, pixels.length);
  }
});

test("a small sketch is the large one, scaled", () => {
  const large = sketch(tokens, defaultTokenSet);
  for (const side of [128, 64, 32, 16]) {
    const small = sketch(tokens, defaultTokenSet, side);
    assert.deepEqual([small.width, small.data.length], [side, 4 * side * side]);
    const means = shrink(large, side);
    const errors = means.map((mean, index) => {
      const [pixel, i] = [Math.floor(index / 3), index % 3];
      return Math.abs(mean - small.data[4 * pixel + i]);
    });
    const error = errors.reduce((sum, one) => sum + one, 0) / errors.length;
    assert.ok(error < 1.5, `${error} levels at ${side} pixels`);
  }
});

test("a sketch of one pixel is the mean colour", () => {
  const means = shrink(sketch(tokens, defaultTokenSet), 1);
  const { data } = sketch(tokens, defaultTokenSet, 1);
  means.forEach((mean, i) => assert.ok(Math.abs(mean - data[i]) < 8));
});

test("a tile without tokens has the blank colour", () => {
  assert.deepEqual([...sketch([], defaultTokenSet, 1).data], [125, 119, 107, 255]);
});

test("other sides and other token sets are mistakes of the caller", () => {
  for (const side of [0, 257, 1.5, NaN]) {
    assert.throws(() => sketch(tokens, defaultTokenSet, side), RangeError);
  }
  assert.throws(() => sketch(tokens, named), TypeError);
});
