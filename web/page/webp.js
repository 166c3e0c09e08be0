/** The best WebP file of a picture that the browser makes in so many bytes. */

const SCALES = [1, 3 / 4, 1 / 2, 3 / 8, 1 / 4, 3 / 16, 1 / 8, 1 / 16];
const BEST = 0.99; // at 1, browsers make lossless files
const ROUNDS = 7; // of the search for a quality

/** Decibels between the pixels of two ImageData of the same size, over RGB. */
export function psnr(one, other) {
  let sum = 0;
  for (let place = 0; place < one.data.length; place++) {
    if (place % 4 < 3) sum += (one.data[place] - other.data[place]) ** 2;
  }
  const mean = sum / ((3 * one.data.length) / 4);
  return 10 * Math.log10(255 ** 2 / mean);
}

/**
 * The file with the highest PSNR that is no larger than the limit; it may be reduced before it is
 * encoded. Without one, only `smallest`, the bytes of the smallest file, is given; 0 if the browser
 * makes no WebP files.
 * @param {ImageData} original opaque
 * @param {number} limit in bytes
 * @param {AbortSignal} signal
 * @returns {Promise<{smallest: number, bytes?: number, width?: number, image?: ImageData,
 *   psnr?: number}>}
 */
export async function bestWebp(original, limit, signal) {
  const source = canvasOf(original);
  let best = { smallest: Infinity };
  for (const scale of SCALES) {
    signal.throwIfAborted();
    const size = [original.width, original.height].map((side) => Math.ceil(side * scale));
    const reduced = draw(source, ...size);
    const least = await webpOf(reduced, 0);
    if (!least) return { smallest: 0 };
    const smallest = Math.min(best.smallest, least.size);
    best = { ...best, smallest };
    if (least.size > limit) continue;
    const blob = (await highestQuality(reduced, limit)) ?? least;
    const decoded = await createImageBitmap(blob);
    const image = pixelsOf(draw(decoded, original.width, original.height));
    const found = psnr(original, image);
    if (!(best.psnr >= found)) {
      best = { smallest, bytes: blob.size, width: size[0], height: size[1], image, psnr: found };
    }
  }
  return best;
}

async function highestQuality(canvas, limit) {
  let [low, high, best] = [0, BEST, null];
  for (let round = 0; round < ROUNDS; round++) {
    const quality = round === 0 ? BEST : (low + high) / 2;
    const blob = await webpOf(canvas, quality);
    if (blob.size > limit) {
      high = quality;
    } else {
      [low, best] = [quality, blob];
      if (quality === BEST) break;
    }
  }
  return best;
}

/** Null if the browser makes another kind of file instead. */
async function webpOf(canvas, quality) {
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/webp", quality));
  if (blob?.type !== "image/webp") return null;
  return new Blob([withoutProfile(new Uint8Array(await blob.arrayBuffer()))], { type: blob.type });
}

/** A file of the picture alone: Chromium adds a colour profile of 456 bytes, that of sRGB. */
function withoutProfile(file) {
  const view = new DataView(file.buffer);
  for (let start = 12; start + 8 <= file.length; ) {
    const kind = String.fromCharCode(...file.subarray(start, start + 4));
    const end = start + 8 + view.getUint32(start + 4, true);
    if (kind === "VP8 " || kind === "VP8L") {
      const picture = file.subarray(start, end + (end & 1));
      const alone = Uint8Array.from([...file.subarray(0, 12), ...picture]);
      new DataView(alone.buffer).setUint32(4, alone.length - 8, true);
      return alone;
    }
    start = end + (end & 1);
  }
  return file;
}

function canvasOf(image) {
  const canvas = blank(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function draw(source, width, height) {
  const canvas = blank(width, height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, width, height);
  return canvas;
}

function blank(width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  return canvas;
}

const pixelsOf = (canvas) =>
  canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
