import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeAlpha, decodeMetadata, parse } from "../src/index.js";
import { readJson, vectors } from "./vectors.js";

const { alphas } = readJson("web/tests/references.json");
const bytesOf = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const damaged = { name: "OdpError", reason: "damaged" };
const valid = (wanted) => parse(vectors("valid").find(({ name }) => name === wanted).data);

function fileOf({ width, height }, ...data) {
  const chunks = data.map((bytes) => ({ kind: 0x81, data: bytes }));
  return { header: { width, height }, chunks };
}

test("transparency is what Python finds", () => {
  for (const { chunk, opacity, ...size } of alphas) {
    assert.deepEqual(decodeAlpha(fileOf(size, bytesOf(chunk))), bytesOf(opacity));
  }
});

test("a picture without a chunk of transparency is opaque", () => {
  assert.equal(decodeAlpha(valid("one-tile")), null);
});

test("the vectors have transparency and metadata", () => {
  assert.deepEqual(decodeAlpha(valid("alpha")), new Uint8Array(9 * 6).fill(255));
  const grey = decodeAlpha(valid("density-3-one-tile-alpha-grey"));
  assert.deepEqual(grey, new Uint8Array(40 * 30).fill(51));
  assert.deepEqual(decodeMetadata(valid("exif")), { exif: new TextEncoder().encode("Exif\0\0") });
  assert.deepEqual(decodeMetadata(valid("alpha")), {});
});

test("the first of two chunks counts", () => {
  const [{ chunk, opacity, ...size }] = alphas;
  const found = decodeAlpha(fileOf(size, bytesOf(chunk), Uint8Array.from([0])));
  assert.deepEqual(found, bytesOf(opacity));
});

test("damaged transparency is refused", () => {
  const [{ chunk, width, height }] = alphas;
  const whole = bytesOf(chunk);
  const [, , ...frame] = whole;
  const heads = [[0, 11], [65, 11], [1, 0], [1, 1]]; // sides of cells, steps
  const broken = [[], [1], ...heads.map((head) => [...head, ...frame])];
  for (const data of broken) {
    assert.throws(() => decodeAlpha(fileOf({ width, height }, Uint8Array.from(data))), damaged);
  }
  for (const size of [{ width: 10, height }, { width: 8, height }]) {
    assert.throws(() => decodeAlpha(fileOf(size, whole)), damaged);
  }
});

test("damaged metadata is refused", () => {
  assert.throws(() => decodeMetadata({ chunks: [{ kind: 1, data: new Uint8Array(9) }] }), damaged);
});
