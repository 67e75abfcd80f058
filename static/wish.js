// The person's wish that no image leaves the device, and the switch that says so. It is remembered in
// Cache Storage, as a cache of its name without content, because the service worker reads it, too.
import { fail, form } from "./form.js";
import { text } from "./texts.js";

const { device, integrity, wish } = form.dataset;
const box = document.getElementById("here");
const state = document.getElementById("here-state");
const { caches } = globalThis; // none where the page did not come by https
// Whether this browser, with the model of this page, can classify by itself.
export const canClassifyHere = Boolean(device && caches && globalThis.Worker && globalThis.OffscreenCanvas);
let remembered = Promise.resolve(); // what is still being remembered
let isHeld = false; // a wish that could not be remembered, which counts on this page all the same
let presses = 0; // of the switch; what was read before the last one does not count
const whenWished = new Set(); // what is called once the switch is turned on

// Whether images stay here. It is asked anew for each image, as another tab may have turned the switch
// on. It is never turned off unseen, as the browser may have lost what it remembered.
export async function isWished() {
  const before = presses;
  const isOn = await isRemembered();
  if (presses === before) box.checked ||= isOn;
  return box.checked;
}

// Where this cannot be asked, nothing could be remembered either.
async function isRemembered() {
  await remembered;
  return Boolean(caches) && await caches.has(wish).catch(() => false);
}

// Read the switch anew, as the page is shown.
async function readWish() {
  const before = presses;
  const isOn = await isRemembered();
  if (presses === before) box.checked = isHeld || isOn;
  // A wish counts even where it can no longer be met: then the image is not sent.
  for (const part of document.querySelectorAll(".here")) part.hidden = !canClassifyHere && !box.checked;
  prepare();
}

// Have the model at hand as soon as it is needed, and say whether it is.
async function prepare() {
  const { checked } = box;
  const isPrepared = checked && !state.hidden && state.textContent === text("here-ready");
  state.hidden = !checked;
  if (!checked || isPrepared) return;
  state.textContent = text("here-loading");
  const isThere = await fetch(device, { integrity }).then((answer) => answer.ok, () => false);
  state.textContent = text(isThere ? "here-ready" : "here-missing");
}

// Call `stop` if the switch is turned on while something runs; gives what forgets it.
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
  isHeld = checked; // at once, whatever becomes of remembering it
  if (checked) for (const stop of whenWished) stop();
  prepare();
  remembered = remembered.then(() => (checked ? caches.open(wish) : caches.delete(wish))).then(
    () => { if (press === presses) isHeld = false; },
    () => fail(text("not-remembered")),
  );
});

document.addEventListener("visibilitychange", readWish);
const read = readWish();

// What the switch says, once it was read.
export async function saysHere() {
  await read;
  return box.checked;
}
