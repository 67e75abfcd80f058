// What a cut leaves of a picture, as shares of its sides, like lesion_lens/model/crops.py. A frame, and
// the view within black borders, are { left, top, right, bottom } in shares of the whole picture.

// The shares of the view's width and height that a frame keeps.
export function keptSides(frame, view) {
  return [["left", "right"], ["top", "bottom"]].map(([low, high]) => {
    const kept = Math.min(frame[high], view[high]) - Math.max(frame[low], view[low]);
    return Math.max(0, kept) / (view[high] - view[low]);
  });
}

// The share of the picture's area that a frame shows.
export function keptOf({ left, top, right, bottom }) {
  return (right - left) * (bottom - top);
}

// The share of the view's area that a frame cuts away. Black borders do not count.
export function removed(frame, view) {
  const [across, down] = keptSides(frame, view);
  return Math.max(0, 1 - across * down);
}

// The share of the whole picture that is black border and was cut away.
export function cutBlack(frame, view) {
  const width = view.right - view.left;
  const height = view.bottom - view.top;
  return Math.max(0, 1 - keptOf(frame) - removed(frame, view) * width * height);
}

// Whether no more was cut away than is harmless. Shares may be off by `rounding`.
export function isHarmless(frame, view, { leastKept, leastView, rounding }) {
  const sides = [view.right - view.left, view.bottom - view.top];
  return Math.min(...keptSides(frame, view)) >= leastKept - rounding && Math.min(...sides) >= leastView - rounding;
}
