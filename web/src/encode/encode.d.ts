import type { TokenSet } from "../index.js";
import type { Model } from "../paint/decode.js";

/** All tokens of a picture. */
export interface Encoded {
  header: object;
  /** 256 of each tile. */
  tokens: Uint16Array[];
}

/**
 * The bytes of an .odp file with 1 to 256 tokens a tile; 256 by default.
 *
 * Transparent pixels are put on white. Throws an OdpError, "no-model" if the model does not load,
 * and a RangeError for other options.
 */
export function encode(
  image: ImageData,
  options?: { tokens?: number; model?: Model },
): Promise<Uint8Array>;

/** All tokens, for `writeFile`, which makes files of any number of them. */
export function encodeAll(
  image: ImageData,
  options?: { model?: Model; signal?: AbortSignal },
): Promise<Encoded>;

/** A file with so many tokens a tile, 1 to 256. */
export function writeFile(encoded: Encoded, tokenSet: TokenSet, count: number): Uint8Array;
