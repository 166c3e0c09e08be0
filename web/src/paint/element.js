/** `<odp-picture src="x.odp" alt="A cat" placeholder="nVA...">`: an .odp file as an image. */

import { asBytes } from "../bits.js";
import { OdpError } from "../errors.js";
import { parse } from "../file.js";
import { decodePreview, decodeProgressively } from "./decode.js";
import { openModel } from "./model.js";

const BLANK = "#7d776b"; // of a tile without tokens
const CHANGES_PICTURE = ["src", "placeholder", "realism", "model", "runtime"];
const MAX_PIXELS = 1 << 24;

/**
 * Attributes are those of `<img>` (src, alt, width, height), and
 *
 * - placeholder: a colour, or a small .odp file in base64 or as a data URI, shown until the picture
 *   is there; its header gives the size before anything is loaded
 * - realism: 1 (the default) for a picture that looks real, 0 for the least error
 * - model, runtime: addresses as of `openModel`
 *
 * Events: "load" when the picture is complete, "error" (with `error`) if it cannot be shown; then
 * the text of `alt` takes its place. The attribute `stage` tells how far it is: "placeholder",
 * "sketch", "rough", "final", "error".
 */
export class OdpPicture extends HTMLElement {
  static observedAttributes = [...CHANGES_PICTURE, "alt", "width", "height"];

  #canvas = document.createElement("canvas");
  #text = document.createElement("span");
  #style = new CSSStyleSheet();
  #size = null;
  #work = new AbortController();

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [this.#style];
    root.append(this.#canvas, this.#text);
    this.#text.hidden = true;
  }

  /** The size of the picture in pixels; 0 until its header is there. */
  get naturalWidth() {
    return this.#size?.width ?? 0;
  }

  get naturalHeight() {
    return this.#size?.height ?? 0;
  }

  /** Whether nothing more will be painted. */
  get complete() {
    return !this.hasAttribute("src") || ["final", "error"].includes(this.getAttribute("stage"));
  }

  connectedCallback() {
    this.#describe();
    this.#start();
  }

  disconnectedCallback() {
    this.#work.abort();
  }

  attributeChangedCallback(name, before, after) {
    if (!this.isConnected || before === after) return;
    if (CHANGES_PICTURE.includes(name)) this.#start();
    else this.#describe();
  }

  /** Name and size, as far as they are known. */
  #describe() {
    const alt = this.getAttribute("alt");
    this.setAttribute("role", alt === "" ? "presentation" : "img");
    if (alt) this.setAttribute("aria-label", alt);
    else this.removeAttribute("aria-label");
    this.#text.textContent = alt ?? "";
    this.#lay();
  }

  /** Takes the room that attributes or the header ask for. */
  #lay() {
    const [width, height] = ["width", "height"].map((name) => sizeOf(this.getAttribute(name)));
    const natural = this.#size ?? { width: width ?? 300, height: height ?? width ?? 150 };
    const ratio = width && height ? width / height : natural.width / natural.height;
    const wide = width ?? (height ? height * ratio : natural.width);
    this.#style.replaceSync(`
      :host { display: inline-block; position: relative; width: ${wide}px; max-width: 100%; }
      :host([hidden]) { display: none; }
      canvas { display: block; width: 100%; aspect-ratio: ${ratio}; background: var(--blank); }
      span { position: absolute; inset: 0; overflow: hidden; padding: 0.5em; }
    `);
  }

  async #start() {
    this.#work.abort();
    this.#work = new AbortController();
    const { signal } = this.#work;
    // Several attributes that change together begin one picture.
    await Promise.resolve();
    try {
      if (!signal.aborted) await this.#show(signal);
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  async #show(signal) {
    this.#text.hidden = true;
    const addresses = ["model", "runtime"].map((name) => this.getAttribute(name) ?? undefined);
    const model = openModel(...addresses);
    const src = this.getAttribute("src");
    const arriving = src && fetchBytes(new URL(src, document.baseURI), signal);
    arriving?.catch(() => {}); // it is awaited below
    const preview = this.#showPlaceholder(model, signal);
    // A broken placeholder is no reason not to show the picture.
    const hasPreview = await (src ? preview.catch(() => false) : preview);
    signal.throwIfAborted();
    if (!src) return;
    const bytes = await arriving;
    this.#fit(parse(bytes, { maxPixels: MAX_PIXELS }).header);
    const realism = Number(this.getAttribute("realism") ?? 1);
    for await (const { image, stage } of decodeProgressively(bytes, { model, realism, signal })) {
      signal.throwIfAborted();
      if (!(hasPreview && stage === "sketch")) this.#draw(image, stage);
    }
    this.dispatchEvent(new Event("load"));
  }

  /** Shows the placeholder; whether it is a sketch. */
  async #showPlaceholder(model, signal) {
    const placeholder = this.getAttribute("placeholder");
    const isColour = placeholder && CSS.supports("color", placeholder);
    this.#canvas.style.setProperty("--blank", isColour ? placeholder : BLANK);
    this.setAttribute("stage", "placeholder");
    this.#canvas.width = this.#canvas.height = 1; // empty
    if (!placeholder || isColour) return false;
    const small = fromBase64(placeholder);
    this.#fit(parse(small, { maxPixels: MAX_PIXELS }).header);
    const image = await decodePreview(small, { model });
    signal.throwIfAborted();
    if (image) this.#draw(image, "sketch");
    return image !== null;
  }

  #fit({ width, height }) {
    this.#size = { width, height };
    this.#lay();
  }

  #draw(image, stage) {
    if (this.#canvas.width !== image.width) this.#canvas.width = image.width;
    if (this.#canvas.height !== image.height) this.#canvas.height = image.height;
    this.#canvas.getContext("2d").putImageData(image, 0, 0);
    this.#canvas.style.setProperty("--blank", "none");
    this.setAttribute("stage", stage);
  }

  #fail(error) {
    this.setAttribute("stage", "error");
    this.#text.hidden = false;
    this.dispatchEvent(Object.assign(new Event("error"), { error }));
  }
}

/** A length in pixels; undefined if it is none. */
const sizeOf = (text) => (/^\d+$/.test(text ?? "") && Number(text) > 0 ? Number(text) : undefined);

async function fetchBytes(address, signal) {
  const response = await fetch(address, { signal });
  if (!response.ok) throw new OdpError("not-odp", `${address}: HTTP ${response.status}`);
  return asBytes(await response.arrayBuffer());
}

/** The bytes of base64, alone or in a data URI. Throws an OdpError for anything else. */
function fromBase64(text) {
  try {
    const data = atob(text.replace(/^data:[^,]*;base64,/, ""));
    return Uint8Array.from(data, (one) => one.charCodeAt(0));
  } catch {
    throw new OdpError("not-odp", "the placeholder is neither a colour nor base64");
  }
}

if (!customElements.get("odp-picture")) customElements.define("odp-picture", OdpPicture);
