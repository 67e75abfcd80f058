// A row of the table of results as a line of CSV, as lesion_lens/web/results.py writes it.
// tests/csv_cases.json holds both to the same lines.

// A spreadsheet takes a cell that begins with one of these signs for a formula (OWASP, CSV injection).
const harmless = (words) => words.replace(/^[=+\-@\t\r\n]/, "'$&");

// On a page no line breaks before a unit; in a file the spaces are those of the server's own lines.
const plain = (sentence) => sentence?.replaceAll("\u00a0", " ");

const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

// What a person wrote, as a cell.
export const cell = (words) => quoted(harmless(words));

export function csvLine(columns, values) {
  const cells = { ...values, file: harmless(values.file), error: plain(values.error) };
  return columns.map((column) => quoted(cells[column] ?? "")).join(",");
}
