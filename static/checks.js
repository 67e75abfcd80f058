// What stands below each chosen image: remarks on it, and the buttons that cut it.
import { cropDialog } from "./crop.js";
import { cutOf, isHarmless, remember, removed } from "./cuts.js";
import { cutOut } from "./decode.js";
import { fail, isTooLarge, say } from "./form.js";
import { isRunning } from "./sending.js";
import { text } from "./texts.js";

const template = document.getElementById("checks-template").content.firstElementChild;
const inspected = new WeakMap(); // of a file: a promise of what `inspect` gives, or null
let focused = null; // the file whose buttons get the focus once they are there
const inspector = new Worker(new URL("inspector.js", import.meta.url), { type: "module" });
const waiting = []; // what takes the answer of the inspector

inspector.addEventListener("message", ({ data }) => waiting[data.id](data.found));

function inspection(file) {
  if (!inspected.has(file)) {
    inspected.set(file, new Promise((resolve) => {
      inspector.postMessage({ id: waiting.push(resolve) - 1, file });
    }));
  }
  return inspected.get(file);
}

// Add remarks and buttons to an item of the list. `replace` puts another file into its place.
export async function check(item, file, replace) {
  if (isTooLarge(file)) return;
  const cut = cutOf(file);
  const original = cut?.original ?? file;
  const found = await inspection(original);
  if (!found) return;
  const view = cut?.view ?? found.view;
  const remarks = cut ? (await inspection(file))?.remarks ?? [] : found.remarks;
  const box = template.cloneNode(true);
  const [crop, border, whole] = ["crop", "border", "whole"].map((name) => box.querySelector(`.${name}`));
  for (const sentence of box.querySelectorAll("[data-remark]")) {
    if (!remarks.includes(sentence.dataset.remark)) sentence.remove();
  }
  box.querySelector(".remarks").hidden = !remarks.length;
  for (const button of [crop, border, whole]) {
    button.setAttribute("aria-label", text("of-file", { what: button.textContent, name: file.name }));
  }
  border.hidden = !remarks.includes("border");
  whole.hidden = !cut;
  if (cut) {
    const away = removed(cut.frame, view);
    const line = box.querySelector(".cut");
    line.hidden = false;
    if (away >= 0.005) line.textContent = text("cut", { away: Math.round(100 * away) });
    else line.textContent = text(away >= 0.001 ? "cut-little" : "border-cut");
    if (!isHarmless(cut.frame, view)) line.textContent += ` ${text("never-low")}`;
  }

  // Use what was cut out, { file, frame }, or the whole picture; null changes nothing.
  async function use(begin) {
    if (isRunning()) return fail(text("wait-to-cut"));
    const chosen = await begin().catch(() => say(text("not-cut")));
    if (!chosen) return crop.focus();
    focused = chosen.file ?? original;
    if (chosen.file) remember(chosen.file, { original, frame: chosen.frame, view });
    return replace(focused);
  }
  crop.onclick = () => use(() => cropDialog(original, view, cut?.frame));
  border.onclick = () => use(() => cutOut(original, view).then((part) => ({ file: part, frame: view })));
  whole.onclick = () => use(() => Promise.resolve({ file: null }));
  item.append(box);
  if (focused === file) {
    crop.focus();
    focused = null;
  }
}
