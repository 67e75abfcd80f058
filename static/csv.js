// A row of the table of results as a line of CSV, as lesion_lens/web/results.py writes it.
// tests/csv_cases.json holds both to the same lines.

// A spreadsheet takes a cell that begins with one of these signs for a formula (OWASP, CSV injection).
const harmless = (words) => words.replace(/^[=+\-@\t\r]/, "'$&");

const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

// What a person wrote, as a cell.
export const cell = (words) => quoted(harmless(words));

export function csvLine(columns, values) {
  const cells = { ...values, file: harmless(values.file) };
  return columns.map((column) => quoted(cells[column] ?? "")).join(",");
}
