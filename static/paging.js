// Shows the full result of a row, with buttons to the next and the previous row that the table shows.
import { nameOf, showNote } from "./notes.js";
import { titleOf } from "./page.js";
import { shownRows } from "./table.js";
import { text } from "./texts.js";
import { open, turnTo } from "./views.js";

const template = document.getElementById("paging-template").content;

// Open the full result of a row; with `turns`, it replaces that of another row. `view` is the table's.
export function openRow({ row, table, view, turns = false }) {
  const bar = document.importNode(template, true).querySelector("nav");
  const rows = shownRows(table).filter((other) => other.result);
  const place = rows.indexOf(row);
  bar.querySelector(".place").textContent = text("place", { place: place + 1, count: rows.length });
  bar.querySelector(".file").textContent = nameOf(row);
  bar.querySelector(".back").onclick = () => history.back();
  for (const button of bar.querySelectorAll("[data-step]")) {
    const step = Number(button.dataset.step);
    const other = rows[place + step];
    button.disabled = !other;
    if (!other) continue;
    button.setAttribute("aria-label", text(step > 0 ? "next" : "previous", { name: nameOf(other) }));
    button.onclick = () => openRow({ row: other, table, view, turns: true });
  }
  showNote(row, row.result);
  const opened = { nodes: [bar, row.result], title: titleOf(nameOf(row)) };
  const opener = row.querySelector("button");
  if (turns) turnTo(opened, view, opener);
  else open(opened, opener);
}
