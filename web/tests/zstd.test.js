import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { decompress } from "../src/zstd.js";
import { readJson } from "./vectors.js";

const { frames } = readJson("web/tests/references.json");
const bytesOf = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const damaged = { name: "OdpError", reason: "damaged" };

test("frames hold what the zstd library put into them", () => {
  for (const { frame, size, sha256 } of frames) {
    const data = decompress(bytesOf(frame), size);
    assert.equal(data.length, size);
    assert.equal(createHash("sha256").update(data).digest("hex"), sha256);
  }
});

test("contents above the limit are refused", () => {
  for (const { frame, size } of frames.filter((one) => one.size > 0)) {
    assert.throws(() => decompress(bytesOf(frame), size - 1), damaged);
  }
});

test("anything but one whole frame is refused", () => {
  for (const { frame } of frames.slice(0, 8)) {
    const whole = bytesOf(frame);
    for (let length = 0; length < whole.length; length++) {
      assert.throws(() => decompress(whole.subarray(0, length), 1 << 16), damaged);
    }
    for (const more of [[0], whole]) {
      assert.throws(() => decompress(Uint8Array.from([...whole, ...more]), 1 << 16), damaged);
    }
  }
});

test("a few bytes cannot ask for much work", () => {
  // 98,047 sequences of 131,075 bytes each, in a block that may hold 16.
  const sequences = "28b52ffd2010" + "4d0000" + "00ffffff5423003401";
  // Runs of 128 KiB, without an end.
  const runs = "28b52ffd0058" + "0200102a".repeat(4000);
  for (const frame of [sequences, runs]) {
    const before = performance.now();
    assert.throws(() => decompress(bytesOf(frame), 1 << 20), damaged);
    assert.ok(performance.now() - before < 1000);
  }
});
