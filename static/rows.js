// The rows of the table of results, made from the pages that the server sends, or from errors.
import { cell, csvLine } from "./csv.js";
import { addNote, noteOf, writeNote } from "./notes.js";
import { openRow } from "./paging.js";
import { text } from "./texts.js";

const failedTemplate = document.getElementById("failed-template").content;

// Make a row from a page with a result; `view` is the one of the table.
export function rowOf(page, table, view) {
  const result = page.getElementById("result");
  const row = document.importNode(result.querySelector("template#row").content, true).querySelector("tr");
  const named = row.querySelector(".named");
  const image = document.createElement("img"); // shows the image of the result, which is loaded already
  image.alt = "";
  image.src = result.querySelector("#upload-image").getAttribute("href");
  const opener = document.createElement("button");
  opener.type = "button";
  opener.className = "link named";
  opener.append(image, ...named.childNodes);
  opener.onclick = () => openRow({ row, table, view });
  named.replaceWith(opener);
  row.result = result;
  result.addEventListener("signs", ({ detail }) => markSigns(row, detail));
  date(table.closest("article"), row);
  addNote(row, table);
  return row;
}

// Show the day and the model of this row below its table or comparison.
export function date(article, row) {
  if (!row) return;
  const [time, model] = article.querySelectorAll(".origin :is(time, code)");
  time.textContent = time.dateTime = row.dataset.date;
  model.title = row.dataset.model;
  model.textContent = row.dataset.model.slice(0, model.textContent.length);
}

// If enough warning signs are ticked in the full result, repeat the advice in the row.
function markSigns(row, isEnough) {
  row.querySelector("strong.signs-ticked")?.remove();
  if (!isEnough) return;
  const mark = document.createElement("strong");
  mark.className = "signs-ticked";
  mark.textContent = text("doctor-now");
  row.cells[1].prepend(mark);
}

export function failedRow(file, fault, table) {
  const row = failedTemplate.cloneNode(true).querySelector("tr");
  const name = row.querySelector("th");
  name.dataset.value = name.querySelector(".file").textContent = file.name;
  row.querySelector("td").textContent = fault.message;
  const columns = table.dataset.csv.split(",");
  row.dataset.csv = csvLine(columns, { file: file.name, error: fault.message });
  addNote(row, table);
  return row;
}

// Remove the row of an earlier attempt, if there is one, but keep its note.
export function takePlace(former, row) {
  if (!former) return;
  writeNote(row, noteOf(former));
  former.remove();
}

// The line of CSV of a row. The note is its last cell, which is empty in the line from the server.
export const lineOf = (row) => row.dataset.csv + cell(noteOf(row));
