// The geometry of the frame that a picture is cut by: pure functions. A frame is
// { left, top, right, bottom } in shares of the picture. It may be the whole picture, or what black
// borders leave; once it is moved or resized, it has one shape.

export const WHOLE = { left: 0, top: 0, right: 1, bottom: 1 };
const LEAST = 0.2; // of the largest frame's width
const NEAR = 0.02; // share of a side by which a hand may miss, or tremble
export const STEP = 0.02; // share of the picture that a key moves a frame by, or of its size

// Whether a frame leaves nothing worth the name out.
export function isWhole({ left, top, right, bottom }) {
  return (right - left) * (bottom - top) >= 0.999;
}

// The largest frame of 4:3 in the middle of a picture; 3:4 where the picture stands upright, as the
// model looks at it turned as well.
export function largest(width, height) {
  const shape = width >= height ? 4 / 3 : 3 / 4;
  const across = Math.min(1, (shape * height) / width);
  const down = Math.min(1, width / shape / height);
  return placed(across, down, 0.5, 0.5);
}

// The size of the whole picture: one step above that of the largest frame, if that leaves some out.
export function wholeSize(most) {
  return isWhole(most) ? 1 : 1 + STEP;
}

// Give a frame's size as a share of the largest one, LEAST to 1, or that of the whole picture.
export function sizeOf(frame, most) {
  if (isWhole(frame)) return wholeSize(most);
  const { left, right } = shaped(frame, most);
  return (right - left) / (most.right - most.left);
}

// Make a frame as large as a share of the largest one, with its middle where it was.
export function resized(frame, most, size) {
  if (size > wholeSize(most) - STEP / 2) return WHOLE;
  const held = Math.min(1, Math.max(LEAST, size));
  const [x, y] = middle(frame);
  return placed(held * (most.right - most.left), held * (most.bottom - most.top), x, y);
}

// Move a frame by shares of the picture, and no farther than to its edge.
export function moved(frame, most, across, down) {
  if (isWhole(frame) && Math.hypot(across, down) < NEAR) return frame; // a tap
  const [x, y] = middle(frame);
  return centred(frame, most, x + across, y + down);
}

// Put a frame's middle to a place, and no farther than the picture's edge allows.
export function centred(frame, most, x, y) {
  const { left, top, right, bottom } = shaped(frame, most);
  return placed(right - left, bottom - top, x, y);
}

// The largest frame of the one shape within a frame of any.
function shaped(frame, most) {
  const [acrossMost, downMost] = [most.right - most.left, most.bottom - most.top];
  const size = Math.min((frame.right - frame.left) / acrossMost, (frame.bottom - frame.top) / downMost);
  return placed(size * acrossMost, size * downMost, ...middle(frame));
}

// Draw one corner of a frame to a place; the opposite corner stays. From corner to corner it is the
// whole picture. `corner` is two of "left", "right" and "top", "bottom".
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

// Rounding may carry an edge beyond the picture.
function held({ left, top, right, bottom }) {
  const within = (share) => Math.min(1, Math.max(0, share));
  return { left: within(left), top: within(top), right: within(right), bottom: within(bottom) };
}
