// Has images classified, by the server with one request each or on this device, and shows how far that
// is; also stops it.
import { fieldsOf } from "./cuts.js";
import { button, form, input, isTooLarge, say } from "./form.js";
import { live, main } from "./page.js";
import { text } from "./texts.js";
import { isModelKept, isWished } from "./wish.js";

const progress = document.getElementById("progress");
const bar = document.getElementById("bar");
const step = document.getElementById("step");
let running = null; // what stops the work that runs

document.getElementById("cancel").onclick = () => running?.abort();

export function isRunning() {
  return running !== null;
}

// Show the progress of some work, and let nothing else begin meanwhile.
export async function during(sentence, work) {
  running = new AbortController();
  say("");
  live.textContent = step.textContent = sentence;
  bar.value = 0;
  progress.hidden = false;
  button.setAttribute("aria-disabled", true); // and not `disabled`, which would lose the focus
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

// `share` is how much of the work is done; null where nobody knows.
export function showStep(sentence, share) {
  step.textContent = sentence;
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
}

export function cancelled() {
  return Object.assign(new Error(text("cancelled")), { isPassing: true, isCancelled: true });
}

// Have one image classified; gives the page that came back, or an Error with a sentence: with `wait`,
// seconds after which to send it again, `isPassing` where a later try may do, or `isCancelled`.
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
  if (await isWished()) return classifyHere(file, signal, tell); // and never by the server, come what may
  if (navigator.onLine || !await isModelKept()) {
    const answer = await upload(file, signal, tell);
    if (!answer.isUnreachable || !await isModelKept()) return answer;
  }
  const answer = await classifyHere(file, signal, tell);
  if (answer instanceof Error) answer.isPassing = true; // as the server may do better later
  return answer;
}

async function classifyHere(file, signal, tell) {
  tell?.("here");
  try { // loaded only now, as most visits do not need it
    const device = await import("./on_device.js");
    return signal.aborted ? cancelled() : await device.classifyHere(file, signal);
  } catch {
    return Object.assign(new Error(text("model-missing")), { isPassing: true });
  }
}

// Send one image to the server; the Error has `isUnreachable` where no answer came.
function upload(file, signal, tell) {
  if (signal.aborted) return cancelled();
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append(input.name, file);
    for (const [field, value] of fieldsOf(file)) body.append(field, value);
    request.upload.onprogress = (event) => tell?.("upload", event.loaded / event.total);
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
    request.timeout = 120_000; // milliseconds
    request.onerror = request.ontimeout = () => resolve(Object.assign(
      new Error(text("unreachable")),
      { isPassing: true, isUnreachable: true },
    ));
    request.onabort = () => resolve(cancelled());
    const abort = () => request.abort();
    signal.addEventListener("abort", abort);
    request.onloadend = () => signal.removeEventListener("abort", abort); // or it holds the page that came
    request.open("POST", form.action);
    request.responseType = "document";
    request.send(body);
  });
}

// The server turns requests away while too many wait, or came; come back when it says.
// `tell` is told the step: "upload" and how much of it is done, or "here".
export async function sendWithPatience(file, tell) {
  for (let tries = 5; ; tries -= 1) {
    const answer = await send(file, tell);
    if (!answer.wait || !tries) return answer;
    if (answer.wait > 9) step.textContent = answer.message;
    await pause(1000 * answer.wait, running.signal);
  }
}

// Wait so many milliseconds, or until all is cancelled.
function pause(time, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, time);
    signal.addEventListener("abort", resolve);
  });
}
