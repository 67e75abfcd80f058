// From a chosen file to what the network sees of it, without the server: the same 28×28 pixels as from
// lesion_lens/model/images.py and `preprocess`. It runs in a worker and on the page. Limits and
// sentences come from the server: lesion_lens/web/device_images.py.
import { encoded, paint, reduced } from "./decode.js";
import { lookInto } from "./formats.js";
import { preprocess, reduceBlocks } from "./lanczos.js";

// Pixels a side that are read at once. A large picture as a whole takes more memory than a phone gives
// to a page, and does not fit a canvas of iOS.
const TILE = 2048;

// What is wrong with an image, in a sentence for the reader.
export class ImageError extends Error {}

// Read a file. Returns { pixels: side × side × 3 bytes, RGB row by row; png: the same pixels as an image
// file; preview: a small copy; preview_size and full_size: [width, height] }. Both images are data:
// addresses. Rejects with an ImageError, or with the browser's own error.
export async function readImage(file, limits) {
  const { sentences, side } = limits;
  if (!file.size) throw new ImageError(sentences.empty);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const { format, size, isWhole, isOdd } = lookInto(bytes);
  if (!format || isOdd) throw new ImageError(sentences.unreadable);
  checkSize(size, format, limits);
  if (!isWhole) throw new ImageError(sentences.damaged);
  const bitmap = await decode(new Blob([bytes]), sentences);
  try {
    checkSize([bitmap.width, bitmap.height], format, limits);
    const pixels = preprocess(reducedTiles(bitmap, limits), limits);
    const preview = reduced(bitmap, limits.preview_side);
    return {
      pixels,
      png: await addressOf(await encoded(canvasOf(pixels, side), "image/png")),
      preview: await addressOf(await encoded(preview, "image/jpeg", 0.85)),
      preview_size: [preview.width, preview.height],
      full_size: [bitmap.width, bitmap.height],
    };
  } finally {
    bitmap.close();
  }
}

function checkSize([width, height], format, { max_pixels, max_jpeg_pixels, max_side, sentences }) {
  const [most, sentence] = format === "JPEG"
    ? [max_jpeg_pixels, sentences.large_jpeg]
    : [max_pixels, sentences.large];
  if (width * height > most) throw new ImageError(sentence);
  if (Math.max(width, height) > max_side) throw new ImageError(sentences.long);
}

// Browsers turn a JPEG upright by themselves, but not a WebP, and WebKit does not turn a PNG. Then only
// the preview lies on its side: the network looks at all eight ways to turn and mirror a picture.
async function decode(file, sentences) {
  try {
    return await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new ImageError(sentences.unreadable);
  }
}

// The pixels of a picture as RGBA; above `exact_pixels`, the means of blocks.
function reducedTiles(bitmap, { side, exact_pixels, reducing_gap, sentences }) {
  const { width, height } = bitmap;
  const gap = Math.floor(Math.min(width, height) / (reducing_gap * side));
  const factor = width * height > exact_pixels ? Math.max(1, gap) : 1;
  const image = emptyImage(Math.ceil(width / factor), Math.ceil(height / factor));
  const step = factor * Math.floor(TILE / factor);
  const context = paint(Math.min(step, width), Math.min(step, height), () => {}).getContext("2d");
  if (!tellsTheTruth(context)) throw new ImageError(sentences.hidden);
  context.imageSmoothingEnabled = false;
  for (let top = 0; top < height; top += step) {
    for (let left = 0; left < width; left += step) {
      const [across, down] = [Math.min(step, width - left), Math.min(step, height - top)];
      context.fillStyle = "white";
      context.fillRect(0, 0, across, down);
      context.drawImage(bitmap, left, top, across, down, 0, 0, across, down);
      const tile = context.getImageData(0, 0, across, down);
      place(factor > 1 ? reduceBlocks(tile, factor) : tile, image, left / factor, top / factor);
    }
  }
  return image;
}

// Whether painted pixels can be read back: a browser that guards against fingerprinting returns noise.
function tellsTheTruth(context) {
  const colour = [64, 128, 192];
  context.fillStyle = `rgb(${colour})`;
  context.fillRect(0, 0, 1, 1);
  const seen = context.getImageData(0, 0, 1, 1).data;
  return colour.every((level, channel) => Math.abs(level - seen[channel]) <= 1);
}

function emptyImage(width, height) {
  return { data: new Uint8ClampedArray(4 * width * height), width, height };
}

function place(tile, image, left, top) {
  for (let y = 0; y < tile.height; y += 1) {
    const row = tile.data.subarray(4 * y * tile.width, 4 * (y + 1) * tile.width);
    image.data.set(row, 4 * ((top + y) * image.width + left));
  }
}

// A canvas of side × side pixels.
function canvasOf(pixels, side) {
  const image = new ImageData(side, side);
  for (let i = 0; i < side * side; i += 1) {
    image.data.set([...pixels.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  }
  return paint(side, side, (context) => context.putImageData(image, 0, 0));
}

function addressOf(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
