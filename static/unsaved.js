// What exists in this page alone and was not saved: leaving the page asks first.

const unsaved = new Map(); // a thing -> whether it would be lost now

export function keep(thing, isAtStake = () => true) {
  unsaved.set(thing, isAtStake);
}

export function saved(thing) {
  unsaved.delete(thing);
}

addEventListener("beforeunload", (event) => {
  if ([...unsaved.values()].some((isAtStake) => isAtStake())) event.preventDefault();
});
