// The table of results: sorted by the column that is asked for.

export function makeSortable(table) {
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
export function byUrgency(a, b) {
  const urgency = (row) => Number(row.cells[1].dataset.value ?? Infinity);
  return urgency(a) === urgency(b) ? 0 : urgency(a) - urgency(b);
}

// Sort by the column that was asked for, at first by urgency; what could not be classified comes last.
export function sort(table) {
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
