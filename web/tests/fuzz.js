/**
 * Feeds mutated files and zstd frames to the reader: `node web/tests/fuzz.js 100000`. A second
 * number is the seed.
 *
 * Only an OdpError may be thrown, and no file may take longer than two seconds. The checksum of
 * the header, and often those of chunks, are made right again, so that the code behind is reached.
 */

import { OdpError, decodeAlpha, decodeMetadata } from "../src/index.js";
import { crc32, crc8 } from "../src/checksum.js";
import { readHeader } from "../src/header.js";
import { decompress } from "../src/zstd.js";
import { read } from "./facts.js";
import { readJson, vectors } from "./vectors.js";

const SLOWEST = 2000; // milliseconds of a file
const HEADER_BYTES = 16; // of the longest header
const MAX_PIXELS = 1 << 24; // of transparency, so that it is no test of patience

/** Numbers from 0 up to, but not including, the argument (Park and Miller, 1988). */
function randomOf(seed) {
  let state = seed * 7919 + 1;
  return (below) => (state = (state * 48271) % 2147483647) % below;
}

function mutate(data, random) {
  const out = [...data];
  for (let changes = 1 + random(4); changes > 0; changes--) {
    const place = random(3) ? random(Math.min(out.length + 1, 24)) : random(out.length + 1);
    const octets = [0, 1, 0x7f, 0x80, 0xff, random(256)];
    const kind = random(9);
    if (kind < 2) out[place] ^= 1 << random(8);
    else if (kind < 4) out[place] = octets[random(6)];
    else if (kind < 6) out.splice(place, 0, ...octets.slice(random(6)));
    else if (kind < 8) out.splice(place, 1 + random(4));
    else if (random(3) === 0) out.length = place;
  }
  const bytes = Uint8Array.from(out);
  if (random(4)) repair(bytes);
  return bytes;
}

function repair(data) {
  for (let end = 4; end < Math.min(HEADER_BYTES, data.length); end++) {
    const fixed = data.slice();
    fixed[end] = crc8(data.subarray(0, end));
    const header = tryTo(() => readHeader(fixed));
    if (header?.end !== end + 1) continue;
    data.set(fixed);
    if (header.header.hasChunks && !header.header.hasAllocation) repairChunks(data, end + 1);
    return;
  }
}

/** Chunks whose lengths take one byte, as in most vectors. */
function repairChunks(data, start) {
  let kind = start + 1;
  for (let count = data[start]; count > 0 && kind + 6 <= data.length; count--) {
    const end = kind + 6 + data[kind + 1];
    const checksum = crc32(data.subarray(kind, kind + 1), data.subarray(kind + 6, end));
    new DataView(data.buffer).setUint32(kind + 2, checksum);
    kind = end;
  }
}

function tryTo(action) {
  try {
    return action();
  } catch (error) {
    if (error instanceof OdpError) return null;
    throw error;
  }
}

/** "read", or the reason for which a file is refused. */
function use(data) {
  try {
    if (isFrame(data)) {
      decompress(data, MAX_PIXELS);
      return "frame read";
    }
    const file = read(data);
    const { width, height } = file.header;
    if (width * height <= MAX_PIXELS) decodeAlpha(file);
    decodeMetadata(file);
    return "read";
  } catch (error) {
    if (error instanceof OdpError) return error.reason;
    throw new Error(`not handled: ${Buffer.from(data).toString("hex")}`, { cause: error });
  }
}

const isFrame = (data) => data[0] === 0x28 && data[1] === 0xb5;

const [count = "10000", seed = "1"] = process.argv.slice(2);
const random = randomOf(Number(seed));
const files = ["valid", "decoded"].flatMap((kind) => vectors(kind).map(({ data }) => data));
for (const { frame } of readJson("web/tests/references.json").frames) {
  files.push(Buffer.from(frame, "hex"));
}
const outcomes = {};
let [slowest, octets] = [0, 0];
for (let index = 0; index < Number(count); index++) {
  const data = mutate(files[random(files.length)], random);
  const before = performance.now();
  const outcome = use(data);
  const took = performance.now() - before;
  if (took > SLOWEST) throw new Error(`${took} ms for ${Buffer.from(data).toString("hex")}`);
  slowest = Math.max(slowest, took);
  octets += data.length;
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
}
const list = Object.entries(outcomes).map(([name, number]) => `${name} ${number}`);
console.log(`${count} files, ${octets} bytes: ${list.sort().join(", ")}`);
console.log(`slowest ${slowest.toFixed(0)} ms`);
