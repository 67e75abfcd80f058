// The table of results: sorts it by a column, counts the rows of each level, and tells which are shown.
import { live } from "./page.js";
import { text } from "./texts.js";

export function makeSortable(table) {
  for (const [column, header] of [...table.tHead.rows[0].cells].entries()) {
    if (header.classList.contains("note")) continue;
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
      live.textContent = text("sorted", { column: sorter.textContent });
    };
  }
  for (const choice of choices(table)) {
    choice.onchange = () => {
      live.textContent = text("shown", { shown: shownRows(table).length, count: table.tBodies[0].rows.length });
    };
  }
}

// Sort by the chosen column, at first by urgency, and count the rows of each level. Images that could
// not be classified come last.
export function sort(table) {
  const column = Number(table.dataset.column);
  const sign = table.tHead.rows[0].cells[column].getAttribute("aria-sort") === "ascending" ? 1 : -1;
  const value = (row) => row.cells[column]?.dataset.value;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  rows.sort((a, b) =>
    a.classList.contains("failed") - b.classList.contains("failed")
    || (value(a) && sign * value(a).localeCompare(value(b), undefined, { numeric: true }))
    || a.dataset.file - b.dataset.file); // equal rows in the order in which they were chosen
  const focused = document.activeElement;
  for (const [i, row] of rows.entries()) { // move only rows in the wrong place: a moved row loses the focus
    if (body.rows[i + 1] === row) body.append(body.rows[i]);
    else if (body.rows[i] !== row) body.insertBefore(row, body.rows[i]);
  }
  if (table.contains(focused)) focused.focus();
  count(table);
}

const choices = (table) => table.closest("article").querySelectorAll("[name=shown]");

// The rows that are shown, in their order.
export function shownRows(table) {
  const { value } = [...choices(table)].find((choice) => choice.checked);
  return [...table.tBodies[0].rows].filter((row) => value === "all" || row.dataset.level === value);
}

function countOf(table, level) {
  return [...table.tBodies[0].rows].filter((row) => row.dataset.level === level).length;
}

function count(table) {
  const [all, ...levels] = choices(table);
  const show = (choice, found) => { choice.closest("label").querySelector(".count").textContent = found; };
  show(all, table.tBodies[0].rows.length);
  for (const choice of levels) {
    const found = countOf(table, choice.value);
    show(choice, found);
    choice.disabled = !found;
    if (choice.checked && !found) all.checked = true; // a later attempt has classified the images that were shown
  }
}

export function summaryOf(table) {
  const total = table.tBodies[0].rows.length;
  const [read, unknown] = [total - countOf(table, "failed"), countOf(table, "unknown")];
  const sentence = text(unknown ? "read-some-unknown" : "read", { read, unknown, count: total });
  const [here, sent] = ["[data-here]", "[data-here=sent]"].map((rows) => table.querySelectorAll(rows).length);
  if (!here) return sentence;
  return `${sentence} ${text(here === read && !sent ? "all-here" : "some-here", { here, sent })}`;
}
