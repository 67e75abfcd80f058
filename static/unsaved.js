// Keeps track of unsaved things that exist only in this page. Leaving the page asks first.

const unsaved = new Map(); // from a thing to a function: would it be lost now?

export function keep(thing, isAtStake = () => true) {
  unsaved.set(thing, isAtStake);
}

export function saved(thing) {
  unsaved.delete(thing);
}

addEventListener("beforeunload", (event) => {
  if ([...unsaved.values()].some((isAtStake) => isAtStake())) event.preventDefault();
});
