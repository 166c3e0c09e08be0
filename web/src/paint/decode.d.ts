import type { TokenSet } from "../index.js";

type Bytes = ArrayBuffer | ArrayBufferView;

/** A model directory on a server; made by `openModel`. Nothing is fetched before it is needed. */
export class Model {
  /** Enough to read files and to sketch them, without a network. */
  tokenSet(): Promise<TokenSet>;
  /** A tile, RGB of 256x256 pixels of 0 to 255, from its first tokens. */
  paint(tokens: ArrayLike<number>, realism?: number): Promise<Float32Array>;
  /** Loads what `paint` needs. */
  prepare(realism?: number): Promise<void>;
  /** All 256 tokens of a tile, RGB of 256x256 pixels. */
  encode(pixels: Uint8Array): Promise<Uint16Array>;
}

/**
 * The model in a folder of the server; the same object each time, so that a page loads it once.
 *
 * `folder` has model.json; by default, it is `model/` beside `src/`. `runtime` is the address of
 * `ort.wasm.min.mjs`, beside which its other files lie; by default in `ort/` beside `src/`. With
 * `ort.webgpu.min.mjs`, pictures that look real are painted by WebGPU where the browser has it.
 */
export function openModel(folder?: string, runtime?: string): Model;

export interface DecodeOptions {
  /** Use at most so many tokens for each 256x256 pixels of the picture. */
  numTokens?: number;
  /** 1 (the default) for a picture that looks real, 0 for the least error. */
  realism?: number;
  model?: Model;
  /** As of `parse`; 4096 * 4096 by default. */
  maxPixels?: number;
  /** Looked at before and after each tile. */
  signal?: AbortSignal;
}

/**
 * A file, complete or truncated anywhere in its tokens, as a picture.
 *
 * Throws an OdpError, "no-model" if the model does not load, and a RangeError for other options.
 */
export function decode(bytes: Bytes, options?: DecodeOptions): Promise<ImageData>;

/** What all tokens say without a network; null if their token set has no sketches. */
export function decodePreview(bytes: Bytes, options?: DecodeOptions): Promise<ImageData | null>;

export interface Step {
  image: ImageData;
  /** The first 16 tokens without a network, the first 16 with it, all. Tiles come in parts. */
  stage: "sketch" | "rough" | "final";
  isLast: boolean;
}

/** The same picture in steps, each better than the one before. */
export function decodeProgressively(
  bytes: Bytes,
  options?: DecodeOptions,
): AsyncGenerator<Step, void, void>;
