// What a reader does with a result: print it, share it, or leave it. The upload page loads this, and so
// does a result on a separate page, as for an image shared with the app.
import { main } from "./page.js";
import { keep, saved } from "./unsaved.js";
import "./warning_signs.js";

document.documentElement.classList.add("js");
if (navigator.canShare?.({ files: [pictureOf("")] })) document.documentElement.classList.add("can-share");

// Ask before this result is lost, because it exists nowhere else. Other views of the page keep it. Nothing is
// lost if the model could not judge the picture.
export function receive(article) {
  if (!article.querySelector(".level-box.unknown")) keep(article, () => article.isConnected);
}

function pictureOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
  return new File([bytes], "lesion.jpg", { type: "image/jpeg" });
}

async function share(article) {
  const doctorFirst = article.querySelectorAll("[data-of-signs]"); // of the warning signs
  const lines = [...doctorFirst, ...article.querySelector(".to-share").content.children];
  const text = lines.map((line) => line.textContent.trim().replace(/\s+/g, " ")).join("\n");
  const [, picture] = article.querySelector("#upload-image").getAttribute("href").split(",");
  try {
    await navigator.share({ text, files: [pictureOf(picture)] });
    saved(article);
  } catch (error) {
    // A reader who closes the list of apps knows that nothing was shared.
    if (error.name !== "AbortError") article.querySelector(".not-shared").hidden = false;
  }
}

main.addEventListener("click", ({ target }) => {
  if (target.closest("[data-print]")) print();
  if (target.closest("[data-share]")) share(target.closest("#result"));
});
addEventListener("afterprint", () => saved(main.querySelector("#result")));

const own = main.querySelector("#result");
if (own) receive(own);
