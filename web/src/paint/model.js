/** A model directory on a server, and the networks in it, which ONNX Runtime Web runs. */

import { OdpError } from "../errors.js";
import { readTokenSet } from "../token-set.js";
import { fetchFile, fetchJson } from "./files.js";

const TOKEN_SET = "token-set.safetensors";
const MOST_THREADS = 4;

/** Where a folder written by `odp serve --out` has them. */
const FOLDER = new URL("../../model/", import.meta.url).href;
const RUNTIME = new URL("../../ort/ort.wasm.min.mjs", import.meta.url).href;

const models = new Map();
const runtimes = new Map();

/**
 * The model in a folder of the server. Called again for the same folder, it is the same object, so
 * that a page loads a model once. Nothing is fetched before it is needed.
 * @param {string} [folder] address of the folder with model.json
 * @param {string} [runtime] address of ort.wasm.min.mjs, beside which its other files lie; with
 *   ort.webgpu.min.mjs, pictures that look real are painted by WebGPU where the browser has it
 */
export function openModel(folder = FOLDER, runtime = RUNTIME) {
  const [base, program] = [new URL(folder, document.baseURI), new URL(runtime, document.baseURI)];
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  const key = `${base} ${program}`;
  if (!models.has(key)) models.set(key, new Model(base.href, program.href));
  return models.get(key);
}

/** Made by `openModel`. Its methods throw an OdpError ("no-model") for files that do not load. */
export class Model {
  #folder;
  #runtime;
  #promises = new Map();
  #turn = Promise.resolve();

  constructor(folder, runtime) {
    this.#folder = folder;
    this.#runtime = runtime;
  }

