// Comfort only: without this file the form works as any other.
import { classifyAll } from "./batch.js";
import { choose, tooMany } from "./choosing.js";
import { fail, form, input, maxImages } from "./form.js";
import { main } from "./page.js";
import { receive } from "./result.js";
import { during, isRunning, sendWithPatience, showStep } from "./sending.js";
import { text } from "./texts.js";
import { home, open } from "./views.js";

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const files = [...input.files];
  if (isRunning()) return;
  if (!files.length) fail(text("no-image"));
  else if (files.length > maxImages) fail(tooMany(files));
  else if (files.length > 1) classifyAll(files);
  else classifyOne(files[0]);
});

async function classifyOne(file) {
  const page = await during(text("uploading"), () => sendWithPatience(file, (share) => {
    showStep(text(share === 1 ? "classifying" : "uploading"), share);
  }));
  if (page instanceof Error) return fail(page.message);
  const article = page.getElementById("result");
  open({ nodes: [article], title: page.title });
  receive(article);
}

main.addEventListener("click", (event) => {
  if (event.target.closest("[data-home]") && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
    event.preventDefault();
    choose([]);
    open(home);
  }
});
