// Remembers what was cut away from each file, tells the server or the device, and keeps the original.
import * as shares from "./cut_shares.js";

export { keptOf, keptSides, removed } from "./cut_shares.js";

const { leastKept, leastView, rounding } = document.getElementById("crop").dataset;
const limits = { leastKept: Number(leastKept), leastView: Number(leastView), rounding: Number(rounding) };
const DECIMALS = 5; // of a share, as it is sent
const cuts = new WeakMap(); // from a cut file to { original, frame, view }

// Remember that a file shows a frame of the original. The frame and the view within black borders are
// { left, top, right, bottom } in shares of the original.
export function remember(file, cut) {
  cuts.set(file, cut);
}

export function cutOf(file) {
  return cuts.get(file);
}

// The form fields that tell the server, in the form that lesion_lens/web/uploads.py reads.
export function fieldsOf(file) {
  const cut = cuts.get(file);
  return cut ? [["crop", asText(cut.frame)], ["view", asText(cut.view)]] : [];
}

// The `Crop` that the server would make of these fields; null for a whole picture.
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

// A box, rounded to the decimals that are sent.
function asSent({ left, top, right, bottom }) {
  const rounded = (share) => Number(share.toFixed(DECIMALS));
  return { left: rounded(left), top: rounded(top), right: rounded(right), bottom: rounded(bottom) };
}

// Whether the result can still be low risk after this cut. The server tolerates some rounding and this
// does not, so the page does not promise too much.
export function isHarmless(frame, view) {
  return shares.isHarmless(frame, view, { ...limits, rounding: 0 });
}
