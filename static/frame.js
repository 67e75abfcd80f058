// The geometry of the frame that crops a picture, in pure functions. A frame is
// { left, top, right, bottom } in shares of the picture. At first it is the whole picture or the view
// within black borders. Once it is moved or resized, its shape is fixed.

export const WHOLE = { left: 0, top: 0, right: 1, bottom: 1 };
const LEAST = 0.2; // of the largest frame's width
const NEAR = 0.02; // share of a side: the tolerance for an unsteady hand
export const STEP = 0.02; // share by which a key moves or resizes a frame

// Whether a frame leaves out next to nothing.
export function isWhole({ left, top, right, bottom }) {
  return (right - left) * (bottom - top) >= 0.999;
}

// The largest frame of 4:3 in the middle of a picture, or of 3:4 if the picture is upright: the model
// also looks at it turned.
export function largest(width, height) {
  const shape = width >= height ? 4 / 3 : 3 / 4;
  const across = Math.min(1, (shape * height) / width);
  const down = Math.min(1, width / shape / height);
  return placed(across, down, 0.5, 0.5);
}

// The size of the whole picture: one step above the largest frame, unless that is the whole picture.
export function wholeSize(most) {
  return isWhole(most) ? 1 : 1 + STEP;
}

// Return a frame's size as a share of the largest one, LEAST to 1, or the size of the whole picture.
export function sizeOf(frame, most) {
  if (isWhole(frame)) return wholeSize(most);
  const { left, right } = shaped(frame, most);
  return (right - left) / (most.right - most.left);
}

// Resize a frame to a share of the largest one, keeping its middle.
export function resized(frame, most, size) {
  if (size > wholeSize(most) - STEP / 2) return WHOLE;
  const held = Math.min(1, Math.max(LEAST, size));
  const [x, y] = middle(frame);
  return placed(held * (most.right - most.left), held * (most.bottom - most.top), x, y);
}

// Move a frame by shares of the picture, but not beyond its edge.
export function moved(frame, most, across, down) {
  if (isWhole(frame) && Math.hypot(across, down) < NEAR) return frame; // a tap
  const [x, y] = middle(frame);
  return centred(frame, most, x + across, y + down);
}

// Centre a frame on a place, as far as the picture's edges allow.
export function centred(frame, most, x, y) {
  const { left, top, right, bottom } = shaped(frame, most);
  return placed(right - left, bottom - top, x, y);
}

// The largest frame of the fixed shape within any frame.
function shaped(frame, most) {
  const [acrossMost, downMost] = [most.right - most.left, most.bottom - most.top];
  const size = Math.min((frame.right - frame.left) / acrossMost, (frame.bottom - frame.top) / downMost);
  return placed(size * acrossMost, size * downMost, ...middle(frame));
}

// Drag one corner of a frame to a place; the opposite corner stays. Dragged across the whole picture,
// it becomes the whole picture. The corner is "left" or "right" with "top" or "bottom".
export function stretched(frame, most, [side, end], x, y) {
  const fixed = { left: "right", right: "left", top: "bottom", bottom: "top" };
  const [acrossMost, downMost] = [most.right - most.left, most.bottom - most.top];
  const [toSide, toEnd] = [side === "right" ? 1 : -1, end === "bottom" ? 1 : -1];
  const [fromX, fromY] = [frame[fixed[side]], frame[fixed[end]]];
  const [across, down] = [toSide * (x - fromX), toEnd * (y - fromY)];
  if (Math.min(across, down) > 1 - NEAR) return WHOLE;
  const room = Math.min(
    (toSide > 0 ? 1 - fromX : fromX) / acrossMost,
    (toEnd > 0 ? 1 - fromY : fromY) / downMost,
  );
  const asked = Math.max(across / acrossMost, down / downMost);
  const size = Math.min(room, 1, Math.max(LEAST, asked));
  const edges = { [fixed[side]]: fromX, [fixed[end]]: fromY };
  edges[side] = fromX + toSide * size * acrossMost;
  edges[end] = fromY + toEnd * size * downMost;
  return held(edges);
}

function middle({ left, top, right, bottom }) {
  return [(left + right) / 2, (top + bottom) / 2];
}

function placed(across, down, x, y) {
  const left = Math.min(1 - across, Math.max(0, x - across / 2));
  const top = Math.min(1 - down, Math.max(0, y - down / 2));
  return held({ left, top, right: left + across, bottom: top + down });
}

// Rounding may push an edge beyond the picture.
function held({ left, top, right, bottom }) {
  const within = (share) => Math.min(1, Math.max(0, share));
  return { left: within(left), top: within(top), right: within(right), bottom: within(bottom) };
}
