// From a chosen file to its upright pixels and back to a file, on the device and without an upload.

// The largest canvas that iOS draws.
const MOST_PIXELS = 4096 * 4096;

// Decode a file to a canvas whose longer side has at most `side` pixels; rejects if this browser cannot
// decode it. On the page this blocks for a moment; a worker can do it too.
export async function reducedCopy(file, side) {
  const bitmap = await createImageBitmap(file);
  const canvas = reduced(bitmap, side);
  bitmap.close();
  return canvas;
}

// The same for a decoded picture.
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

// Make a file of the part of a picture that a frame shows, in full resolution up to MOST_PIXELS. The
// frame is { left, top, right, bottom } in shares of the picture.
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

// A canvas as a file without metadata; `quality` (0–1) is for JPEG.
export async function encoded(canvas, type, quality) {
  const blob = canvas.convertToBlob
    ? await canvas.convertToBlob({ type, quality })
    : await new Promise((resolve) => { canvas.toBlob(resolve, type, quality); });
  if (!blob) throw new Error("the canvas is too large");
  return blob;
}

// A new canvas, painted on white, because the server also puts transparent pictures on white.
export function paint(width, height, draw) {
  const canvas = globalThis.document?.createElement("canvas") ?? new OffscreenCanvas(width, height);
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  draw(context);
  return canvas;
}
