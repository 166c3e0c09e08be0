/** Change the size of a picture, with the same numbers as Pillow's bicubic filter. */

const SUPPORT = 2; // pixels on either side that the filter sees
const SHARPNESS = -0.5;
const UNIT = 1 << 22; // weights are integers; so many are 1

/**
 * A picture of another size; bicubic, with antialiasing where it becomes smaller.
 * @param {Uint8ClampedArray} pixels RGB, row by row
 * @param {{width: number, height: number}} from
 * @param {{width: number, height: number}} to
 * @returns {Uint8ClampedArray} RGB; `pixels` itself if the size is the same
 */
export function resize(pixels, from, to) {
  let result = pixels;
  if (to.width !== from.width) {
    const line = { count: from.height, step: 3 * from.width, next: 3 * to.width };
    result = resizeLines(result, line, axis(from.width, to.width, 3, 3));
  }
  if (to.height !== from.height) {
    const row = 3 * to.width;
    const line = { count: to.width, step: 3, next: 3 };
    result = resizeLines(result, line, axis(from.height, to.height, row, row));
  }
  return result;
}

const axis = (size, wanted, step, next) => ({ size, wanted, step, next });

/** Lines of pixels become longer or shorter; `step` and `next` are distances before and after. */
function resizeLines(pixels, lines, { size, wanted, step, next }) {
  const result = new Uint8ClampedArray((pixels.length / size) * wanted);
  windowsOf(size, wanted).forEach(({ first, weights }, place) => {
    for (let line = 0; line < lines.count; line++) {
      const source = lines.step * line + step * first;
      const target = lines.next * line + next * place;
      for (let channel = 0; channel < 3; channel++) {
        let sum = UNIT / 2;
        for (let index = 0; index < weights.length; index++) {
          sum += weights[index] * pixels[source + step * index + channel];
        }
        result[target + channel] = Math.floor(sum / UNIT);
      }
    }
  });
  return result;
}

/** For each pixel of the result, the first pixel that it is made of, and the weights from there. */
function windowsOf(size, wanted) {
  const scale = size / wanted;
  const stretch = Math.max(1, scale);
  return Array.from({ length: wanted }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - SUPPORT * stretch + 0.5));
    const end = Math.min(size, Math.trunc(centre + SUPPORT * stretch + 0.5));
    const weights = Array.from({ length: end - first }, (_, index) =>
      cubic((first + index - centre + 0.5) * (1 / stretch)),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => roundHalfAway((weight / sum) * UNIT)) };
  });
}

/** The cubic convolution kernel. */
function cubic(distance) {
  const x = Math.abs(distance);
  if (x < 1) return ((SHARPNESS + 2) * x - (SHARPNESS + 3)) * x * x + 1;
  return x < SUPPORT ? (((x - 5) * x + 8) * x - 4) * SHARPNESS : 0;
}

const roundHalfAway = (number) => Math.trunc(number + (number < 0 ? -0.5 : 0.5));
