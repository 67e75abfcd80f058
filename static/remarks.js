// Remarks on a picture before it is sent, based on its pixels. They advise and do not forbid anything.
// `python -m scripts.measure_remarks` measures how often each remark is made about dermatoscopic images
// as they are, and about degraded ones. docs/uploads.md has the figures.
import { pixelsOf } from "./decode.js";

// Pixels of the longer side of the copy that is inspected. Sharpness depends on it.
const SIDE = 256;

// At most 5 of 124 originals of HAM10000 get the remark of any one limit: docs/uploads.md.
const LIMITS = {
  border: 0.02, // share of a side that is black from end to end
  corners: 0.02, // share of the picture that is black and connected to its edge
  dark: 95, // grey level (0–255) that half of the picture is below
  bright: 215, // grey level that half of the picture is above
  glare: 0.01, // share of the picture that is white
  blurred: 2.5, // root mean square of the Laplacian, in grey levels
  small: 0.03, // share of the picture that the spot fills
  cutOff: 0.35, // share of one side that the spot touches
};

const BLACK = 40; // all channels are below it, as in lesion_lens/model/pictures.py
const WHITE = 245; // all channels reach it
const BLACK_LINE = 0.98; // share of a row or column that is black if it belongs to a border
const LEAST_LEFT = 0.12; // share of the picture; if less is left, it is dark and has no frame
const CELL = 4; // pixels a side of the cells whose means are searched for the spot
const LEAST_CONTRAST = 15; // grey levels between spot and skin; below, there is no remark on a spot

// Inspect a file. Returns its remarks and, as `view`, the part within black borders: { left, top,
// right, bottom } in shares of the picture. Rejects if this browser cannot decode the file.
export async function inspect(file) {
  const image = await pixelsOf(file, SIDE);
  const { left, top, right, bottom } = viewOf(image);
  const { width, height } = image;
  const view = { left: left / width, top: top / height, right: right / width, bottom: bottom / height };
  return { view, remarks: remarksOn(image) };
}

// The remarks on a picture, an ImageData of SIDE pixels: keys of templates/checks.html, the most
// important first.
function remarksOn(image) {
  const found = describe(image);
  const remarks = [];
  if (found.border > LIMITS.border) remarks.push("border");
  else if (found.corners > LIMITS.corners) remarks.push("corners");
  const isDark = found.median < LIMITS.dark;
  if (isDark) remarks.push("dark");
  else if (found.median > LIMITS.bright) remarks.push("bright");
  else if (found.white > LIMITS.glare) remarks.push("glare");
  if (found.sharpness < LIMITS.blurred && !isDark) remarks.push("blurred"); // dark pictures hide edges
  if (found.spot !== null && found.spot < LIMITS.small) remarks.push("small");
  else if (found.spotOnEdge > LIMITS.cutOff) remarks.push("cut-off");
  return remarks;
}

// The numbers on which the remarks are based. `spot` is null if no spot stands out.
function describe(image) {
  const view = viewOf(image);
  const grey = brightness(image);
  const frame = blackFrame(image, view);
  let inside = 0;
  let white = 0;
  const levels = new Uint32Array(256);
  each(view, image.width, (i) => {
    if (frame[i]) return;
    inside += 1;
    levels[Math.round(grey[i])] += 1;
    if (Math.min(image.data[4 * i], image.data[4 * i + 1], image.data[4 * i + 2]) >= WHITE) white += 1;
  });
  const area = (view.right - view.left) * (view.bottom - view.top);
  return {
    border: 1 - Math.min((view.right - view.left) / image.width, (view.bottom - view.top) / image.height),
    corners: 1 - inside / area,
    median: quantile(levels, inside / 2),
    white: white / Math.max(inside, 1),
    sharpness: sharpness(grey, image.width, view, frame),
    ...spotIn(grey, image.width, view, frame),
  };
}

