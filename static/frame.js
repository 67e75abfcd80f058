// The geometry of the frame that a picture is cut by: pure functions. A frame is
// { left, top, right, bottom } in shares of the picture, and keeps one shape.

export const WHOLE = { left: 0, top: 0, right: 1, bottom: 1 };
const LEAST = 0.2; // of the largest frame's width

// The largest frame of 4:3 in the middle of a picture; 3:4 where the picture stands upright, as the
// model looks at it turned as well.
export function largest(width, height) {
  const shape = width >= height ? 4 / 3 : 3 / 4;
  const across = Math.min(1, (shape * height) / width);
  const down = Math.min(1, width / shape / height);
  return placed(across, down, 0.5, 0.5);
}

// Give a frame's size as a share of the largest one, 0 to 1.
export function sizeOf(frame, most) {
  return (frame.right - frame.left) / (most.right - most.left);
}

// Make a frame as large as a share of the largest one, with its middle where it was.
export function resized(frame, most, size) {
  const held = Math.min(1, Math.max(LEAST, size));
  const [x, y] = middle(frame);
  return placed(held * (most.right - most.left), held * (most.bottom - most.top), x, y);
}

// Move a frame by shares of the picture, and no farther than to its edge.
export function moved(frame, across, down) {
  const [x, y] = middle(frame);
  return centred(frame, x + across, y + down);
}

// Put a frame's middle to a place, and no farther than the picture's edge allows.
export function centred(frame, x, y) {
  return placed(frame.right - frame.left, frame.bottom - frame.top, x, y);
}

// Draw one corner of a frame to a place; the opposite corner and the shape stay. `corner` is two of
// "left", "right" and "top", "bottom".
export function stretched(frame, most, [side, end], x, y) {
  const fixed = { left: "right", right: "left", top: "bottom", bottom: "top" };
  const [acrossMost, downMost] = [most.right - most.left, most.bottom - most.top];
  const [toSide, toEnd] = [side === "right" ? 1 : -1, end === "bottom" ? 1 : -1];
  const [fromX, fromY] = [frame[fixed[side]], frame[fixed[end]]];
  const room = Math.min(
    (toSide > 0 ? 1 - fromX : fromX) / acrossMost,
    (toEnd > 0 ? 1 - fromY : fromY) / downMost,
  );
  const asked = Math.max((toSide * (x - fromX)) / acrossMost, (toEnd * (y - fromY)) / downMost);
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
