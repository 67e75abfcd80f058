// Classifies an image on this device: a worker does the server's work, and returns the page that the
// server would have sent.
import { cropOf } from "./cuts.js";
import { form } from "./form.js";
import { cancelled, PATIENCE, withoutModel } from "./sending.js";
import { text } from "./texts.js";

const { device, integrity } = form.dataset;
const waiting = new Map(); // from a message's number to the function that takes the answer
let worker = null;
let asked = 0;

function start() {
  worker = new Worker(new URL("device.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => waiting.get(data.id)?.(answerIn(data));
  worker.onerror = () => stop(broken());
}

// End the worker, whatever it is doing, and give this answer to everyone waiting for it. The next image
// starts a new worker.
function stop(answer) {
  worker?.terminate();
  worker = null;
  for (const settle of waiting.values()) settle(answer);
}

const broken = () => Object.assign(new Error(text("device-broken")), { isPassing: true });

function answerIn({ html, error, fault }) {
  if (error) return new Error(error);
  if (fault) return fault === "model" ? withoutModel() : broken();
  return new DOMParser().parseFromString(html, "text/html");
}

// The reader's local date, like "2026-03-07".
function dateOf(time) {
  const parts = [time.getFullYear(), time.getMonth() + 1, time.getDate()];
  return parts.map((part) => String(part).padStart(2, "0")).join("-");
}

// Return the result page, or an Error with a sentence, like `sendWithPatience`.
export function classifyHere(file, signal, wasSent) {
  if (!device) return withoutModel();
  if (!worker) start();
  asked += 1;
  const id = asked;
  return new Promise((resolve) => {
    const cancel = () => stop(cancelled());
    const timer = setTimeout(() => stop(broken()), PATIENCE);
    signal.addEventListener("abort", cancel);
    waiting.set(id, (answer) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", cancel);
      waiting.delete(id);
      resolve(answer);
    });
    worker.postMessage({
      id,
      file,
      name: file.name,
      crop: cropOf(file),
      address: new URL(device, location).href,
      integrity,
      wasSent,
      today: dateOf(new Date()),
    });
  });
}
