/**
 * What JavaScript finds, for a comparison with Python.
 *
 * Standard input: JSON, {"files": [base64, ...], "frames": [base64, ...]}. Standard output: the
 * facts of each file or the name of Python's error, and the contents of each zstd frame (base64)
 * or null.
 */

import { readFileSync } from "node:fs";
import { OdpError } from "../src/index.js";
import { decompress } from "../src/zstd.js";
import { outcome } from "./facts.js";

const LIMIT = 1 << 24; // bytes of a frame's contents

function contents(frame) {
  try {
    return Buffer.from(decompress(frame, LIMIT)).toString("base64");
  } catch (error) {
    if (error instanceof OdpError) return null;
    throw error;
  }
}

const decode = (text) => new Uint8Array(Buffer.from(text, "base64"));
const { files, frames } = JSON.parse(readFileSync(0, "utf8"));
const found = {
  files: files.map((file) => outcome(decode(file))),
  frames: frames.map((frame) => contents(decode(frame))),
};
process.stdout.write(JSON.stringify(found));
