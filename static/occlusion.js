// Runs the network on one image, like lesion_lens/model/views.py: its eight views and its occlusion map.
import { run, SIDE } from "./network.js";

const PATCHES = 7; // a side of the map
const CHANNELS = 3;

// Classify an image of SIDE × SIDE pixels, RGB, in a Uint8Array. `views` are the probabilities of each
// of its eight views. `occlusion` is, row by row, how much the probability of the most likely class
// falls when a patch of the upright image is covered; null without a map.
export function predict(layers, pixels, withMap = true) {
  const views = eightViews(pixels).map((view) => run(layers, view));
  // The page must not get NaN: comparisons with it are false without an error.
  if (!views.every((view) => view.every(Number.isFinite))) {
    throw new RangeError("probabilities");
  }
  return { views, occlusion: withMap ? occlusionMap(layers, pixels, views) : null };
}

function occlusionMap(layers, pixels, views) {
  const sums = Array.from(views[0], (_, label) => views.reduce((sum, view) => sum + view[label], 0));
  const likely = sums.indexOf(Math.max(...sums)); // no temperature changes the order
  const falls = occluded(pixels).map((copy) => views[0][likely] - run(layers, copy)[likely]);
  return Array.from({ length: PATCHES }, (_, row) => falls.slice(row * PATCHES, (row + 1) * PATCHES));
}

// The eight views of a square: its quarter turns, counterclockwise, then those of its mirror image. The
// first view is the image itself.
export function eightViews(pixels) {
  const views = [pixels];
  for (let turn = 1; turn < 4; turn += 1) views.push(turned(views.at(-1)));
  views.push(mirrored(pixels));
  for (let turn = 1; turn < 4; turn += 1) views.push(turned(views.at(-1)));
  return views;
}

const turned = (pixels) => gathered(pixels, (x, y) => [SIDE - 1 - y, x]);
const mirrored = (pixels) => gathered(pixels, (x, y) => [SIDE - 1 - x, y]);

// An image whose pixel at (x, y) is the pixel of another image at `from(x, y)`.
function gathered(pixels, from) {
  const view = new Uint8Array(pixels.length);
  for (let y = 0; y < SIDE; y += 1) {
    for (let x = 0; x < SIDE; x += 1) {
      const [left, top] = from(x, y);
      const begin = placeOf(left, top);
      view.set(pixels.subarray(begin, begin + CHANNELS), placeOf(x, y));
    }
  }
  return view;
}

const placeOf = (x, y) => CHANNELS * (y * SIDE + x);

// Copies of an image, each with one patch in the colour of the skin; patches row by row.
export function occluded(pixels) {
  const skin = rimColour(pixels);
  const side = SIDE / PATCHES;
  return Array.from({ length: PATCHES * PATCHES }, (_, patch) => {
    const copy = pixels.slice();
    const left = side * (patch % PATCHES);
    const top = side * Math.floor(patch / PATCHES);
    for (let y = top; y < top + side; y += 1) {
      for (let x = left; x < left + side; x += 1) copy.set(skin, placeOf(x, y));
    }
    return copy;
  });
}

// The median colour of the rim, which is skin in most images. The median of an even number of values is
// the mean of the two in the middle; NumPy drops its fraction when it writes it into bytes.
function rimColour(pixels) {
  const isRim = (x, y) => x === 0 || y === 0 || x === SIDE - 1 || y === SIDE - 1;
  const channels = Array.from({ length: CHANNELS }, () => []);
  for (let y = 0; y < SIDE; y += 1) {
    for (let x = 0; x < SIDE; x += 1) {
      if (isRim(x, y)) channels.forEach((values, i) => values.push(pixels[placeOf(x, y) + i]));
    }
  }
  return channels.map((values) => {
    values.sort((one, other) => one - other);
    const middle = values.length / 2;
    return Math.floor((values[middle - 1] + values[middle]) / 2);
  });
}
