// Comfort only: without this file the form works as any other.
import { csvLine } from "./csv.js";

const main = document.querySelector("main");
const form = document.getElementById("upload");
const input = document.getElementById("pic");
const camera = document.getElementById("camera");
const error = document.getElementById("error");
const chosen = document.getElementById("chosen");
const button = form.querySelector("button[type=submit]");
const progress = document.getElementById("progress");
const bar = document.getElementById("bar");
const step = document.getElementById("step");
const appName = document.title.split(" · ").at(-1);
const maxImages = Number(form.dataset.maxImages);
const maxMegabytes = Number(form.dataset.maxMegabytes);
// Found now, because what is not the view of the moment is not in the document.
const [batchTemplate, failedTemplate, chosenTemplate] = ["batch", "failed", "chosen"].map(
  (name) => document.getElementById(`${name}-template`).content,
);
const live = document.getElementById("status");
const visit = String(Math.random()); // history entries of before a reload are not of this visit
const home = { nodes: [...main.childNodes], title: document.title };

document.documentElement.classList.add("js");

function say(sentence) {
  error.textContent = sentence;
  error.hidden = !sentence;
  input.setAttribute("aria-invalid", Boolean(sentence));
}

// Say what went wrong to whoever pressed the button, wherever on the page that was.
function fail(sentence) {
  say(sentence);
  error.focus();
}

function isRunning() {
  return !progress.hidden;
}

// --- Choosing --------------------------------------------------------------------------------

function choose(files) {
  const all = new DataTransfer();
  for (const file of files) all.items.add(file);
  input.files = all.files;
  showChosen();
}

function add(files) {
  if (!form.isConnected || !files.length) return;
  if (isRunning()) say("Wait until the images before are done, and choose it again.");
  else choose([...input.files, ...files]);
}

function showChosen() {
  for (const image of chosen.querySelectorAll("img")) URL.revokeObjectURL(image.src);
  const files = [...input.files];
  const template = chosenTemplate.firstElementChild;
  live.textContent = `Images chosen: ${files.length}`;
  chosen.replaceChildren(...files.slice(0, maxImages).map((file, i) => {
    const item = template.cloneNode(true);
    const image = item.querySelector("img");
    image.onerror = () => { image.hidden = true; }; // a kind that only the server can read
    image.src = URL.createObjectURL(file);
    item.querySelector(".file").textContent = file.name;
    const size = file.size < 1e6 ? `${Math.ceil(file.size / 1e3)} kB` : `${(file.size / 1e6).toFixed(1)} MB`;
    item.querySelector("small").textContent = isTooLarge(file) ? `⚠ ${size}: too large` : size;
    const remove = item.querySelector("button");
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.onclick = () => {
      choose(files.filter((other) => other !== file));
      (chosen.querySelectorAll("button")[i] ?? input).focus();
    };
    return item;
  }));
  chosen.hidden = !files.length;
  button.textContent = files.length > 1 ? `Classify ${files.length} images` : "Classify";
  say(files.length > maxImages ? tooMany(files) : "");
}

function tooMany(files) {
  return `These are ${files.length} images. Send at most ${maxImages} at once.`;
}

function isTooLarge(file) {
  return file.size > maxMegabytes * 1e6;
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

// --- Sending ---------------------------------------------------------------------------------

// Send one image; gives the page that came back, or an Error with a sentence: with `wait`, seconds
// after which to send it again, or `isPassing` where a later try may do.
async function send(file, onUpload) {
  if (isTooLarge(file)) {
    return new Error(`The file is larger than ${maxMegabytes} MB. Make the image smaller and send it again.`);
  }
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    return new Error("The file can no longer be read. Choose it again.");
  }
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append(input.name, file);
    request.upload.onprogress = (event) => onUpload?.(event.loaded / event.total);
    request.onload = () => {
      const page = request.response;
      const passes = request.status === 429 || request.status >= 500;
      const wait = passes ? Number(request.getResponseHeader("Retry-After")) : 0;
      if (page?.getElementById("result")) resolve(page);
      else resolve(Object.assign(
        new Error(page?.getElementById("error")?.textContent.trim() || "The server does not work as it should. Try again later."),
        { wait: wait <= 60 ? wait : 0, isPassing: passes },
      ));
    };
    request.timeout = 120_000; // milliseconds
    request.onerror = request.ontimeout = () => resolve(Object.assign(
      new Error("The server cannot be reached, and classifying needs it. Check your connection and try again."),
      { isPassing: true },
    ));
    request.open("POST", form.action);
    request.responseType = "document";
    request.send(body);
  });
}

