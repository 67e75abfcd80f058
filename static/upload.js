// Comfort only: without this file the form works as any other.
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
const maxImages = Number(form.dataset.maxImages);
const maxMegabytes = Number(form.dataset.maxMegabytes);
// Found now, because what is not the view of the moment is not in the document.
const [batchTemplate, failedTemplate, chosenTemplate] = ["batch", "failed", "chosen"].map(
  (name) => document.getElementById(`${name}-template`).content,
);
const home = { nodes: [...main.childNodes], title: document.title };

document.documentElement.classList.add("js");

function say(sentence) {
  error.textContent = sentence;
  error.hidden = !sentence;
}

// --- Choosing --------------------------------------------------------------------------------

function choose(files) {
  const all = new DataTransfer();
  for (const file of files) all.items.add(file);
  input.files = all.files;
  showChosen();
}

function add(files) {
  if (!progress.hidden || !form.isConnected || !files.length) return;
  choose([...input.files, ...files]);
}

function showChosen() {
  for (const image of chosen.querySelectorAll("img")) URL.revokeObjectURL(image.src);
  const files = [...input.files];
  const template = chosenTemplate.firstElementChild;
  chosen.replaceChildren(...files.map((file, i) => {
    const item = template.cloneNode(true);
    const image = item.querySelector("img");
    image.onerror = () => { image.hidden = true; }; // a kind that only the server can read
    image.src = URL.createObjectURL(file);
    item.querySelector(".file").textContent = file.name;
    item.querySelector("small").textContent = file.size < 1e6 ? `${Math.ceil(file.size / 1e3)} kB` : `${(file.size / 1e6).toFixed(1)} MB`;
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
  say(files.length > maxImages ? `These are ${files.length} images. Send at most ${maxImages} at once.` : "");
}

input.addEventListener("change", showChosen);
camera.addEventListener("change", () => {
  add(camera.files);
  camera.value = "";
});
document.addEventListener("paste", (event) => add(event.clipboardData.files));
for (const type of ["dragenter", "dragover"]) {
  document.addEventListener(type, (event) => {
    if (!form.isConnected || !event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    form.classList.add("dragged-over");
  });
}
for (const type of ["dragleave", "drop"]) {
  document.addEventListener(type, () => form.classList.remove("dragged-over"));
}
document.addEventListener("drop", (event) => {
  if (!form.isConnected || !event.dataTransfer.files.length) return;
  event.preventDefault();
  add(event.dataTransfer.files);
});

// --- Sending ---------------------------------------------------------------------------------

// Send one image; gives the page that came back, or an Error with a sentence.
function send(file, onUpload) {
  return new Promise((resolve) => {
    if (file.size > maxMegabytes * 1e6) {
      resolve(new Error(`The file is larger than ${maxMegabytes} MB. Make the image smaller and send it again.`));
      return;
    }
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append(input.name, file);
    request.upload.onprogress = (event) => onUpload?.(event.loaded / event.total);
    request.onload = () => {
      const page = request.response;
      const wait = request.getResponseHeader("Retry-After");
      if (page?.getElementById("result")) resolve(page);
      else resolve(Object.assign(
        new Error(page?.getElementById("error")?.textContent.trim() || `The server answered with ${request.status}. Try again.`),
        { wait: request.status === 503 && wait ? Number(wait) : 0 },
      ));
    };
    request.onerror = () => resolve(new Error(
      "The server cannot be reached, and classifying needs it. Check your connection and try again.",
    ));
    request.open("POST", form.action);
    request.responseType = "document";
    request.send(body);
  });
}

// The server turns requests away while too many wait; come back when it says.
async function sendWithPatience(file, onUpload) {
  for (let tries = 5; ; tries -= 1) {
    const answer = await send(file, onUpload);
    if (!answer.wait || !tries) return answer;
    await new Promise((resolve) => setTimeout(resolve, 1000 * answer.wait));
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const files = [...input.files];
  if (!files.length) say("No image was chosen. Choose one and send it again.");
  if (!files.length || files.length > maxImages) return;
  say("");
  button.disabled = true;
  progress.hidden = false;
  try {
    await (files.length > 1 ? classifyAll(files) : classifyOne(files[0]));
  } finally {
    button.disabled = false;
    progress.hidden = true;
    bar.value = 0;
  }
});

async function classifyOne(file) {
  step.textContent = "Uploading …";
  const page = await sendWithPatience(file, (share) => {
    bar.value = share;
    if (share === 1) step.textContent = "Classifying …";
  });
  if (page instanceof Error) say(page.message);
  else open({ nodes: [page.getElementById("result")], title: page.title });
}

// --- Views -----------------------------------------------------------------------------------
// The upload form, a table and a result are views of this one page; nothing is kept elsewhere.

const views = [home];

function show(view) {
  main.replaceChildren(...view.nodes);
  document.title = view.title;
  scrollTo(0, view.scroll ?? 0);
  main.querySelector("[tabindex='-1']")?.focus({ preventScroll: true });
}

function open(view) {
  views[history.state?.view ?? 0].scroll = scrollY;
  views.push(view);
  history.pushState({ view: views.length - 1 }, "");
  show(view);
}

addEventListener("popstate", (event) => show(views[event.state?.view ?? 0] ?? home));
if (history.state) history.replaceState(null, ""); // a reload has only the form

main.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) print();
  if (event.target.closest("[data-home]")) {
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
  const rows = [];
  let done = 0;
  makeSortable(table);
  link.addEventListener("click", () => {
    const lines = [table.dataset.csv, ...rows.filter(Boolean).map((row) => row.dataset.csv)];
    link.href = URL.createObjectURL(new Blob([lines.map((line) => `${line}\r\n`).join("")], { type: "text/csv" }));
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
  table.before(progress);
  step.textContent = `Classifying ${files.length} images …`;
  open({ nodes: [article], title: `${files.length} results` });

  const waiting = files.map((file, i) => [file, i]);
  async function work() {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [file, i] = next;
      const page = await sendWithPatience(file);
      rows[i] = page instanceof Error ? failedRow(file, page, table) : rowOf(page);
      done += 1;
      bar.value = done / files.length;
      step.textContent = `${done} of ${files.length} images are done`;
      body.replaceChildren(...rows.filter(Boolean));
      sort(table);
    }
  }
  await Promise.all([work(), work()]);
  const failed = rows.filter((row) => row.classList.contains("failed")).length;
  summary.textContent = `${files.length - failed} of ${files.length} images could be classified.`;
  form.append(progress);
}

function rowOf(page) {
  const article = page.getElementById("result");
  const row = document.importNode(article.querySelector("template#row").content, true).querySelector("tr");
  const name = row.querySelector(".file");
  const opener = document.createElement("button");
  opener.type = "button";
  opener.className = "link file";
  opener.textContent = name.textContent;
  opener.onclick = () => open({ nodes: [backButton(), article], title: `${opener.textContent}: result` });
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
  // The file is the first column and the error the last. A spreadsheet takes a name that begins
  // with one of these signs for a formula (OWASP, CSV injection).
  const quote = (text) => `"${text.replace(/^[=+\-@\t\r]/, "'$&").replaceAll('"', '""')}"`;
  const between = table.dataset.csv.replaceAll(/[^,]/g, "");
  row.dataset.csv = quote(file.name) + between + quote(fault.message);
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
      const rising = header.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", rising ? "ascending" : "descending");
      table.dataset.column = column;
      sort(table);
    };
  }
}

// Sort by the column that was asked for; what could not be classified comes last.
function sort(table) {
  if (table.dataset.column === undefined) return;
  const column = Number(table.dataset.column);
  const sign = table.tHead.rows[0].cells[column].getAttribute("aria-sort") === "ascending" ? 1 : -1;
  const value = (row) => row.cells[column]?.dataset.value;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) =>
    a.classList.contains("failed") - b.classList.contains("failed")
    || (value(a) && sign * value(a).localeCompare(value(b), undefined, { numeric: true })));
  table.tBodies[0].append(...rows);
}
