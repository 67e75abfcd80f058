// What was cut away from which file, what the server is told of it, and how to go back.

const { leastKept, leastView } = document.getElementById("crop").dataset;
const cuts = new WeakMap(); // of a cut file: { original, frame, view }

// Remember that a file shows a frame of the original. Frame and view, which is what black borders
// leave, are { left, top, right, bottom } in shares of the original.
export function remember(file, cut) {
  cuts.set(file, cut);
}

export function cutOf(file) {
  return cuts.get(file);
}

// The fields of the form that tell the server, as lesion_lens/web/uploads.py reads them.
export function fieldsOf(file) {
  const cut = cuts.get(file);
  return cut ? [["crop", asText(cut.frame)], ["view", asText(cut.view)]] : [];
}

function asText({ left, top, right, bottom }) {
  return [left, top, right, bottom].map((share) => share.toFixed(5)).join();
}

// The shares of the view's width and height that a frame keeps; the server judges by the same.
export function keptSides(frame, view) {
  return [["left", "right"], ["top", "bottom"]].map(([low, high]) => {
    const kept = Math.min(frame[high], view[high]) - Math.max(frame[low], view[low]);
    return Math.max(0, kept) / (view[high] - view[low]);
  });
}

// Whether a result can still be low risk, once the server knows what was cut away.
export function isHarmless(frame, view) {
  const sides = [view.right - view.left, view.bottom - view.top];
  return Math.min(...keptSides(frame, view)) >= Number(leastKept) && Math.min(...sides) >= Number(leastView);
}

// The share of the picture's area that a frame shows.
export function keptOf({ left, top, right, bottom }) {
  return (right - left) * (bottom - top);
}

// The share of the view's area that a frame cuts away: black is not counted.
export function removed(frame, view) {
  const [across, down] = keptSides(frame, view);
  return 1 - across * down;
}
