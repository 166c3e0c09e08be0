import assert from "node:assert/strict";
import { test } from "node:test";
import { BitWriter } from "../src/encode/bit-writer.js";
import { layoutOf, writeFile } from "../src/encode/write.js";
import { parse } from "../src/index.js";
import { read } from "./facts.js";
import { defaultTokenSet, tokenSetOf, vectors } from "./vectors.js";

/** Whether the writer can make such a file: version 2, density 1, equally many tokens a tile. */
function isSimple({ header, chunks, isTruncated }) {
  const { version, density, overlap, hasAllocation } = header;
  const isPlain = !hasAllocation && !chunks.length && !isTruncated;
  return version === 2 && density === 1 && overlap === 0 && isPlain;
}

const files = ["valid", "decoded"].flatMap(vectors).filter(({ data }) => isSimple(read(data)));

test("there are vectors to write", () => assert.ok(files.length > 8));

for (const { path, data } of files) {
  test(`${path} is written again as it is`, () => {
    const file = read(data);
    const { tokenSet: key, entropyCoded } = file.header;
    const tables = entropyCoded ? tokenSetOf(key).tables : null;
    const written = writeFile(file, { keys: [key], tables }, file.tokens[0].length);
    assert.deepEqual(written, Uint8Array.from(data));
  });
}

test("files of fewer tokens begin with the same tokens", () => {
  const tokens = [0, 1].map((tile) => {
    return Uint16Array.from({ length: 256 }, (_, index) => (index * 37 + tile * 501) % 4096);
  });
  const { header } = layoutOf(500, 200, false);
  for (const count of [1, 2, 3, 16, 100, 256]) {
    const file = read(writeFile({ header, tokens }, defaultTokenSet, count));
    file.tokens.forEach((found, tile) => {
      assert.deepEqual(found, tokens[tile].subarray(0, count));
    });
  }
});

test("a picture has the layout that Python gives it", () => {
  const layouts = [
    [256, 256, 1, false],
    [300, 200, 1, true],
    [400, 300, 2, true],
    [512, 512, 4, false],
    [2048, 100, 8, true],
    [2049, 100, 9, false],
  ];
  for (const [width, height, count, scaled] of layouts) {
    const { header, grid } = layoutOf(width, height, true);
    assert.deepEqual([grid.count, header.scaled], [count, scaled]);
    const tokens = Array(count).fill(new Uint16Array(256));
    const found = parse(writeFile({ header, tokens }, defaultTokenSet, 3)).header;
    assert.deepEqual([found.width, found.height, found.grey], [width, height, true]);
    assert.equal(found.tokensPerTile, 3);
  }
});

test("what no file can hold is refused", () => {
  assert.throws(() => layoutOf(0, 5, false), RangeError);
  assert.throws(() => layoutOf(40000, 5, false), RangeError);
  const { header } = layoutOf(256, 256, false);
  for (const count of [0, 257, 1.5]) {
    assert.throws(() => writeFile({ header, tokens: [] }, defaultTokenSet, count), RangeError);
  }
});

test("bits are joined, most significant first", () => {
  const bits = new BitWriter();
  bits.write(5, 3);
  bits.writeExpGolomb(0, 0);
  bits.writeExpGolomb(9, 2);
  assert.deepEqual([...bits.bytes()], [0b10110110, 0b10000000]);
});
