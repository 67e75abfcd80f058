// The upload form: its elements, its limits and its error message.

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

// Say what went wrong and move the focus there, wherever on the page the reader is.
export function fail(sentence) {
  say(sentence);
  error.focus();
}

export function isTooLarge(file) {
  return file.size > maxMegabytes * 1e6;
}
