import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeTokens, parse, readTokenSet } from "../src/index.js";
import { Tables } from "../src/tables.js";
import { named, readJson, tokenSetBytes, vectors } from "./vectors.js";

const broken = { name: "OdpError", reason: "bad-token-set" };
const { frequency, block_sizes: blockSizes } = readJson("tests/vectors/tables.json");
const coded = vectors("valid").find(({ name }) => name === "coded").data;

/** A safetensors file of an index and zeros. */
function fileOf(index, zeros = 0) {
  const text = new TextEncoder().encode(typeof index === "string" ? index : JSON.stringify(index));
  const file = new Uint8Array(8 + text.length + zeros);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  return file;
}

const entry = (dtype, shape, ...offsets) => ({ dtype, shape, data_offsets: offsets });

test("a damaged file is refused", () => {
  for (const length of [0, 7, 8, 500, 1000, tokenSetBytes.length - 1]) {
    assert.throws(() => readTokenSet(tokenSetBytes.subarray(0, length)), broken);
  }
  assert.throws(() => readTokenSet(new Uint8Array(100).fill(255)), broken);
  assert.throws(() => readTokenSet(fileOf("{")), broken);
  const entries = [
    1,
    entry("I32", [2], 0, 4),
    entry("I32", [1], 4, 0),
    entry("I32", [1], 99, 103),
    entry("I32", [-1], 0, 4),
    entry("I64", [1], 0, 8),
    entry("I32", 1, 0, 4),
    entry("I32", [20], 0, 80), // zeros, which are no sizes of blocks
  ];
  for (const one of entries) {
    const index = { "quantize.block_sizes": one, "quantize.frequency": entry("I32", [1], 0, 4) };
    assert.throws(() => readTokenSet(fileOf(index, 80)), broken);
  }
});

test("a token set without tables reads only tokens of 12 bits", () => {
  for (const index of [{}, null, []]) {
    assert.deepEqual(readTokenSet(fileOf(index), ["a1b2c3"]).tables, null);
  }
  const tokenSet = readTokenSet(fileOf({}), ["a1b2c3"]);
  const damaged = { name: "OdpError", reason: "damaged" };
  assert.throws(() => decodeTokens(coded, tokenSet), damaged);
});

test("a token set of another name is not used", () => {
  const other = { ...named, keys: ["a1b2c4"] };
  const unknown = { name: "OdpError", reason: "unknown-token-set" };
  assert.throws(() => decodeTokens(coded, other), unknown);
  assert.equal(parse(coded).header.tokenSet, "a1b2c3");
});

test("an order of codes turns ranks into codes", () => {
  const reversed = Array.from({ length: 4096 }, (_, rank) => 4095 - rank);
  const tables = new Tables(frequency.flat(), blockSizes, [...reversed, ...reversed]);
  const [ranks] = decodeTokens(coded, named).tokens;
  const [codes] = decodeTokens(coded, { ...named, tables }).tokens;
  assert.deepEqual(codes, ranks.map((rank) => 4095 - rank));
});

test("arrays that are no tables are refused", () => {
  const flat = frequency.flat();
  const others = [
    [flat.slice(1), blockSizes],
    [flat, [1, 254]],
    [flat, [0, 256]],
    [flat.map((one, index) => (index ? one : one + 1)), blockSizes],
    [flat, blockSizes, Array(8192).fill(0)],
    [flat, blockSizes, [0]],
  ];
  for (const arrays of others) assert.throws(() => new Tables(...arrays), broken);
});
