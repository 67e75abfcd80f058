// The images chosen on the upload page, whether by its buttons, dropped or pasted.
import { check } from "./checks.js";
import { button, fail, form, input, isTooLarge, maxImages, say } from "./form.js";
import { mayBeImage, withoutDoubles } from "./images.js";
import { live } from "./page.js";
import { isRunning } from "./sending.js";
import { text } from "./texts.js";
import { home, open } from "./views.js";
import { untick } from "./warning_signs.js";

const camera = document.getElementById("camera");
const chosen = document.getElementById("chosen");
const note = document.getElementById("chosen-note");
const template = document.getElementById("chosen-template").content.firstElementChild;
let files = []; // the chosen files in order; the form's input is kept in step
let adding = Promise.resolve(); // files still being added or cut, one after another
let isCutLost = false;

// Wait until all files are added and cut, then return them. Return null if a cut failed in that time:
// the whole picture must not be sent instead.
export async function chosenFiles() {
  isCutLost = false;
  let awaited;
  do {
    awaited = adding;
    await awaited;
  } while (awaited !== adding); // more may have been added meanwhile
  return isCutLost ? null : files;
}

// Replace a file with the one that `cut` promises. Nothing is sent until then.
function replace(file, cut) {
  adding = adding.then(cut).then(
    (part) => choose(files.map((other) => (other === file ? part : other))),
    () => {
      isCutLost = true;
      fail(text("not-cut"));
    },
  );
}

function choose(now, remark = "") {
  files = [...now];
  fillInput();
  showChosen();
  remarkOn(`${text("chosen", { count: files.length })} ${remark}`);
}

function fillInput() {
  const all = new DataTransfer();
  for (const file of files) all.items.add(file);
  input.files = all.files;
}

// Show a remark that is not an error beside the chosen images, and have it read out.
export function remarkOn(sentence) {
  live.textContent = note.textContent = sentence.trim();
  note.hidden = !files.length;
}

// Go to the empty form for another image.
export function startAnew() {
  if (!isRunning()) { // work in progress belongs to the current images and ticks
    untick();
    choose([]);
    live.textContent = "";
  }
  home.scroll = 0;
  open(home);
}

export function add(added) {
  if (isRunning()) {
    fillInput();
    fail(text("wait"));
  } else {
    adding = adding.then(() => addNow(added));
  }
  return adding;
}

async function addNow(added) {
  const images = added.filter(mayBeImage);
  let remark = "";
  if (images.length && !form.isConnected) {
    startAnew();
    remark = text("kept");
  }
  const fresh = await withoutDoubles(images, files);
  if (fresh.length < images.length) remark += ` ${text("doubles", { count: images.length - fresh.length })}`;
  if (images.length) choose([...files, ...fresh], remark);
  else fillInput();
  const others = added.filter((file) => !images.includes(file)).map(({ name }) => name);
  if (others.length) fail(text("only-images", { names: others.join(", ") }));
}

function showChosen() {
  for (const image of chosen.querySelectorAll("img")) URL.revokeObjectURL(image.src);
  chosen.replaceChildren(...files.slice(0, maxImages).map((file, i) => {
    const item = template.cloneNode(true);
    const image = item.querySelector("img");
    image.onerror = () => { image.hidden = true; }; // a format that only the server can read
    image.src = URL.createObjectURL(file);
    item.querySelector(".file").textContent = file.name;
    item.querySelector("small").textContent = text(isTooLarge(file) ? "file-too-large" : "file-size", { size: sizeOf(file) });
    const remove = item.querySelector(".remove");
    remove.setAttribute("aria-label", text("remove", { name: file.name }));
    remove.onclick = () => {
      if (isRunning()) return fail(text("wait-to-remove"));
      choose(files.filter((other) => other !== file));
      return (chosen.querySelectorAll(".remove")[i] ?? input).focus();
    };
    check(item, file, (cut) => replace(file, cut));
    return item;
  }));
  chosen.hidden = !files.length;
  button.textContent = files.length > 1 ? text("classify-several", { count: files.length }) : text("classify");
  say(files.length > maxImages ? tooMany(files) : "");
  if (files.length) chosen.scrollIntoView({ block: "nearest" }); // and with it the sticky button
}

export function tooMany(many) {
  return text("too-many", { count: many.length });
}

function sizeOf({ size }) {
  return size < 1e6 ? text("kilobytes", { size: Math.ceil(size / 1e3) }) : text("megabytes", { size: (size / 1e6).toFixed(1) });
}

input.addEventListener("change", () => add([...input.files]));
camera.addEventListener("change", () => {
  add([...camera.files]);
  camera.value = "";
});
document.addEventListener("paste", ({ clipboardData, target }) => {
  if (clipboardData.files.length) add([...clipboardData.files]);
  else if (!target.closest?.("input, textarea")) fail(text("not-pasted"));
});
for (const type of ["dragenter", "dragover"]) {
  document.addEventListener(type, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault(); // otherwise the browser leaves the page to open the file
    form.classList.add("dragged-over");
  });
}
for (const type of ["dragleave", "drop"]) {
  document.addEventListener(type, () => form.classList.remove("dragged-over"));
}
document.addEventListener("drop", (event) => {
  const { files: dropped, items } = event.dataTransfer;
  if (!dropped.length) return;
  event.preventDefault();
  if ([...items].some((item) => item.webkitGetAsEntry?.()?.isDirectory)) fail(text("folder"));
  else add([...dropped]);
});
if (input.files.length) add([...input.files]); // chosen before this script had loaded
