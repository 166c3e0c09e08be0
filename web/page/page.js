/** The demo: a picture, its .odp file at the size of a slider, and a WebP file of that size. */

import { encodeAll, writeFile } from "./src/encode/encode.js";
import { decodeProgressively, openModel } from "./src/paint/decode.js";
import { bestWebp, psnr } from "./webp.js";

const PREVIEW = 16; // tokens of the placeholder
const WAIT = 120; // milliseconds after the last move of the slider

const at = (id) => document.getElementById(id);
const modelOn = (runtime) => openModel("model/", `ort/${runtime}`);

/** The picture that is shown: its name and either its pixels and tokens, or its file. */
let shown = null;
let work = new AbortController();
let model = modelOn(at("processor").value);

at("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) open(target.files[0], target.files[0].name);
  target.value = "";
});
for (const button of document.querySelectorAll("[data-sample]")) {
  const name = button.dataset.sample;
  button.addEventListener("click", () => {
    attempt(async () => open(await (await fetch(`pictures/${name}`)).blob(), name));
  });
}
document.addEventListener("paste", ({ clipboardData }) => {
  const [file] = clipboardData.files;
  if (file) open(file, file.name);
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    const file = kind === "drop" && event.dataTransfer.files[0];
    if (file) open(file, file.name);
  });
}
at("tokens").addEventListener("input", () => {
  at("tokens-shown").value = at("tokens").value;
  show(WAIT);
});
at("side").addEventListener("change", () => shown?.blob && open(shown.blob, shown.name));
for (const radio of document.querySelectorAll("[name=realism]")) {
  radio.addEventListener("change", () => show());
}
at("processor").addEventListener("change", ({ target }) => {
  model = modelOn(target.value);
  show();
});
hasGraphicsCard().then((has) => (at("processor-field").hidden = !has));
at("controls").addEventListener("submit", (event) => event.preventDefault());

/** Whether WebGPU is more than a program on the processor. */
async function hasGraphicsCard() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && !adapter.info?.isFallbackAdapter;
}

/** Runs a step of the newest work; what goes wrong with it is shown. */
async function attempt(step) {
  work.abort();
  work = new AbortController();
  const { signal } = work;
  try {
    await step(signal);
  } catch (error) {
    if (!signal.aborted) say(`That did not work: ${error.message}`, true);
  }
}

function say(text, failed = false) {
  at("status").textContent = text;
  at("status").classList.toggle("failed", failed);
}

/** Opens a picture or an .odp file. */
function open(blob, name) {
  return attempt(async (signal) => {
    const head = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
    const isOdp = head[0] === 0x9d && head[1] === 0x50;
    const next = isOdp ? await readOdp(blob, name) : await readPicture(blob, name, signal);
    signal.throwIfAborted();
    shown = next;
    lay(!isOdp);
    await paint(signal, performance.now());
  });
}

async function readOdp(blob, name) {
  return { name, bytes: new Uint8Array(await blob.arrayBuffer()) };
}

async function readPicture(blob, name, signal) {
  const original = await pixelsOf(blob);
  signal.throwIfAborted();
  at("original-size").textContent = `${original.width}x${original.height} pixels`;
  put("original", original);
  lay(true);
  say("Loading the model and encoding…");
  clear("odp", original);
  clear("webp", original);
  const encoded = await encodeAll(original, { model, signal });
  return { name, blob, original, encoded, tokenSet: await model.tokenSet() };
}

/** The pixels of a picture, upright, on white, no larger than chosen. */
async function pixelsOf(blob) {
  const bitmap = await createImageBitmap(blob).catch(() => {
    throw new Error("this browser cannot read the file as a picture");
  });
  const scale = Math.min(1, Number(at("side").value) / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => {
    return Math.max(1, Math.round(side * scale));
  });
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** Shows what belongs to a picture, or to an .odp file alone. */
function lay(hasOriginal) {
  for (const id of ["original-figure", "webp-figure"]) at(id).hidden = !hasOriginal;
  at("pictures").classList.toggle("alone", !hasOriginal);
  at("pictures").hidden = at("controls").hidden = false;
  at("tokens").disabled = at("side").disabled = !hasOriginal;
}

/** Paints again after a change of the controls, once they have been left alone for a while. */
function show(wait = 0) {
  if (!shown) return;
  if (shown.encoded) describe(fileOf(shown));
  attempt(async (signal) => {
    if (wait) await new Promise((resolve) => setTimeout(resolve, wait));
    signal.throwIfAborted();
    await paint(signal, performance.now());
  });
}

const fileOf = ({ bytes, encoded, tokenSet }) =>
  bytes ?? writeFile(encoded, tokenSet, Number(at("tokens").value));

async function paint(signal, begin) {
  const { original } = shown;
  const bytes = fileOf(shown);
  describe(bytes);
  const compared = original && compare(original, bytes.length, signal);
  compared?.catch(() => {}); // it is awaited below
  const realism = Number(document.querySelector("[name=realism]:checked").value);
  at("odp").setAttribute("aria-busy", "true");
  say("Painting…");
  for await (const step of decodeProgressively(bytes, { model, realism, signal })) {
    signal.throwIfAborted();
    put("odp", step.image);
    at("odp").dataset.stage = step.stage;
    const decibels = original ? `${psnr(original, step.image).toFixed(2)} dB` : sizeOf(step.image);
    at("odp-facts").textContent = step.isLast ? decibels : `${decibels}, ${step.stage}`;
  }
  at("odp").removeAttribute("aria-busy");
  await compared;
  say(`Painted in ${((performance.now() - begin) / 1000).toFixed(1)} s.`);
}

/** Size, download and snippet of a file. */
function describe(bytes) {
  at("odp-bytes").textContent = amount(bytes.length);
  const link = at("download");
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  const name = shown.name?.replace(/\.[^.]*$/, "") || "picture";
  link.download = `${name}.odp`;
  at("snippet").hidden = !shown.encoded;
  if (!shown.encoded) return;
  const small = writeFile(shown.encoded, shown.tokenSet, PREVIEW);
  const placeholder = btoa(String.fromCharCode(...small));
  at("code").textContent =
    '<script type="module" src="src/paint/element.js"></script>\n' +
    `<odp-picture src="${name}.odp" alt="…"\n  placeholder="${placeholder}"></odp-picture>`;
}

async function compare(original, limit, signal) {
  const found = await bestWebp(original, limit, signal);
  signal.throwIfAborted();
  at("webp-bytes").textContent = found.image ? amount(found.bytes) : "";
  if (found.image) {
    put("webp", found.image);
    const reduced = found.width < original.width ? `, encoded at ${sizeOf(found)}` : "";
    at("webp-facts").textContent = `${found.psnr.toFixed(2)} dB${reduced}`;
    return;
  }
  clear("webp", original);
  at("webp-facts").textContent = found.smallest
    ? `No file is this small: the smallest has ${amount(found.smallest)}.`
    : "This browser makes no WebP files.";
}

function put(id, image) {
  const canvas = at(id);
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function clear(id, { width, height }) {
  [at(id).width, at(id).height] = [width, height];
  at(`${id}-facts`).textContent = at(`${id}-bytes`).textContent = "";
}

const amount = (bytes) => `${bytes.toLocaleString("en")} bytes`;
const sizeOf = ({ width, height }) => `${width}x${height} pixels`;