// The part of a picture within black borders: left, top, right and bottom in pixels.
function viewOf({ data, width, height }) {
  const isBlack = (x, y) => {
    const i = 4 * (y * width + x);
    return Math.max(data[i], data[i + 1], data[i + 2]) < BLACK;
  };
  const view = { left: 0, top: 0, right: width, bottom: height };
  const row = (y) => share(view.left, view.right, (x) => isBlack(x, y)) >= BLACK_LINE;
  const column = (x) => share(view.top, view.bottom, (y) => isBlack(x, y)) >= BLACK_LINE;
  while (view.top < view.bottom && row(view.top)) view.top += 1;
  while (view.bottom > view.top && row(view.bottom - 1)) view.bottom -= 1;
  while (view.left < view.right && column(view.left)) view.left += 1;
  while (view.right > view.left && column(view.right - 1)) view.right -= 1;
  // The line beside a border is partly black.
  if (view.top > 0) view.top += 1;
  if (view.left > 0) view.left += 1;
  if (view.bottom < height) view.bottom -= 1;
  if (view.right < width) view.right -= 1;
  const left = (view.right - view.left) * (view.bottom - view.top);
  const isFrame = view.right > view.left && left >= LEAST_LEFT * width * height;
  return isFrame ? view : { left: 0, top: 0, right: width, bottom: height };
}

function share(from, to, holds) {
  let count = 0;
  for (let i = from; i < to; i += 1) count += holds(i);
  return count / (to - from);
}

function each(view, width, use) {
  for (let y = view.top; y < view.bottom; y += 1) {
    for (let x = view.left; x < view.right; x += 1) use(y * width + x, x, y);
  }
}

function quantile(levels, count) {
  let level = 0;
  for (let seen = levels[0]; seen < count && level < 255; seen += levels[level]) level += 1;
  return level;
}

