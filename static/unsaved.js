// Keeps track of unsaved things that exist only in this page. Leaving the page asks first, and while a
// result is shown, links to other pages open in a new tab.
import { main } from "./page.js";

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

function markLinks() {
  const isResult = main.querySelector("#result, #batch, #comparison") !== null;
  for (const link of document.links) {
    if (link.matches("[href^='#'], [data-home], [download]")) continue;
    const marks = { target: "_blank", rel: "noopener", "aria-describedby": "new-tab" };
    for (const [name, value] of Object.entries(marks)) {
      if (isResult) link.setAttribute(name, value);
      else link.removeAttribute(name);
    }
  }
}

new MutationObserver(markLinks).observe(main, { childList: true }); // a view replaces another
markLinks();
