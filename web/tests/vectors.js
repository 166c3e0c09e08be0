/** The vectors of tests/vectors, which Python's tests use too. */

import { readFileSync, readdirSync } from "node:fs";
import { readTokenSet } from "../src/index.js";
import { Tables } from "../src/tables.js";

const ROOT = new URL("../../", import.meta.url);
const TOKEN_SET = new URL("onedpiece/models/default/token-set.safetensors", ROOT);

export const tokenSetBytes = readFileSync(TOKEN_SET);
export const defaultTokenSet = readTokenSet(tokenSetBytes);

const { frequency, block_sizes: blockSizes } = readJson("tests/vectors/tables.json");

/** The invented token set of the vectors. */
export const named = {
  keys: ["a1b2c3"],
  tables: new Tables(frequency.flat(), blockSizes),
  spectral: null,
};

/** The token set of a file, if it is one of the two. */
export const tokenSetOf = (key) => [defaultTokenSet, named].find(({ keys }) => keys.includes(key));

export function readJson(path) {
  return JSON.parse(readFileSync(new URL(path, ROOT), "utf8"));
}

/** Name and bytes of every file of a kind ("valid", "invalid", "decoded"), of both versions. */
export function vectors(kind) {
  return ["version-1", "version-2"].flatMap((version) => {
    const folder = `tests/vectors/${version}/${kind}`;
    const names = readdirSync(new URL(folder, ROOT)).filter((name) => name.endsWith(".odp"));
    return names.map((name) => {
      const path = `${folder}/${name.slice(0, -4)}`;
      return { version, path, name: name.slice(0, -4), data: readFile(`${path}.odp`) };
    });
  });
}

const readFile = (path) => readFileSync(new URL(path, ROOT));
