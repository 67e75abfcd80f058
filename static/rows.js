// The rows of the table of results: made of the pages that the server sends, or of a fault.
import { cell, csvLine } from "./csv.js";
import { addNote, noteOf, writeNote } from "./notes.js";
import { openRow } from "./paging.js";

const failedTemplate = document.getElementById("failed-template").content;

// Make a row of a page with a result; `view` is that of its table.
export function rowOf(page, table, view) {
  const result = page.getElementById("result");
  const row = document.importNode(result.querySelector("template#row").content, true).querySelector("tr");
  const named = row.querySelector(".named");
  const image = document.createElement("img"); // the one of the result, which is here already
  image.alt = "";
  image.src = result.querySelector("#upload-image").getAttribute("href");
  const opener = document.createElement("button");
  opener.type = "button";
  opener.className = "link named";
  opener.append(image, ...named.childNodes);
  opener.onclick = () => openRow({ row, table, view });
  named.replaceWith(opener);
  row.result = result;
  table.closest("article").querySelector("time").textContent = row.dataset.date;
  addNote(row, table);
  return row;
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

// Remove the row of a try before, if there was one; its note is kept.
export function takePlace(former, row) {
  if (!former) return;
  writeNote(row, noteOf(former));
  former.remove();
}

// The line of CSV of a row. The note is its last cell, and empty as the line comes.
export const lineOf = (row) => row.dataset.csv + cell(noteOf(row));
