// Sends images to the server, one request each, and shows how far that is; also stops it.
import { fieldsOf } from "./cuts.js";
import { button, form, input, isTooLarge, say } from "./form.js";
import { live, main } from "./page.js";
import { text } from "./texts.js";

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

export function showStep(sentence, share = bar.value) {
  step.textContent = sentence;
  bar.value = share;
}

// Send one image; gives the page that came back, or an Error with a sentence: with `wait`, seconds
// after which to send it again, `isPassing` where a later try may do, or `isCancelled`.
async function send(file, onUpload) {
  const { signal } = running;
  if (isTooLarge(file)) {
    return new Error(text("larger"));
  }
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    return new Error(text("gone"));
  }
  const cancelled = Object.assign(new Error(text("cancelled")), { isPassing: true, isCancelled: true });
  if (signal.aborted) return cancelled;
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append(input.name, file);
    for (const [field, value] of fieldsOf(file)) body.append(field, value);
    request.upload.onprogress = (event) => onUpload?.(event.loaded / event.total);
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
      { isPassing: true },
    ));
    request.onabort = () => resolve(cancelled);
    const abort = () => request.abort();
    signal.addEventListener("abort", abort);
    request.onloadend = () => signal.removeEventListener("abort", abort); // or it holds the page that came
    request.open("POST", form.action);
    request.responseType = "document";
    request.send(body);
  });
}

// The server turns requests away while too many wait, or came; come back when it says.
export async function sendWithPatience(file, onUpload) {
  for (let tries = 5; ; tries -= 1) {
    const answer = await send(file, onUpload);
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