// The server turns requests away while too many wait, or came; come back when it says.
async function sendWithPatience(file, onUpload) {
  for (let tries = 5; ; tries -= 1) {
    const answer = await send(file, onUpload);
    if (!answer.wait || !tries) return answer;
    if (answer.wait > 9) step.textContent = answer.message;
    await new Promise((resolve) => setTimeout(resolve, 1000 * answer.wait));
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const files = [...input.files];
  if (isRunning()) return;
  if (!files.length) fail(form.dataset.noImage);
  else if (files.length > maxImages) fail(tooMany(files));
  else if (files.length > 1) classifyAll(files);
  else classifyOne(files[0]);
});

// Show the progress of some work, and let nothing else begin meanwhile.
async function during(text, work) {
  say("");
  live.textContent = step.textContent = text;
  bar.value = 0;
  progress.hidden = false;
  button.setAttribute("aria-disabled", true); // and not `disabled`, which would lose the focus
  try {
    return await work();
  } finally {
    progress.hidden = true;
    button.removeAttribute("aria-disabled");
  }
}

async function classifyOne(file) {
  const page = await during("Uploading …", () => sendWithPatience(file, (share) => {
    bar.value = share;
    if (share === 1) step.textContent = "Classifying …";
  }));
  if (page instanceof Error) fail(page.message);
  else open({ nodes: [page.getElementById("result")], title: page.title });
}

// --- Views -----------------------------------------------------------------------------------
// The upload form, a table and a result are views of this one page; nothing is kept elsewhere.

const views = [home];
let current = home;

function show(view) {
  current = view;
  main.replaceChildren(...view.nodes);
  document.title = view.title;
  (main.querySelector(".results") ?? form.lastElementChild).before(progress);
  scrollTo(0, view.scroll ?? 0);
  (view.opener ?? main.querySelector("[tabindex='-1']"))?.focus({ preventScroll: true });
}

function open(view, opener) {
  Object.assign(current, { scroll: scrollY, opener });
  views.push(view);
  history.pushState({ visit, view: views.length - 1 }, "");
  show(view);
}

addEventListener("popstate", ({ state }) => {
  if (state) show((state.visit === visit && views[state.view]) || home); // null: a link within the page
});
history.replaceState({ visit, view: 0 }, "");

main.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) print();
  if (event.target.closest("[data-home]") && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
    event.preventDefault();
    choose([]);
    open(home);
  }
});

// --- Several images --------------------------------------------------------------------------