  /** model.json, with the decoder that is used and, if it looks real, that of the least error. */
  manifest() {
    return this.#once("manifest", async () => {
      const manifest = await fetchJson(`${this.#folder}model.json`);
      try {
        const { fingerprint, aliases = [], uncoded = [] } = manifest.token_set;
        const keysOf = (fingerprints) => fingerprints.map((one) => one.slice(0, 6));
        const withoutTables = keysOf(uncoded);
        const keys = [...keysOf([fingerprint, ...aliases]), ...withoutTables];
        const decoder = [...manifest.decoders].sort(byAge).at(-1).name;
        const { faithful } = manifest.decoders.find(({ name }) => name === decoder);
        const { blank, files } = manifest;
        return { keys, withoutTables, decoder, faithful, blank, files: { ...files } };
      } catch {
        throw new OdpError("no-model", `${this.#folder}model.json is not a model's manifest`);
      }
    });
  }

  /** What tokens mean: enough to read files and to sketch them, without a network. */
  tokenSet() {
    return this.#once("token set", async () => {
      const { keys } = await this.manifest();
      return readTokenSet(await this.#file(TOKEN_SET), keys);
    });
  }

  /**
   * A tile from its first tokens.
   * @param {ArrayLike<number>} tokens 1 to 256 of 0 to 4095
   * @param {number} realism 0 for the least error, 1 for the most realistic look
   * @returns {Promise<Float32Array>} RGB of 256x256 pixels, 0 to 255
   */
  async paint(tokens, realism = 1) {
    const { decoder, faithful } = await this.manifest();
    if (!faithful || realism === 1) return this.#decode(decoder, tokens);
    const least = await this.#decode(faithful, tokens);
    if (realism === 0) return least;
    const real = await this.#decode(decoder, tokens);
    return real.map((value, index) => realism * value + (1 - realism) * least[index]);
  }

  /** Loads what `paint` needs. */
  async prepare(realism = 1) {
    const { decoder, faithful } = await this.manifest();
    const names = !faithful || realism > 0 ? [decoder] : [];
    if (faithful && realism < 1) names.push(faithful);
    await Promise.all(names.map((name) => this.#decoderSession(name)));
  }

  /**
   * All 256 tokens of a tile.
   * @param {Uint8Array} pixels RGB of 256x256 pixels
   * @returns {Promise<Uint16Array>}
   */
  async encode(pixels) {
    const session = await this.#session("encoder", "encoder");
    const tokens = await this.#run(session, "pixels", ["uint8", pixels, [1, 256, 256, 3]]);
    return Uint16Array.from(tokens);
  }

  async #decode(name, tokens) {
    const session = await this.#decoderSession(name);
    return this.#run(session, "tokens", ["int32", Int32Array.from(tokens), [1, tokens.length]]);
  }

  /** WASM multiplies integers in half the time. WebGPU does not, and is for natural decoders. */
  async #decoderSession(name) {
    const { files, faithful } = await this.manifest();
    const onGpu = faithful && name !== faithful && (await this.#ort()).hasGpu;
    const isInt8 = !onGpu && files[`int8-${name}.onnx`];
    const graph = `${isInt8 ? "int8" : "decoder"}-${name}`;
    return this.#session(graph, `decoder-${name}`, onGpu ? "webgpu" : "wasm");
  }

  /** The numbers that a network gives for its input. One tile goes through at a time. */
  async #run(session, name, input) {
    const { Tensor } = (await this.#ort()).ort;
    const turn = this.#turn.then(() => session.run({ [name]: new Tensor(...input) }));
    this.#turn = turn.catch(() => {});
    return (await turn)[session.outputNames[0]].data;
  }

  /** A network, by the names of its graph and of its file of weights, if it has one. */
  #session(graph, weightsName, provider = "wasm") {
    return this.#once(graph, async () => {
      const { files } = await this.manifest();
      const names = [TOKEN_SET, `${weightsName}.safetensors`].filter((name) => files[name]);
      const [{ ort }, code, ...weights] = await Promise.all([
        this.#ort(),
        this.#file(`${graph}.onnx`),
        ...names.map((name) => this.#file(name)),
      ]);
      const externalData = names.map((path, index) => ({ path, data: weights[index] }));
      const options = { executionProviders: [provider], externalData };
      return ort.InferenceSession.create(code, options).catch(({ message }) => {
        throw new OdpError("no-model", `${graph}.onnx does not load: ${message}`);
      });
    });
  }

  #ort() {
    if (!runtimes.has(this.#runtime)) {
      runtimes.set(this.#runtime, loadRuntime(this.#runtime));
      runtimes.get(this.#runtime).catch(() => runtimes.delete(this.#runtime));
    }
    return runtimes.get(this.#runtime);
  }

  async #file(name) {
    const { files } = await this.manifest();
    return fetchFile(this.#folder + name, files[name]);
  }

  /** A promise that is kept, unless it fails: then the next call tries again. */
  #once(name, make) {
    if (!this.#promises.has(name)) {
      const promise = make();
      this.#promises.set(name, promise);
      promise.catch(() => this.#promises.delete(name));
    }
    return this.#promises.get(name);
  }
}

async function loadRuntime(address) {
  const ort = await import(address).catch(() => {
    throw new OdpError("no-model", `ONNX Runtime Web does not load from ${address}`);
  });
  const { wasm } = ort.env;
  const hasGpu = address.includes("webgpu") && Boolean(await navigator.gpu?.requestAdapter());
  wasm.wasmPaths = new URL("./", address).href;
  wasm.proxy = !hasGpu; // in a worker, so that the page stays alive; WebGPU cannot be there
  const cores = globalThis.navigator?.hardwareConcurrency ?? 1;
  wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, cores) : 1;
  return { ort, hasGpu };
}

/** Sorts decoders, the newest last; of the same day, one that looks real is the newer. */
function byAge(one, other) {
  const [first, second] = [one, other].map(({ released = "", faithful = "", version }) => {
    return [released, faithful ? 1 : 0, version];
  });
  const place = first.findIndex((value, index) => value !== second[index]);
  return place < 0 ? 0 : first[place] < second[place] ? -1 : 1;
}
