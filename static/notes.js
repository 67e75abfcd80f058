// The reader's notes on the rows of a table. They stay in the page and are not sent.
import { text } from "./texts.js";
import { keep } from "./unsaved.js";

const template = document.getElementById("note-template").content;

export const nameOf = (row) => row.querySelector(".file").textContent;

const fieldOf = (row) => row.querySelector(".note textarea");

export const noteOf = (row) => fieldOf(row).value;

// The style sheet repeats the words of data-value: they make the field grow, and they are printed.
function write(field, words) {
  field.value = field.parentElement.dataset.value = words;
}

export const writeNote = (row, words) => write(fieldOf(row), words);

export function addNote(row, table) {
  const field = fieldOf(row);
  field.setAttribute("aria-label", text("note-on", { name: nameOf(row) }));
  field.oninput = () => {
    write(field, field.value);
    keep(table.closest("article"));
  };
}

// Show the note of a row in its full result, too.
export function showNote(row, result) {
  let field = result.querySelector(".note textarea");
  if (!field) {
    (result.querySelector(".summary") ?? result.firstElementChild).after(document.importNode(template, true));
    field = result.querySelector(".note textarea");
    field.oninput = () => {
      write(field, field.value);
      writeNote(row, field.value);
      fieldOf(row).oninput();
    };
  }
  write(field, noteOf(row));
}
