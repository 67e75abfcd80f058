// What was cut away from which file, what the server or the device is told of it, and how to go back.
import * as shares from "./cut_shares.js";

export { keptOf, keptSides, removed } from "./cut_shares.js";

const { leastKept, leastView, rounding } = document.getElementById("crop").dataset;
const limits = { leastKept: Number(leastKept), leastView: Number(leastView), rounding: Number(rounding) };
const DECIMALS = 5; // of a share, as it is sent
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

// What the server would make of these fields, its `Crop`; null of a whole picture.
export function cropOf(file) {
  const cut = cuts.get(file);
  if (!cut) return null;
  const [frame, view] = [asSent(cut.frame), asSent(cut.view)];
  return {
    is_harmless: shares.isHarmless(frame, view, limits),
    removed: shares.removed(frame, view),
    cut_black: shares.cutBlack(frame, view),
  };
}

function asText(box) {
  const { left, top, right, bottom } = asSent(box);
  return [left, top, right, bottom].map((share) => share.toFixed(DECIMALS)).join();
}

// A box with the decimals that are sent.
function asSent({ left, top, right, bottom }) {
  const rounded = (share) => Number(share.toFixed(DECIMALS));
  return { left: rounded(left), top: rounded(top), right: rounded(right), bottom: rounded(bottom) };
}

// Whether a result can still be low risk, once the server knows what was cut away. The rounding that
// is forgiven there is not here, so that the page never promises too much.
export function isHarmless(frame, view) {
  return shares.isHarmless(frame, view, { ...limits, rounding: 0 });
}
