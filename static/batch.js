// Several images: a table that fills while they are sent, two at a time.
import { csvLine } from "./csv.js";
import { appName, live } from "./page.js";
import { during, isRunning, sendWithPatience, showStep } from "./sending.js";
import { byUrgency, makeSortable, sort } from "./table.js";
import { text } from "./texts.js";
import { keep, saved } from "./unsaved.js";
import { open } from "./views.js";

// Found now, because what is not the view of the moment is not in the document.
const [batchTemplate, failedTemplate] = ["batch", "failed"].map(
  (name) => document.getElementById(`${name}-template`).content,
);

export async function classifyAll(files) {
  const content = batchTemplate.cloneNode(true);
  const article = content.querySelector("article");
  const table = article.querySelector("table");
  const body = table.tBodies[0];
  const summary = article.querySelector("#batch-summary");
  const link = article.querySelector("#csv");
  const again = article.querySelector("#again");
  const rows = [];
  let done = 0;
  keep(article);
  makeSortable(table);
  link.addEventListener("click", () => {
    const lines = [table.dataset.csv, ...rows.filter(Boolean).sort(byUrgency).map((row) => row.dataset.csv)];
    const csv = lines.map((line) => `${line}\r\n`).join("");
    const url = URL.createObjectURL(new Blob([`\ufeff${csv}`], { type: "text/csv" })); // Excel needs the mark
    link.href = url;
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    saved(article);
  });
  open({ nodes: [article], title: titleOf(text("results")) });

  let passing = files.map((_, i) => i); // what is still to do, and in the end what a later try may do
  async function work(waiting, count) {
    for (let i = waiting.shift(); i !== undefined; i = waiting.shift()) {
      const page = await sendWithPatience(files[i]);
      rows[i] = page instanceof Error ? failedRow(files[i], page, table) : rowOf(page);
      if (page.isPassing) passing.push(i);
      done += 1;
      const sentence = text("done", { done, count });
      showStep(sentence, done / count);
      if (done % 10 === 0) live.textContent = sentence;
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
    await during(text("classifying-several", { count }), () => Promise.all([work(waiting, count), work(waiting, count)]));
    const failed = rows.filter((row) => row.classList.contains("failed")).length;
    live.textContent = summary.textContent = text("classified", { done: files.length - failed, count: files.length });
    again.hidden = !passing.length;
  }
  again.onclick = () => isRunning() || workOff();
  await workOff();
}

const titleOf = (name) => `${name} · ${appName}`;

function rowOf(page) {
  const article = page.getElementById("result");
  const row = document.importNode(article.querySelector("template#row").content, true).querySelector("tr");
  const name = row.querySelector(".file");
  const opener = document.createElement("button");
  opener.type = "button";
  opener.className = "link file";
  opener.textContent = name.textContent;
  opener.onclick = () => open({ nodes: [backButton(), article], title: titleOf(opener.textContent) }, opener);
  name.replaceWith(opener);
  return row;
}

function backButton() {
  const back = document.createElement("button");
  back.type = "button";
  back.className = "quiet back";
  back.textContent = text("back");
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
