// The result page, filled on the device from the server's own template: the same HTML, with the same
// context as from result_context in lesion_lens/web/pages.py. lesion_lens/web/device_page.py sends the
// words.
import { csvLine } from "./csv.js";
import { render } from "./templates.js";
import { filtersOf, rounded } from "./wording.js";

// The path of the app, which a proxy may have changed. This file is in its static/.
const appRoot = new URL("../", import.meta.url).pathname;

// Return the page as HTML. `image` is from readImage, `today` is like "2026-03-07". `wasSent` says that
// part of the image was sent to a server that did not answer.
export function pageOf(answer, image, name, facts, { today, wasSent = false }) {
  const { page } = facts;
  const context = { ...contextOf(answer, image, name, page, today), was_sent: wasSent };
  const filters = filtersOf(page.wording);
  const fill = (block) => render([...page.trees.head, ...page.trees[block]], context, filters);
  return `<!doctype html>
<html lang="${page.language}" dir="${page.direction}">
<head><title>${fill("title")} · ${page.app_name}</title></head>
<body><main id="main">${keepTogether(fill("main"), page.line_breaks)}</main></body>
</html>`;
}

function contextOf(answer, image, name, page, today) {
  const { class_of } = page.context;
  const shares = [...answer.probabilities];
  return {
    ...page.context,
    app_root: appRoot,
    answer,
    reason: reasonOf(answer, page),
    // These figures were counted on whole pictures.
    meaning: answer.crop && !answer.crop.is_harmless ? null : ofEach(page.meanings, answer),
    statements: answer.statements,
    ranking: page.codes.map((code, i) => [class_of[code], shares[i]]).sort((a, b) => b[1] - a[1]),
    patches: visiblePatches(answer.occlusion, page.map),
    region: strongestRegion(answer.occlusion, page.map),
    preview: image.preview,
    preview_size: image.preview_size,
    pixels: image.png,
    row: rowOf(answer, name, page, today),
    today,
  };
}

const reasonOf = (answer, { reasons }) => answer.reason && reasons[answer.reason];
const ofEach = (table, { risk_level, familiarity }) => table[risk_level][familiarity ?? ""];

// The context of the row in the table of results; static/rows.js takes the preview of the result.
function rowOf(answer, name, page, today) {
  const { statements, familiarity } = answer;
  return {
    name,
    preview: null,
    level: answer.risk_level,
    next_step: answer.next_step,
    familiarity,
    reason: reasonOf(answer, page),
    is_cropped: answer.crop !== null,
    urgency: answer.urgency,
    likely: page.context.class_of[statements.most_likely],
    probability: Math.max(...answer.probabilities),
    malignant_probability: statements.malignant_probability,
    date: today,
    csv: `${csvLine(page.csv_columns, cellsOf(answer, name, page))},${today},`,
  };
}

// The cells of its line of CSV by column, as in csv_line of lesion_lens/web/results.py.
function cellsOf(answer, name, page) {
  const { statements, familiarity } = answer;
  const shares = page.codes.map((code, i) => [code, rounded(answer.probabilities[i], page.decimals)]);
  const cells = Object.fromEntries(shares);
  return {
    ...cells,
    file: name,
    risk_level: answer.risk_level,
    familiarity,
    verdict: ofEach(page.verdicts, answer),
    most_likely: statements.most_likely,
    probability: cells[statements.most_likely],
    malignant_probability: rounded(statements.malignant_probability, page.decimals),
    cannot_be_excluded: statements.cannot_be_excluded?.join(" "),
    flagged: statements.flagged,
    inconclusive: statements.inconclusive,
    low_risk: statements.low_risk,
    unlike: familiarity === null ? null : familiarity !== "familiar",
    model_sha256: page.context.model_sha256,
    version: page.version,
  };
}

// --- The map, as in lesion_lens/web/occlusion_map.py ---

// The server compares in 32 bits.
const isNoticeable = (fall, { noticeable_fall }) => fall >= Math.fround(noticeable_fall);

function visiblePatches(occlusion, map) {
  const largest = Math.max(...occlusion.flat());
  return occlusion.flatMap((falls, row) =>
    falls.flatMap((fall, column) =>
      isNoticeable(fall, map) ? [[row, column, map.strongest * Math.fround(fall / largest)]] : [],
    ),
  );
}

function strongestRegion(occlusion, map) {
  const falls = occlusion.flat();
  const largest = Math.max(...falls);
  if (!isNoticeable(largest, map)) return null;
  const first = falls.indexOf(largest);
  const [row, column] = [Math.floor(first / occlusion.length), first % occlusion.length];
  return map.regions[Math.floor((row + 1) / 3)][Math.floor((column + 1) / 3)];
}

// Put no-break spaces between numbers and their units, except in code and tags.
function keepTogether(html, { code, together }) {
  const searched = new RegExp(`${code}|<[^>]*>|${together}`, "gs");
  return html.replace(searched, (found) => (found.startsWith("<") ? found : found.replace(/\s+/g, "\u00a0")));
}