// Luma of ITU-R BT.601, 0–255.
function brightness({ data, width, height }) {
  const grey = new Float32Array(width * height);
  for (let i = 0; i < grey.length; i += 1) {
    grey[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
  }
  return grey;
}

// A mask with 1 for the black pixels of the view that are connected to its edge; all 0 if too little
// would be left, as in a dark picture.
function blackFrame({ data, width, height }, view) {
  const frame = new Uint8Array(width * height);
  const waiting = [];
  const visit = (x, y) => {
    const i = y * width + x;
    if (x < view.left || x >= view.right || y < view.top || y >= view.bottom || frame[i]) return;
    if (Math.max(data[4 * i], data[4 * i + 1], data[4 * i + 2]) >= BLACK) return;
    frame[i] = 1;
    waiting.push(i);
  };
  for (let x = view.left; x < view.right; x += 1) [view.top, view.bottom - 1].forEach((y) => visit(x, y));
  for (let y = view.top; y < view.bottom; y += 1) [view.left, view.right - 1].forEach((x) => visit(x, y));
  while (waiting.length) {
    const i = waiting.pop();
    const [x, y] = [i % width, Math.floor(i / width)];
    visit(x - 1, y);
    visit(x + 1, y);
    visit(x, y - 1);
    visit(x, y + 1);
  }
  let left = (view.right - view.left) * (view.bottom - view.top);
  for (const isBlack of frame) left -= isBlack;
  return left < LEAST_LEFT * width * height ? frame.fill(0) : frame;
}

// The root mean square of the Laplacian, a measure of focus (Pech-Pacheco et al., ICPR 2000). The frame
// and its neighbours do not count, because their edge is always sharp.
function sharpness(grey, width, view, frame) {
  const inner = { left: view.left + 3, top: view.top + 3, right: view.right - 3, bottom: view.bottom - 3 };
  let squares = 0;
  let count = 0;
  each(inner, width, (i) => {
    for (const step of [0, -3, 3, -3 * width, 3 * width]) if (frame[i + step]) return;
    const laplacian = grey[i - 1] + grey[i + 1] + grey[i - width] + grey[i + width] - 4 * grey[i];
    squares += laplacian * laplacian;
    count += 1;
  });
  return count ? Math.sqrt(squares / count) : 0;
}

// The dark spot: the share of the view that it fills, and the share of one side that it touches.
function spotIn(grey, width, view, frame) {
  const columns = Math.floor((view.right - view.left) / CELL);
  const rows = Math.floor((view.bottom - view.top) / CELL);
  const cells = new Float32Array(columns * rows); // mean brightness; NaN where a part is frame
  for (let cell = 0; cell < cells.length; cell += 1) {
    const left = view.left + CELL * (cell % columns);
    const top = view.top + CELL * Math.floor(cell / columns);
    each({ left, top, right: left + CELL, bottom: top + CELL }, width, (i) => {
      cells[cell] += frame[i] ? NaN : grey[i] / CELL ** 2;
    });
  }
  const { threshold, contrast } = divide(cells);
  if (!(contrast >= LEAST_CONTRAST)) return { spot: null, spotOnEdge: 0 };
  // Of several spots, choose the one with the most weight. Cells nearer to the middle weigh more.
  const weight = (cell) => {
    const x = (2 * (cell % columns) + 1) / columns - 1;
    const y = (2 * Math.floor(cell / columns) + 1) / rows - 1;
    return Math.exp(-2 * (x * x + y * y));
  };
  let best = { cells: [], weight: 0 };
  const seen = new Uint8Array(cells.length);
  for (let start = 0; start < cells.length; start += 1) {
    const spot = { cells: [], weight: 0 };
    const visit = (cell) => {
      if (seen[cell] || !(cells[cell] <= threshold)) return;
      seen[cell] = 1;
      spot.cells.push(cell);
      spot.weight += weight(cell);
    };
    visit(start);
    for (let k = 0; k < spot.cells.length; k += 1) { // the list grows meanwhile
      const cell = spot.cells[k];
      if (cell % columns) visit(cell - 1);
      if ((cell + 1) % columns) visit(cell + 1);
      if (cell >= columns) visit(cell - columns);
      if (cell + columns < cells.length) visit(cell + columns);
    }
    if (spot.weight > best.weight) best = spot;
  }
  return { spot: best.cells.length / cells.length, spotOnEdge: touch(best.cells, columns, rows) };
}

// The largest share of a side that a spot touches; 0 for a spot in a corner, which may be shade.
function touch(spot, columns, rows) {
  const last = columns * (rows - 1);
  const corners = [0, columns - 1, last, last + columns - 1];
  if (corners.some((corner) => spot.includes(corner))) return 0;
  const sides = [
    [(cell) => cell < columns, columns],
    [(cell) => cell >= last, columns],
    [(cell) => cell % columns === 0, rows],
    [(cell) => (cell + 1) % columns === 0, rows],
  ];
  return Math.max(...sides.map(([isOn, length]) => spot.filter(isOn).length / length));
}

// Otsu's threshold between dark and light (IEEE Trans Syst Man Cybern 9:62, 1979), and the difference of
// their means as the contrast; it is NaN if all cells are alike.
function divide(cells) {
  const levels = new Float64Array(256);
  let count = 0;
  let total = 0;
  for (const value of cells) {
    if (Number.isNaN(value)) continue;
    levels[Math.round(value)] += 1;
    count += 1;
    total += Math.round(value);
  }
  let best = { threshold: 0, contrast: NaN, between: 0 };
  let below = 0;
  let sum = 0;
  for (let level = 0; level < 255; level += 1) {
    below += levels[level];
    sum += level * levels[level];
    if (!below || below === count) continue;
    const contrast = (total - sum) / (count - below) - sum / below;
    const between = below * (count - below) * contrast ** 2;
    if (between > best.between) best = { threshold: level + 0.5, contrast, between };
  }
  return best;
}
