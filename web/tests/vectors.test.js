import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { decodeTokens, parse } from "../src/index.js";
import { facts, outcome, read } from "./facts.js";
import { defaultTokenSet, readJson, tokenSetBytes, vectors } from "./vectors.js";

for (const { path, version, data } of vectors("valid")) {
  test(`${path} holds what is written beside it`, () => {
    const found = facts(read(data));
    assert.equal(`version-${found.version}`, version);
    assert.deepEqual(found, { version: 1, density: 1, ...readJson(`${path}.json`) });
  });
}

for (const { path, version, name, data } of vectors("invalid")) {
  test(`${path} is refused`, () => {
    const errors = readJson(`tests/vectors/${version}/invalid/errors.json`);
    assert.equal(outcome(data), errors[name]);
  });
}

for (const { path, data } of vectors("valid")) {
  test(`every prefix of ${path} is refused or holds the beginning of its tokens`, () => {
    const whole = read(data);
    for (let length = 0; length < data.length; length += data.length > 400 ? 37 : 1) {
      const prefix = data.subarray(0, length);
      if (length < whole.payloadStart) {
        assert.match(outcome(prefix), /^(DamagedFile|NotAnOdpFile)$/);
        continue;
      }
      const { tokens, arrived, isTruncated } = read(prefix);
      assert.ok(isTruncated && arrived <= whole.arrived);
      tokens.forEach((ofTile, tile) => {
        assert.deepEqual(ofTile, whole.tokens[tile].subarray(0, ofTile.length));
      });
    }
  });
}

for (const { path, data } of vectors("valid")) {
  test(`all of ${path} but the tokens is read without its token set`, () => {
    const file = parse(data);
    assert.equal(data.length - file.payloadStart, file.payload.length);
    if (!file.header.entropyCoded) {
      assert.deepEqual(decodeTokens(data).tokens, read(data).tokens);
      return;
    }
    assert.throws(() => decodeTokens(data), { name: "OdpError", reason: "unknown-token-set" });
  });
}

test("more pixels than the caller allows are refused; density counts", () => {
  const { data } = vectors("valid").find(({ name }) => name === "density-2");
  const pixels = 4 * 256 * 256;
  assert.ok(parse(data, { maxPixels: pixels }));
  const refused = { name: "OdpError", reason: "too-large" };
  assert.throws(() => parse(data, { maxPixels: pixels - 1 }), refused);
  assert.throws(() => decodeTokens(data, undefined, { maxPixels: 1 }), refused);
});

test("a file can be given as any view of bytes", () => {
  const { data } = vectors("valid").find(({ name }) => name === "one-tile");
  const { tokens } = read(data);
  const buffer = Uint8Array.from([0, ...data]).buffer;
  assert.deepEqual(decodeTokens(new DataView(buffer, 1)).tokens, tokens);
  assert.deepEqual(decodeTokens(buffer.slice(1)).tokens, tokens);
});

test("the default token set has the fingerprint by which files name it", () => {
  const fingerprint = createHash("sha256").update(tokenSetBytes).digest("hex");
  assert.equal(fingerprint.slice(0, 6), defaultTokenSet.keys[0]);
});
