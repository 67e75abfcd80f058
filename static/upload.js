// Optional: without this file, the form works like any other.
import { chosenFiles, remarkOn, startAnew, tooMany } from "./choosing.js";
import { fail, form, maxImages } from "./form.js";
import { live, main } from "./page.js";
import { receive } from "./result.js";
import { during, isRunning, sendWithPatience, showStep } from "./sending.js";
import { text } from "./texts.js";
import { open } from "./views.js";
import { carryOver } from "./warning_signs.js";
import { saysHere } from "./wish.js";

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const [files, here] = await Promise.all([chosenFiles(), saysHere()]);
  if (isRunning() || !files) return;
  if (!files.length) fail(text("no-image"));
  else if (files.length > maxImages) fail(tooMany(files));
  else if (files.length > 1) await classifySeveral(files);
  else classifyOne(files[0], here);
});

// Load the table only now, so that the page appears sooner.
async function classifySeveral(files) {
  try {
    const { classifyAll } = await import("./batch.js");
    if (!isRunning()) classifyAll(files); // a second press may have started it meanwhile
  } catch {
    fail(text("unreachable"));
  }
}

async function classifyOne(file, here) {
  const page = await during(text(here ? "classifying-here" : "uploading"), () => sendWithPatience(file, showWay));
  if (page.isCancelled) {
    remarkOn(text("cancelled-one"));
  } else if (page instanceof Error) {
    live.textContent = text("not-classified");
    fail(page.message);
  } else {
    const article = page.getElementById("result");
    carryOver(article);
    open({ nodes: [article], title: page.title });
    receive(article);
    live.textContent = text("done-one");
  }
}

function showWay(way, share) {
  if (way === "here") showStep(live.textContent = text("classifying-here"), null);
  else if (way === "slow") showStep(live.textContent = text("slow"), null);
  else if (share === 1) showStep(text("classifying"), null); // how long this takes is unknown
  else showStep(text("uploading"), share);
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-home]") && !form.isConnected && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
    event.preventDefault();
    startAnew();
  }
});

if (location.hash.startsWith("#shared-")) import("./shared.js"); // the service worker led here
