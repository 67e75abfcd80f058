// The images chosen on the upload page: by its buttons, dropped or pasted.
import { check } from "./checks.js";
import { button, form, input, isTooLarge, maxImages, say } from "./form.js";
import { live } from "./page.js";
import { isRunning } from "./sending.js";
import { text } from "./texts.js";

const camera = document.getElementById("camera");
const chosen = document.getElementById("chosen");
const template = document.getElementById("chosen-template").content.firstElementChild;

export function choose(files) {
  const all = new DataTransfer();
  for (const file of files) all.items.add(file);
  input.files = all.files;
  showChosen();
}

function add(files) {
  if (!form.isConnected || !files.length) return;
  if (isRunning()) say(text("wait"));
  else choose([...input.files, ...files]);
}

function showChosen() {
  for (const image of chosen.querySelectorAll("img")) URL.revokeObjectURL(image.src);
  const files = [...input.files];
  live.textContent = text("chosen", { count: files.length });
  chosen.replaceChildren(...files.slice(0, maxImages).map((file, i) => {
    const item = template.cloneNode(true);
    const image = item.querySelector("img");
    image.onerror = () => { image.hidden = true; }; // a kind that only the server can read
    image.src = URL.createObjectURL(file);
    item.querySelector(".file").textContent = file.name;
    item.querySelector("small").textContent = text(isTooLarge(file) ? "file-too-large" : "file-size", { size: sizeOf(file) });
    const remove = item.querySelector("button");
    remove.setAttribute("aria-label", text("remove", { name: file.name }));
    remove.onclick = () => {
      choose(files.filter((other) => other !== file));
      (chosen.querySelectorAll(":scope > li > button")[i] ?? input).focus();
    };
    check(item, file, (part) => choose(files.map((other) => (other === file ? part : other))));
    return item;
  }));
  chosen.hidden = !files.length;
  button.textContent = files.length > 1 ? text("classify-several", { count: files.length }) : text("classify");
  say(files.length > maxImages ? tooMany(files) : "");
}

export function tooMany(files) {
  return text("too-many", { count: files.length });
}

function sizeOf({ size }) {
  return size < 1e6 ? text("kilobytes", { size: Math.ceil(size / 1e3) }) : text("megabytes", { size: (size / 1e6).toFixed(1) });
}

input.addEventListener("change", showChosen);
camera.addEventListener("change", () => {
  add(camera.files);
  camera.value = "";
});
document.addEventListener("paste", (event) => add(event.clipboardData.files));
for (const type of ["dragenter", "dragover"]) {
  document.addEventListener(type, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault(); // or the browser leaves the page for the file
    form.classList.add("dragged-over");
  });
}
for (const type of ["dragleave", "drop"]) {
  document.addEventListener(type, () => form.classList.remove("dragged-over"));
}
document.addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  add(event.dataTransfer.files);
});