async function classifyAll(files) {
  const content = batchTemplate.cloneNode(true);
  const article = content.querySelector("article");
  const table = article.querySelector("table");
  const body = table.tBodies[0];
  const summary = article.querySelector("#batch-summary");
  const link = article.querySelector("#csv");
  const again = article.querySelector("#again");
  const rows = [];
  let done = 0;
  unsaved = true;
  makeSortable(table);
  link.addEventListener("click", () => {
    const lines = [table.dataset.csv, ...rows.filter(Boolean).sort(byUrgency).map((row) => row.dataset.csv)];
    const text = lines.map((line) => `${line}\r\n`).join("");
    const url = URL.createObjectURL(new Blob([`\ufeff${text}`], { type: "text/csv" })); // Excel needs the mark
    link.href = url;
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    unsaved = false;
  });
  open({ nodes: [article], title: `Results · ${appName}` });

  let passing = files.map((_, i) => i); // what is still to do, and in the end what a later try may do
  async function work(waiting, count) {
    for (let i = waiting.shift(); i !== undefined; i = waiting.shift()) {
      const page = await sendWithPatience(files[i]);
      rows[i] = page instanceof Error ? failedRow(files[i], page, table) : rowOf(page);
      if (page.isPassing) passing.push(i);
      done += 1;
      bar.value = done / count;
      step.textContent = `${done} of ${count} images are done`;
      if (done % 10 === 0) live.textContent = step.textContent;
      body.querySelector(`[data-file="${i}"]`)?.remove(); // of a try before
      rows[i].dataset.file = i;
      body.insertBefore(rows[i], rows.slice(i + 1).find(Boolean) ?? null);
      sort(table);
    }
  }
  async function workOff() {
    const waiting = passing;
    const count = waiting.length;
    [passing, done] = [[], 0];
    again.hidden = true;
    summary.textContent = "";
    await during(`Classifying ${count} images …`, () => Promise.all([work(waiting, count), work(waiting, count)]));
    const failed = rows.filter((row) => row.classList.contains("failed")).length;
    live.textContent = summary.textContent = `${files.length - failed} of ${files.length} images could be classified.`;
    again.hidden = !passing.length;
  }
  again.onclick = () => isRunning() || workOff();
  await workOff();
}

// A table exists in this page alone, so leaving it unsaved is asked about.
let unsaved = false;
addEventListener("beforeunload", (event) => unsaved && event.preventDefault());

function rowOf(page) {
  const article = page.getElementById("result");
  const row = document.importNode(article.querySelector("template#row").content, true).querySelector("tr");
  const name = row.querySelector(".file");
  const opener = document.createElement("button");
  opener.type = "button";
  opener.className = "link file";
  opener.textContent = name.textContent;
  opener.onclick = () => open({ nodes: [backButton(), article], title: `${opener.textContent} · ${appName}` }, opener);
  name.replaceWith(opener);
  return row;
}

function backButton() {
  const back = document.createElement("button");
  back.type = "button";
  back.className = "quiet back";
  back.textContent = "← Back to the table";
  back.onclick = () => history.back();
  return back;
}

function failedRow(file, fault, table) {
  const row = failedTemplate.cloneNode(true).querySelector("tr");
  const name = row.querySelector("th");
  name.dataset.value = name.querySelector(".file").textContent = file.name;
  row.querySelector("td").textContent = fault.message;
  const columns = table.dataset.csv.split(",");
  row.dataset.csv = csvLine(columns, { file: file.name, error: fault.message });
  return row;
}

function makeSortable(table) {
  for (const [column, header] of [...table.tHead.rows[0].cells].entries()) {
    const sorter = document.createElement("button");
    sorter.type = "button";
    sorter.className = "link";
    sorter.append(...header.childNodes);
    header.append(sorter);
    sorter.onclick = () => {
      const order = header.getAttribute("aria-sort") ?? header.dataset.last;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", order === "ascending" ? "descending" : "ascending");
      table.dataset.column = column;
      sort(table);
    };
  }
}

// What could not be classified has no urgency, and comes last.
function byUrgency(a, b) {
  const urgency = (row) => Number(row.cells[1].dataset.value ?? Infinity);
  return urgency(a) === urgency(b) ? 0 : urgency(a) - urgency(b);
}

// Sort by the column that was asked for, at first by urgency; what could not be classified comes last.
function sort(table) {
  const column = Number(table.dataset.column);
  const sign = table.tHead.rows[0].cells[column].getAttribute("aria-sort") === "ascending" ? 1 : -1;
  const value = (row) => row.cells[column]?.dataset.value;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) =>
    a.classList.contains("failed") - b.classList.contains("failed")
    || (value(a) && sign * value(a).localeCompare(value(b), undefined, { numeric: true }))
    || a.dataset.file - b.dataset.file); // equal ones in the order in which they were chosen
  const focused = document.activeElement;
  table.tBodies[0].append(...rows);
  if (table.contains(focused)) focused.focus(); // a row that is moved loses it
}
