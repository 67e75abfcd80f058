// Comfort only: the form works without this file.
const form = document.getElementById("upload");
const input = document.getElementById("pic");
const error = document.getElementById("error");
const button = form.querySelector("button");
const buttonText = button.textContent;

function say(sentence) {
  error.textContent = sentence;
  error.hidden = !sentence;
}

for (const type of ["dragenter", "dragover"]) {
  form.addEventListener(type, (event) => {
    event.preventDefault();
    form.classList.add("dragged-over");
  });
}
for (const type of ["dragleave", "drop"]) {
  form.addEventListener(type, () => form.classList.remove("dragged-over"));
}
form.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) {
    input.files = event.dataTransfer.files;
    say("");
  }
});
input.addEventListener("change", () => say(""));

form.addEventListener("submit", (event) => {
  const limit = Number(form.dataset.maxMegabytes);
  if (input.files[0]?.size > limit * 1e6) {
    event.preventDefault();
    say(`The file is larger than ${limit} MB. Make the image smaller and send it again.`);
    return;
  }
  button.disabled = true;
  button.textContent = "Classifying …";
});

// Coming back by the browser's own button finds the page as it was left.
window.addEventListener("pageshow", () => {
  button.disabled = false;
  button.textContent = buttonText;
});
