// A worker that classifies one image after another without the server. It needs only the model file,
// which the service worker keeps. It sends its answers to the page and nowhere else.
import { answerOf } from "./answer.js";
import { pageOf } from "./device_page.js";
import { judge } from "./familiarity.js";
import { readModel } from "./network.js";
import { predict } from "./occlusion.js";
import { ImageError, readImage } from "./pixels.js";

let model = null; // a promise of what `readModel` returns, from the first image on
let last = Promise.resolve();

// The browser refuses a file with a different checksum. This happens if the page is older than the
// server's model.
async function load({ address, integrity }) {
  const response = await fetch(address, { integrity });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return readModel(await response.arrayBuffer());
}

async function loadOnce(message) {
  model ??= load(message);
  try {
    return await model;
  } catch (error) {
    model = null; // the next image tries again
    throw error;
  }
}

// Return the result page as { html }, a sentence about the image as { error }, or a { fault }: "model"
// if the model could not be loaded, "device" for everything else.
async function answerTo(message) {
  let loaded;
  try {
    loaded = await loadOnce(message);
  } catch {
    return { fault: "model" };
  }
  const { layers, facts } = loaded;
  let image;
  try {
    image = await readImage(message.file, facts.images);
  } catch (error) {
    return error instanceof ImageError ? { error: error.message } : { fault: "device" };
  }
  try {
    const { pixels } = image;
    const answer = answerOf(predict(layers, pixels), judge(pixels, facts.rules), message.crop, facts);
    return { html: pageOf(answer, image, message.name, facts, message) };
  } catch {
    return { fault: "device" };
  }
}

addEventListener("message", ({ data }) => {
  last = last.then(async () => postMessage({ id: data.id, ...await answerTo(data) }));
});
