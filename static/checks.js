// Remarks on each chosen image, and the buttons that crop it.
import { cutOf, isHarmless, keptOf, remember, removed } from "./cuts.js";
import { cutOut } from "./decode.js";
import { fail, isTooLarge } from "./form.js";
import { isWhole, WHOLE } from "./frame.js";
import { isRunning } from "./sending.js";
import { text } from "./texts.js";

const template = document.getElementById("checks-template").content.firstElementChild;
const inspected = new WeakMap(); // from a file to a promise of what `inspect` returns, or of null
let focused = null; // the file whose button gets the focus once it exists
let inspector; // a worker, started for the first image and not with the page; null if it cannot run
const waiting = new Map(); // from a message's number to the function that takes the answer
const UNKNOWN = { view: WHOLE, remarks: [] }; // the result for every file if no worker runs
let asked = 0;

function startInspector() {
  inspector = new Worker(new URL("inspector.js", import.meta.url), { type: "module" });
  inspector.onmessage = ({ data }) => {
    waiting.get(data.id)(data.found);
    waiting.delete(data.id);
  };
  inspector.onerror = () => {
    inspector = null;
    for (const resolve of waiting.values()) resolve(UNKNOWN);
    waiting.clear();
  };
}

function inspection(file) {
  if (inspector === undefined) startInspector();
  if (!inspector) return UNKNOWN;
  if (!inspected.has(file)) {
    inspected.set(file, new Promise((resolve) => {
      asked += 1;
      waiting.set(asked, resolve);
      inspector.postMessage({ id: asked, file });
    }));
  }
  return inspected.get(file);
}

// Add remarks and buttons to an item of the list. `replace` takes a function that returns a promise of
// the file to replace this one.
export async function check(item, file, replace) {
  const cut = cutOf(file);
  item.classList.toggle("is-cut", Boolean(cut));
  if (isTooLarge(file)) return;
  const original = cut?.original ?? file;
  const found = await inspection(original);
  if (!found) return;
  const view = cut?.view ?? found.view;
  const remarks = cut ? (await inspection(file))?.remarks ?? [] : found.remarks;
  const box = template.cloneNode(true);
  const crop = item.querySelector(".crop");
  const [border, whole] = ["border", "whole"].map((name) => box.querySelector(`.${name}`));
  const said = remarks.map((key) => (key === "border" && !isHarmless(view, view) ? "wide-border" : key));
  for (const sentence of box.querySelectorAll("[data-remark]")) {
    if (!said.includes(sentence.dataset.remark)) sentence.remove();
  }
  box.querySelector(".remarks").hidden = !said.length;
  for (const button of [crop, border, whole]) {
    button.setAttribute("aria-label", text("of-file", { what: button.textContent, name: file.name }));
  }
  crop.classList.remove("pending");
  border.hidden = !remarks.includes("border");
  whole.hidden = !cut;
  box.querySelector(".choices").hidden = border.hidden && whole.hidden;
  if (cut) showCut(box.querySelector(".cut"), cut.frame, view);

  // Use the part of the picture that a frame shows; null changes nothing.
  function use(frame) {
    if (!frame) return crop.focus();
    if (isRunning()) return fail(text("wait-to-cut"));
    return replace(async () => {
      const part = isWhole(frame) ? original : await cutOut(original, frame);
      if (part !== original) remember(part, { original, frame, view });
      focused = part;
      return part;
    });
  }
  crop.onclick = async () => {
    if (isRunning()) return fail(text("wait-to-cut"));
    try {
      const { cropDialog } = await import("./crop.js"); // only now: most images are sent whole
      return use(await cropDialog(original, view, cut?.frame));
    } catch {
      return fail(text("not-cut"));
    }
  };
  border.onclick = () => use(view);
  whole.onclick = () => use(WHOLE);
  item.append(box);
  if (focused === file) {
    crop.focus();
    focused = null;
  }
}

// Say what was cut away and how that affects the result.
function showCut(line, frame, view) {
  const away = removed(frame, view);
  line.hidden = false;
  if (away >= 0.005) line.textContent = text("cut", { away: Math.round(100 * away) });
  else if (away >= 0.001) line.textContent = text("cut-little");
  else line.textContent = text(keptOf(frame) > keptOf(view) + 0.01 ? "black-cut" : "border-cut");
  if (!isHarmless(frame, view)) line.textContent += ` ${text("never-low")}`;
}
