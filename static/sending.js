// Has images classified, by the server with one request each or on this device. Shows the progress, and
// can stop it.
import { fieldsOf } from "./cuts.js";
import { button, form, input, isTooLarge, say } from "./form.js";
import { live, main } from "./page.js";
import { text } from "./texts.js";
import { canClassifyHere, isModelKept, isWished, onceWished } from "./wish.js";

const progress = document.getElementById("progress");
const bar = document.getElementById("bar");
const step = document.getElementById("step");
export const PATIENCE = 120_000; // milliseconds for an answer
const SLOW = 15_000; // milliseconds after which the page says that the server is slow
let running = null; // the AbortController of the current work

document.getElementById("cancel").onclick = () => running?.abort();

export function isRunning() {
  return running !== null;
}

// Show the progress of some work, and do not let other work begin meanwhile.
export async function during(sentence, work) {
  running = new AbortController();
  say("");
  live.textContent = step.textContent = sentence;
  bar.value = 0;
  progress.hidden = false;
  button.setAttribute("aria-disabled", true); // not `disabled`, which would lose the focus
  try {
    return await work();
  } finally {
    const hadFocus = progress.contains(document.activeElement);
    progress.hidden = true;
    button.removeAttribute("aria-disabled");
    running = null;
    if (hadFocus) (form.isConnected ? button : main.querySelector("h1")).focus({ preventScroll: true });
  }
}

// `share` is how much of the work is done; null if unknown.
export function showStep(sentence, share) {
  step.textContent = sentence;
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
}

// The error if the program or the model for the device cannot be loaded.
export function withoutModel() {
  return Object.assign(new Error(text("model-missing")), { isPassing: true, isWithoutModel: true });
}

export function cancelled() {
  return Object.assign(new Error(text("cancelled")), { isPassing: true, isCancelled: true });
}

function unreachable(wasSent) {
  const sentence = text(canClassifyHere ? "unreachable-yet" : "unreachable");
  return Object.assign(new Error(sentence), { isPassing: true, isUnreachable: true, wasSent });
}

// Have one image classified. Returns the page that came back, or an Error with a sentence. The Error has
// `wait`, the seconds before the next attempt; `isPassing` if a later attempt may work; or `isCancelled`.
async function send(file, tell) {
  const { signal } = running;
  if (isTooLarge(file)) {
    return new Error(text("larger"));
  }
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    return new Error(text("gone"));
  }
  if (await isWished()) return classifyHere(file, tell); // and not by the server, whatever happens
  let wasSent = false;
  if (navigator.onLine || !await isModelKept()) {
    const answer = await upload(file, tell);
    const isHere = answer.isUnreachable && (await isWished() || await isModelKept());
    if (!isHere) return answer;
    wasSent = answer.wasSent;
  }
  const answer = await classifyHere(file, tell, wasSent);
  if (answer.isWithoutModel && !await isWished()) return unreachable(wasSent);
  if (answer instanceof Error) answer.isPassing = true; // the server may succeed later
  return answer;
}

// `wasSent` says that part of the image left the device before the server failed to answer.
async function classifyHere(file, tell, wasSent = false) {
  const { signal } = running;
  tell?.("here");
  try { // loaded only now, because most visits do not need it
    const device = await import("./on_device.js");
    return signal.aborted ? cancelled() : await device.classifyHere(file, signal, wasSent);
  } catch {
    return withoutModel();
  }
}

// Send one image to the server. If no answer comes, the Error has `isUnreachable` and `wasSent`.
function upload(file, tell) {
  const { signal } = running;
  if (signal.aborted) return cancelled();
  let wasSent = false;
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append(input.name, file);
    for (const [field, value] of fieldsOf(file)) body.append(field, value);
    request.upload.onprogress = ({ loaded, total }) => {
      wasSent ||= loaded > 0;
      tell?.("upload", loaded / total);
    };
    request.onload = () => {
      const page = request.response;
      const passes = request.status === 429 || request.status >= 500;
      const wait = passes ? Number(request.getResponseHeader("Retry-After")) : 0;
      if (page?.getElementById("result")) resolve(page);
      else resolve(Object.assign(
        new Error(page?.getElementById("error")?.textContent.trim() || text("server-broken")),
        { wait: wait <= 60 ? wait : 0, isPassing: passes },
      ));
    };
    request.timeout = PATIENCE;
    const giveUp = () => resolve(unreachable(wasSent));
    request.onerror = request.ontimeout = giveUp;
    request.onabort = () => (signal.aborted ? resolve(cancelled()) : giveUp());
    const abort = () => request.abort();
    signal.addEventListener("abort", abort);
    const forget = onceWished(() => {
      wasSent = true; // it may have been
      request.abort();
    });
    const late = setTimeout(() => tell?.("slow"), SLOW);
    request.onloadend = () => {
      clearTimeout(late);
      forget();
      signal.removeEventListener("abort", abort); // otherwise it keeps the page in memory
    };
    request.open("POST", form.action);
    request.responseType = "document";
    request.send(body);
  });
}

// Send an image, and again when the server says so: it turns requests away while too many are waiting,
// or if an address has sent too many. `tell` receives the step: "upload" with the share that is done,
// "slow", or "here".
export async function sendWithPatience(file, tell) {
  for (let tries = 5; ; tries -= 1) {
    const answer = await send(file, tell);
    if (!answer.wait || !tries) return answer;
    if (answer.wait > 9) step.textContent = answer.message;
    await pause(1000 * answer.wait, running.signal);
  }
}

// Wait for `time` milliseconds, or until the work is cancelled.
function pause(time, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, time);
    signal.addEventListener("abort", resolve);
  });
}
