// The checklist of warning signs: adds up the points and says at once if a doctor has to look. It can
// only make the advice more urgent. Its boxes have no name and are not in a form, so nothing is sent.
import { live, main } from "./page.js";

const own = main.querySelector(".signs"); // the one of the upload page, if this page has several views

main.addEventListener("change", ({ target }) => {
  const signs = target.closest(".signs");
  if (signs) live.textContent = weigh(signs);
});

function pointsOf(signs) {
  return [...signs.querySelectorAll("input:checked")].reduce((sum, box) => sum + Number(box.dataset.points), 0);
}

// Add up the ticks and show the advice. Returns the same as a text to read out.
function weigh(signs) {
  const points = pointsOf(signs);
  const isEnough = points >= Number(signs.dataset.enough);
  const verdicts = [...signs.querySelectorAll("[data-verdict]")];
  for (const verdict of verdicts) {
    verdict.hidden = !points || (verdict.dataset.verdict === "enough") !== isEnough;
    verdict.querySelector("b").textContent = points;
  }
  lead(signs, isEnough);
  return verdicts.find((verdict) => !verdict.hidden)?.textContent.replace(/\s+/g, " ").trim() ?? "";
}

// Put the advice to see a doctor before anything that the model says about the picture.
function lead(signs, isEnough) {
  const box = signs.closest("article")?.querySelector(".level-box");
  if (!box || box.classList.contains("doctor-first") === isEnough) return;
  box.classList.toggle("doctor-first", isEnough);
  signs.closest("article").dispatchEvent(new CustomEvent("signs", { detail: isEnough }));
  if (isEnough) box.firstElementChild.prepend(signs.querySelector("template").content.cloneNode(true));
  else for (const line of box.querySelectorAll("[data-of-signs]")) line.remove();
}

// Copy the ticks of the upload page to a result.
export function carryOver(article) {
  const signs = article.querySelector(".signs");
  const ticked = own.querySelectorAll("input");
  for (const [i, box] of signs.querySelectorAll("input").entries()) box.checked = ticked[i].checked;
  weigh(signs);
}

// Show the advice above a table of images, if enough was ticked on the upload page.
export function leadTable(article) {
  if (pointsOf(own) < Number(own.dataset.enough)) return;
  article.querySelector("h1").after(own.querySelector("template").content.firstElementChild.cloneNode(true));
}

// Remove all ticks, because the next image may show another spot.
export function untick() {
  for (const box of own.querySelectorAll("input")) box.checked = false;
  weigh(own);
}

if (own) weigh(own); // the browser may have kept the ticks across a reload
