// The switch ‘Keep my images on this device’, and the wish that it stands for. The wish is remembered in
// Cache Storage, as an empty cache with the name `wish`, because the service worker reads it too.
import { fail, form } from "./form.js";
import { text } from "./texts.js";

const { device, integrity, wish } = form.dataset;
const box = document.getElementById("here");
const state = document.getElementById("here-state");
const { caches } = globalThis; // undefined if the page did not come by https
// Whether this browser, with the model of this page, can classify by itself.
export const canClassifyHere = Boolean(device && caches && globalThis.Worker && globalThis.OffscreenCanvas);
let remembered = Promise.resolve(); // settles once the last press is remembered
let isHeld = false; // the wish is on but not remembered (yet); it counts on this page all the same
let presses = 0; // of the switch; a reading from before the last press does not count
const whenWished = new Set(); // functions to call when the switch is turned on

// Whether images stay here. Ask again for each image, because another tab may have turned the switch on.
// This does not turn the switch off, because the browser may have lost what it remembered.
export async function isWished() {
  const before = presses;
  const isOn = await isRemembered();
  if (presses === before) box.checked ||= isOn;
  return box.checked;
}

// If the browser cannot say, it could not remember anything either.
async function isRemembered() {
  await remembered;
  return Boolean(caches) && await caches.has(wish).catch(() => false);
}

// Set the switch again whenever the page is shown.
async function readWish() {
  const before = presses;
  const isOn = await isRemembered();
  if (presses === before) box.checked = isHeld || isOn;
  // The wish counts even if it can no longer be met: the image is then not sent.
  for (const part of document.querySelectorAll(".here")) part.hidden = !canClassifyHere && !box.checked;
  prepare();
}

// Load the model before it is needed, and say whether it is there.
async function prepare() {
  const { checked } = box;
  const isPrepared = checked && !state.hidden && state.textContent === text("here-ready");
  state.hidden = !checked;
  if (!checked || isPrepared) return;
  state.textContent = text("here-loading");
  const isThere = await fetch(device, { integrity }).then((answer) => answer.ok, () => false);
  state.textContent = text(isThere ? "here-ready" : "here-missing");
}

// Call `stop` if the switch is turned on while something runs. Returns a function that cancels this.
export function onceWished(stop) {
  whenWished.add(stop);
  return () => whenWished.delete(stop);
}

// Whether the browser keeps the model, so that it needs no connection.
export async function isModelKept() {
  return canClassifyHere && Boolean(await caches.match(device).catch(() => null));
}

box.addEventListener("change", () => {
  const { checked } = box;
  presses += 1;
  const press = presses;
  isHeld = checked; // at once, even if it cannot be remembered
  if (checked) for (const stop of whenWished) stop();
  prepare();
  remembered = remembered.then(() => (checked ? caches.open(wish) : caches.delete(wish))).then(
    () => { if (press === presses) isHeld = false; },
    () => fail(text("not-remembered")),
  );
});

document.addEventListener("visibilitychange", readWish);
const read = readWish();

// The position of the switch, once it has been read.
export async function saysHere() {
  await read;
  return box.checked;
}
