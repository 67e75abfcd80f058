// The upload form: its elements, its limits, and how it says what is wrong.

export const form = document.getElementById("upload");
export const input = document.getElementById("pic");
export const button = form.querySelector("button[type=submit]");
export const maxImages = Number(form.dataset.maxImages);
const maxMegabytes = Number(form.dataset.maxMegabytes);
export const error = document.getElementById("error");

export function say(sentence) {
  error.textContent = sentence;
  error.hidden = !sentence;
  input.setAttribute("aria-invalid", Boolean(sentence));
}

// Say what went wrong to whoever pressed the button, wherever on the page that was.
export function fail(sentence) {
  say(sentence);
  error.focus();
}

export function isTooLarge(file) {
  return file.size > maxMegabytes * 1e6;
}
