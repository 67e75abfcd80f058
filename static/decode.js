// From a chosen file to its pixels and back to a file, on the device: upright, and never uploaded.

// No device draws more: the largest canvas of iOS.
const MOST_PIXELS = 4096 * 4096;

// Decode a file to a canvas whose longer side has at most `side` pixels; rejects what this browser
// cannot decode. On the page, this holds it up for some tenths of a second; a worker can do it, too.
export async function reducedCopy(file, side) {
  const bitmap = await createImageBitmap(file);
  const canvas = reduced(bitmap, side);
  bitmap.close();
  return canvas;
}

// The same of a decoded picture.
export function reduced(bitmap, side) {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const [across, down] = [bitmap.width, bitmap.height].map((length) => Math.max(1, Math.round(scale * length)));
  return paint(across, down, (context) => {
    context.imageSmoothingQuality = "medium";
    context.drawImage(bitmap, 0, 0, across, down);
  });
}

// The pixels of a reduced copy, an ImageData.
export async function pixelsOf(file, side) {
  const canvas = await reducedCopy(file, side);
  return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
}

// Make a file of what a frame shows of a picture, in the picture's own resolution where that has no
// more than MOST_PIXELS. The frame is { left, top, right, bottom } in shares of the picture.
export async function cutOut(file, frame) {
  const bitmap = await createImageBitmap(file);
  const [left, top] = [Math.floor(frame.left * bitmap.width), Math.floor(frame.top * bitmap.height)];
  const width = Math.max(1, Math.round((frame.right - frame.left) * bitmap.width));
  const height = Math.max(1, Math.round((frame.bottom - frame.top) * bitmap.height));
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
  const [across, down] = [width, height].map((length) => Math.max(1, Math.floor(scale * length)));
  const canvas = paint(across, down, (context) => {
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, left, top, width, height, 0, 0, across, down);
  });
  bitmap.close();
  const type = file.type === "image/png" ? "image/png" : "image/jpeg";
  const blob = await encoded(canvas, type, 0.95);
  return new File([blob], file.name, { type, lastModified: file.lastModified });
}

// What a canvas shows, as a file without any metadata; quality (0–1) is a JPEG's.
export async function encoded(canvas, type, quality) {
  const blob = canvas.convertToBlob
    ? await canvas.convertToBlob({ type, quality })
    : await new Promise((resolve) => { canvas.toBlob(resolve, type, quality); });
  if (!blob) throw new Error("the canvas is too large");
  return blob;
}

// A new canvas, painted over white, as the server lays transparent pictures over white.
export function paint(width, height, draw) {
  const canvas = globalThis.document?.createElement("canvas") ?? new OffscreenCanvas(width, height);
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  draw(context);
  return canvas;
}
