// Several images: a table that fills up while they are classified, two at a time.
import { compare } from "./compare.js";
import { fail } from "./form.js";
import { live, titleOf } from "./page.js";
import { failedRow, lineOf, rowOf, takePlace } from "./rows.js";
import { during, isRunning, sendWithPatience, showStep } from "./sending.js";
import { makeSortable, sort, summaryOf } from "./table.js";
import { text } from "./texts.js";
import { keep, saved } from "./unsaved.js";
import { open } from "./views.js";
import { leadTable } from "./warning_signs.js";

// Look it up now, while the upload page is in the document: other views replace it.
const batchTemplate = document.getElementById("batch-template").content;

const hasAnswer = (row) => row && !["failed", "unknown"].includes(row.dataset.level);

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
  leadTable(article);
  makeSortable(table);
  link.addEventListener("click", () => {
    const lines = [table.dataset.csv, ...[...body.rows].map(lineOf)]; // in the order on the screen
    const csv = lines.map((line) => `${line}\r\n`).join("");
    const url = URL.createObjectURL(new Blob([`\ufeff${csv}`], { type: "text/csv" })); // Excel needs the byte order mark
    link.href = url;
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    saved(article);
  });
  const view = { nodes: [article], title: titleOf(text("results")) };
  const comparing = article.querySelector("#compare");
  comparing.onclick = () => compare(rows.filter((row) => row?.querySelector("img")), comparing);
  open(view);

  let passing = files.map((_, i) => i); // what to do; in the end, the failures worth another try
  async function work(waiting, count) {
    for (let i = waiting.shift(); i !== undefined; i = waiting.shift()) {
      const page = await sendWithPatience(files[i]);
      rows[i] = page instanceof Error ? failedRow(files[i], page, table) : rowOf(page, table, view);
      if (page.isPassing) passing.push(i);
      done += 1;
      const sentence = text("done", { done, count });
      showStep(sentence, done / count);
      if (done % 10 === 0) live.textContent = sentence;
      takePlace(body.querySelector(`[data-file="${i}"]`), rows[i]);
      rows[i].dataset.file = i;
      if (rows.some(hasAnswer)) keep(article);
      body.insertBefore(rows[i], rows.slice(i + 1).find(Boolean) ?? null);
      sort(table);
      comparing.hidden = body.querySelectorAll("img").length < 2;
    }
  }
  async function workOff() {
    const waiting = passing;
    const count = waiting.length;
    [passing, done] = [[], 0];
    again.hidden = true;
    summary.textContent = "";
    await during(text("classifying-several", { count }), () => Promise.all([work(waiting, count), work(waiting, count)]));
    live.textContent = summary.textContent = summaryOf(table);
    again.hidden = !passing.length;
  }
  again.onclick = () => {
    if (isRunning()) return fail(text("wait-to-retry"));
    article.querySelector("h1").focus({ preventScroll: true }); // because the button disappears
    return workOff();
  };
  await workOff();
}
