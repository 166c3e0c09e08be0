/** What a reader finds in a file, in the words of the JSON files of tests/vectors. */

import { OdpError, decodeTokens, parse } from "../src/index.js";
import { tokenSetOf } from "./vectors.js";

/** Python's classes of errors. */
const CLASSES = {
  "not-odp": "NotAnOdpFile",
  unsupported: "UnsupportedFile",
  damaged: "DamagedFile",
  "too-large": "LimitExceeded",
  "unknown-token-set": "UnknownModel",
};

const hex = (bytes) => Buffer.from(bytes).toString("hex");

/** A file with its tokens, by whichever token set it names. */
export function read(data) {
  return decodeTokens(data, tokenSetOf(parse(data).header.tokenSet));
}

export function facts(file) {
  const { header, grid, allocation, chunks, tokens } = file;
  return {
    version: header.version,
    width: header.width,
    height: header.height,
    density: header.density,
    grey: header.grey,
    overlap: header.overlap,
    scaled: header.scaled,
    entropy_coded: header.entropyCoded,
    tiles: grid.count,
    model: header.tokenSet,
    tokens_per_tile: header.tokensPerTile,
    total: allocation.total,
    levels: allocation.levels && [...allocation.levels],
    parts: chunks.map(({ kind, data }) => [kind, hex(data)]),
    tokens: tokens.map((ofTile) => [...ofTile]),
  };
}

/** The facts of a file, or the name of Python's error. */
export function outcome(data) {
  try {
    return facts(read(data));
  } catch (error) {
    if (!(error instanceof OdpError)) throw error;
    return CLASSES[error.reason];
  }
}
