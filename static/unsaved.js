// What exists in this page alone and was not saved: leaving the page asks first.

const unsaved = new Set();

export function keep(thing) {
  unsaved.add(thing);
}

export function saved(thing) {
  unsaved.delete(thing);
}

addEventListener("beforeunload", (event) => unsaved.size && event.preventDefault());
