// Shows two photographs of one spot side by side, on this device only. It measures nothing.
import { nameOf } from "./notes.js";
import { live, titleOf } from "./page.js";
import { date } from "./rows.js";
import { text } from "./texts.js";
import { open } from "./views.js";

const template = document.getElementById("comparison-template").content;

// Open the comparison of two of these rows. `opener` gets the focus back when the reader leaves it.
export function compare(rows, opener) {
  const article = document.importNode(template, true).querySelector("article");
  const sides = [...article.querySelectorAll(".side")];
  const choices = sides.map((side) => side.querySelector("select"));
  for (const choice of choices) {
    for (const [i, row] of rows.entries()) {
      choice.add(new Option(text("numbered", { number: i + 1, name: nameOf(row) }), i));
    }
  }
  const show = () => {
    const chosen = choices.map((choice) => rows[choice.value || -1]);
    sides.forEach((side, i) => fill(side, chosen[i]));
    for (const button of article.querySelectorAll("#swap, [data-print]")) button.disabled = !chosen.every(Boolean);
    date(article, chosen.find(Boolean));
  };
  const set = (values) => {
    choices.forEach((choice, i) => { choice.value = values[i]; });
    show();
  };
  let before = rows.length === 2 ? ["0", "1"] : ["", ""];
  set(before);
  choices.forEach((choice, i) => {
    choice.onchange = () => {
      const other = choices[1 - i];
      if (other.value === choice.value) other.value = before[i]; // a photograph is not compared with itself
      before = choices.map(({ value }) => value);
      show();
      const side = sides[i].querySelector("h2").textContent;
      live.textContent = text("compared", { side, name: choice.selectedOptions[0].label });
    };
  });
  article.querySelector("#swap").onclick = () => {
    before = [...before].reverse();
    set(before);
    const [earlier, later] = choices.map((choice) => choice.selectedOptions[0].label);
    live.textContent = text("swapped", { earlier, later });
  };
  article.querySelector(".back").onclick = () => history.back();
  open({ nodes: [article], title: titleOf(text("comparison")) }, opener);
}

function fill(side, row) {
  side.querySelector(".chosen").hidden = !row;
  if (!row) return;
  const [, result, likely, probability, cancer] = row.cells;
  const parts = { result, likely, probability, cancer };
  for (const [name, { childNodes }] of Object.entries(parts)) {
    side.querySelector(`.${name}`).replaceChildren(...[...childNodes].map((node) => node.cloneNode(true)));
  }
  side.querySelector(".result .step")?.remove(); // it stands below
  side.querySelector(".file").textContent = nameOf(row);
  side.querySelector("img").src = row.querySelector("img").src;
  side.querySelector(".next-step").textContent = row.result.querySelector("#next-step").textContent;
}
