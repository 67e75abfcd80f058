// Reduces an image to exactly the same bytes as Pillow: `Image.reduce` (its Reduce.c) and `Image.resize`
// by LANCZOS (its Resample.c), for 8 bits a channel. tests/test_device_images.py compares the bytes.
//
// An image here is { data, width, height } with four bytes a pixel, like an ImageData. The fourth is
// ignored: transparent pictures have already been put on white.

const SUPPORT = 3; // lobes of the windowed sinc on each side
const PRECISION = 22; // bits after the point in a weight: 32, less 8 for the pixel and 2 to spare
const HALF = 1 << (PRECISION - 1);

// What the network sees of an image, like `preprocess` of skin_cancer_detection.py: side × side × 3
// bytes, RGB row by row. Above `exact_pixels`, LANCZOS works on the means of blocks.
export function preprocess(image, { side, exact_pixels, reducing_gap }) {
  const { width, height } = image;
  const factor = (length) => Math.floor(length / side / reducing_gap) || 1;
  if (width * height <= exact_pixels) return lanczos(image, side);
  const [across, down] = [factor(width), factor(height)];
  // The last blocks may be incomplete: the picture ends within them.
  return lanczos(reduceBlocks(image, across, down), side, width / across, height / down);
}

// The means of blocks of across × down pixels. Blocks at the right and at the bottom may be smaller.
export function reduceBlocks({ data, width, height }, across, down = across) {
  const [columns, rows] = [Math.ceil(width / across), Math.ceil(height / down)];
  const reduced = new Uint8ClampedArray(4 * columns * rows);
  for (let row = 0; row < rows; row += 1) {
    const [top, bottom] = [row * down, Math.min(height, (row + 1) * down)];
    for (let column = 0; column < columns; column += 1) {
      const [left, right] = [column * across, Math.min(width, (column + 1) * across)];
      const count = (right - left) * (bottom - top);
      let [red, green, blue] = [count >> 1, count >> 1, count >> 1];
      for (let y = top; y < bottom; y += 1) {
        const end = 4 * (y * width + right);
        for (let i = 4 * (y * width + left); i < end; i += 4) {
          red += data[i];
          green += data[i + 1];
          blue += data[i + 2];
        }
      }
      // Pillow multiplies by a rounded reciprocal, computed in single precision.
      const reciprocal = Math.floor(Math.fround(2 ** 32 / Math.fround(256 * count)));
      const to = 4 * (row * columns + column);
      reduced[to] = Math.imul(red, reciprocal) >>> 24;
      reduced[to + 1] = Math.imul(green, reciprocal) >>> 24;
      reduced[to + 2] = Math.imul(blue, reciprocal) >>> 24;
    }
  }
  return { data: reduced, width: columns, height: rows };
}

// side × side × 3 bytes of an image, or of its upper left `right` × `bottom` pixels, which need not be
// whole numbers. Between the two passes, values are rounded to bytes. Pillow 13 begins with the columns
// if the height shrinks by more than twice as many pixels as the width.
export function lanczos({ data, width, height }, side, right = width, bottom = height) {
  const [across, down] = [weights(width, right, side), weights(height, bottom, side)];
  if (height > side && height - side > 2 * (width - side)) {
    const low = resample(data, { line: 4, step: 4 * width }, width, down, { line: 3, step: 3 * width });
    return resample(low, { line: 3 * width, step: 3 }, side, across, { line: 3 * side, step: 3 });
  }
  const narrow = resample(data, { line: 4 * width, step: 4 }, height, across, { line: 3 * side, step: 3 });
  return resample(narrow, { line: 3, step: 3 * side }, side, down, { line: 3, step: 3 * side });
}

// Weigh the pixels of each line. `from` and `to` say how far apart the lines and their pixels are.
function resample(data, from, lines, outputs, to) {
  const result = new Uint8ClampedArray(3 * lines * outputs.length);
  for (let line = 0; line < lines; line += 1) {
    outputs.forEach(({ first, fixed }, output) => {
      let [red, green, blue] = [HALF, HALF, HALF];
      let i = line * from.line + first * from.step;
      for (let k = 0; k < fixed.length; k += 1, i += from.step) {
        red += fixed[k] * data[i];
        green += fixed[k] * data[i + 1];
        blue += fixed[k] * data[i + 2];
      }
      const at = line * to.line + output * to.step;
      result[at] = red >> PRECISION; // the array keeps it within 0–255
      result[at + 1] = green >> PRECISION;
      result[at + 2] = blue >> PRECISION;
    });
  }
  return result;
}

// For each of `side` outputs: where its inputs begin, and their weights in fixed point.
function weights(length, end, side) {
  const scale = Math.fround(end) / side; // Pillow keeps the box in single precision
  const stretch = Math.max(1, scale);
  return Array.from({ length: side }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - SUPPORT * stretch + 0.5));
    const last = Math.min(length, Math.trunc(centre + SUPPORT * stretch + 0.5));
    const shares = new Float64Array(last - first);
    let sum = 0;
    for (let k = 0; k < shares.length; k += 1) {
      shares[k] = windowedSinc((k + first - centre + 0.5) * (1 / stretch));
      sum += shares[k];
    }
    const fixed = Int32Array.from(shares, (share) => {
      const scaled = (share / sum) * 2 ** PRECISION;
      return Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    });
    return { first, fixed };
  });
}

function windowedSinc(x) {
  return -SUPPORT <= x && x < SUPPORT ? sinc(x) * sinc(x / SUPPORT) : 0;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}
