/** What kind of problem an OdpError is; see errors.js. */
export type Reason =
  | "not-odp"
  | "unsupported"
  | "damaged"
  | "too-large"
  | "unknown-token-set"
  | "bad-token-set"
  | "no-model";

/** Anything that keeps a file from being read. */
export class OdpError extends Error {
  constructor(reason: Reason, message: string);
  readonly name: "OdpError";
  readonly reason: Reason;
}

export interface Header {
  version: 1 | 2;
  /** In pixels, 1 to 32768. */
  width: number;
  height: number;
  /** Pixels of the tiles for each pixel of the picture, along each side, 1 to 4. */
  density: number;
  grey: boolean;
  /** Pixels that neighbouring tiles share, 0 to 120. */
  overlap: number;
  /** Whether the picture is scaled to fill its tiles. */
  scaled: boolean;
  /** Of the complete file, 1 to 256; with an allocation, the mean, rounded up. */
  tokensPerTile: number;
  /** The first 3 bytes of the fingerprint of the token set, hexadecimal. */
  tokenSet: string;
  entropyCoded: boolean;
  hasChunks: boolean;
  hasAllocation: boolean;
}

/** The tiles, row by row from the top left. */
export interface Grid {
  columns: number;
  rows: number;
  count: number;
  /** Pixels from the start of one tile to the start of the next. */
  stride: number;
}

export interface Chunk {
  /** 0 to 255. */
  kind: number;
  /** A view of the file. */
  data: Uint8Array;
}

/** A file without a look at its tokens. */
export interface File {
  header: Header;
  grid: Grid;
  /** Tokens of all tiles together in the complete file, and a level for each tile. */
  allocation: { total: number; levels: Uint8Array | null };
  chunks: Chunk[];
  /** Position of the first byte of the payload. */
  payloadStart: number;
  /** The payload, to the end of the file: a view of it. */
  payload: Uint8Array;
}

export interface DecodedFile extends File {
  /** The tokens of each tile that are there, 0 to 4095. */
  tokens: Uint16Array[];
  /** How many tokens are there, of all tiles together. */
  arrived: number;
  /** Whether tokens are missing at the end of the file. */
  isTruncated: boolean;
}

export interface TokenSet {
  /** By which files name it: the first 3 bytes of fingerprints, hexadecimal. */
  keys: string[];
  /** Frequencies of tokens; null if they are never range coded. */
  tables: object | null;
  /** What tokens mean; null if they are not spectral. */
  spectral: object | null;
}

export interface Options {
  /** Most pixels to be painted: width * height * density * density. 16384 * 16384 by default. */
  maxPixels?: number;
}

type Bytes = ArrayBuffer | ArrayBufferView;

/** Reads everything but the tokens, of a file of any token set. Throws an OdpError. */
export function parse(bytes: Bytes, options?: Options): File;

/**
 * Reads a file and its tokens, as far as these have arrived. Throws an OdpError.
 *
 * A token set is needed only if `header.entropyCoded`.
 */
export function decodeTokens(
  bytes: Bytes,
  tokenSet?: TokenSet | null,
  options?: Options,
): DecodedFile;

/**
 * The opacity of every pixel, 0 to 255, row by row; null for an opaque picture. Throws an OdpError.
 */
export function decodeAlpha(file: File): Uint8Array | null;

/** Metadata, decompressed, each kind only if it is there. Throws an OdpError. */
export function decodeMetadata(file: File): {
  exif?: Uint8Array;
  icc?: Uint8Array;
  xmp?: Uint8Array;
};

/**
 * Reads `token-set.safetensors`. Throws an OdpError.
 *
 * `keys` are those of `onedpiece-1` by default.
 */
export function readTokenSet(bytes: Bytes, keys?: string[]): TokenSet;

/**
 * What the tokens of a tile say before any network repairs it, in RGBA as in an ImageData.
 *
 * `side` is 1 to 256 pixels, 256 by default. Throws a RangeError for another side, a TypeError for
 * a token set that is not spectral.
 */
export function sketch(
  tokens: ArrayLike<number>,
  tokenSet: TokenSet,
  side?: number,
): { data: Uint8ClampedArray<ArrayBuffer>; width: number; height: number };
