// Writes a row of the table of results as a line of CSV, like lesion_lens/web/results.py.
// tests/csv_cases.json checks that both write the same lines.

// A spreadsheet reads a cell that begins with one of these characters as a formula (OWASP, CSV injection).
const harmless = (words) => words.replace(/^[=+\-@\t\r\n]/, "'$&");

// The page has no-break spaces before units; the file has ordinary spaces, like the server's lines.
const plain = (sentence) => sentence?.replaceAll("\u00a0", " ");

const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

// A cell with text that a person wrote.
export const cell = (words) => quoted(harmless(words));

export function csvLine(columns, values) {
  const cells = { ...values, file: harmless(values.file), error: plain(values.error) };
  return columns.map((column) => quoted(cells[column] ?? "")).join(",");
}
