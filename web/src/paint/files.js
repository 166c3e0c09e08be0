/** The files of a model, kept in the browser's cache from one visit to the next. */

import { OdpError } from "../errors.js";

const CACHE = "onedpiece-models";

/** @param {string} address */
export async function fetchJson(address) {
  const response = await request(address, { cache: "no-cache" });
  return response.json().catch(() => {
    throw new OdpError("no-model", `${address} is not JSON`);
  });
}

/**
 * The bytes of a file, fetched once for each hash that a manifest gives it.
 * @param {string} address
 * @param {string} [hash]
 */
export async function fetchFile(address, hash) {
  const cache = hash && (await openCache());
  const key = `${address}?sha256=${hash}`;
  const known = await cache?.match(key);
  if (known) return bytesOf(known);
  const response = await request(address, { cache: "no-cache" });
  const data = await bytesOf(response);
  if (cache) {
    if ((await sha256(data)) !== hash) throw new OdpError("no-model", `${address} is another file`);
    await keep(cache, address, key, data);
  }
  return data;
}

/** The cache; undefined where the browser has none, as on pages without https. */
const openCache = () => globalThis.caches?.open(CACHE).catch(() => undefined);

/** Keeps a file instead of earlier ones of its address. No room for it is no error. */
async function keep(cache, address, key, data) {
  try {
    await cache.delete(address, { ignoreSearch: true });
    await cache.put(key, new Response(data));
  } catch {
    return;
  }
}

async function request(address, options) {
  const response = await fetch(address, options).catch(() => null);
  if (response?.ok) return response;
  const reason = response ? `HTTP ${response.status}` : "no answer";
  throw new OdpError("no-model", `${address} cannot be loaded: ${reason}`);
}

/** In hexadecimal. It is there wherever the cache is. */
async function sha256(data) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const bytesOf = async (response) => new Uint8Array(await response.arrayBuffer());
