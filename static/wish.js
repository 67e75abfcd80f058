// The person's wish that no image leaves the device, and the switch that says so. It is remembered in
// Cache Storage, as a cache of its name without content, because the service worker reads it, too.
import { fail, form } from "./form.js";
import { text } from "./texts.js";

const { device, wish } = form.dataset;
const box = document.getElementById("here");
const { caches } = globalThis; // none where the page did not come by https
// Whether this browser, with the model of this page, can classify by itself.
export const canClassifyHere = Boolean(device && caches && globalThis.Worker && globalThis.OffscreenCanvas);
let remembered = Promise.resolve(); // what is still being remembered
let isHeld = false; // a wish that could not be remembered, which counts on this page all the same

// Whether images stay here. It is asked anew for each image, as another tab may have changed it.
export async function isWished() {
  await remembered;
  if (caches) box.checked = isHeld || await caches.has(wish).catch(() => false);
  // A wish counts even where it can no longer be met: then the image is not sent.
  box.closest("div").hidden = !canClassifyHere && !box.checked;
  return box.checked;
}

// Whether the browser keeps the model, so that it needs no connection.
export async function isModelKept() {
  return canClassifyHere && Boolean(await caches.match(device).catch(() => null));
}

box.addEventListener("change", () => {
  const { checked } = box;
  isHeld = checked; // at once, whatever becomes of remembering it
  remembered = remembered.then(() => (checked ? caches.open(wish) : caches.delete(wish))).then(
    () => { isHeld = false; },
    () => fail(text("not-remembered")),
  );
});
document.addEventListener("visibilitychange", isWished);
const read = isWished();

// What the switch says, once it was read.
export async function saysHere() {
  await read;
  return box.checked;
}
