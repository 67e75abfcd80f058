// The upload form, a table and a result are views of this one page. They are kept nowhere else.
import { error, form, say } from "./form.js";
import { main } from "./page.js";

const progress = document.getElementById("progress");
const sender = progress.parentElement;
const visit = String(Math.random()); // tells history entries from before a reload apart
export const home = { nodes: [...main.childNodes], title: document.title };
const views = [home];
let current = home;

function show(view) {
  for (const dialog of main.querySelectorAll("dialog[open]")) dialog.close(); // otherwise it stays open, out of sight
  current = view;
  main.replaceChildren(...view.nodes);
  document.title = view.title;
  say("");
  if (form.isConnected) {
    form.prepend(error);
    sender.append(progress);
  } else {
    main.prepend(error);
    main.querySelector(".results")?.before(progress);
  }
  scrollTo(0, view.scroll ?? 0);
  (view.opener ?? main.querySelector(".doctor-first [tabindex='-1'], h1[tabindex='-1']"))?.focus({ preventScroll: true });
  view.opener?.scrollIntoView({ block: "nearest" }); // after `turnTo`, it may be another opener
}

export function open(view, opener) {
  Object.assign(current, { scroll: scrollY, opener });
  views.push(view);
  history.pushState({ visit, view: views.length - 1 }, "");
  show(view);
}

// Replace this view with another. Going back leads to `former` and to `opener` there.
export function turnTo(view, former, opener) {
  former.opener = opener;
  views[views.indexOf(current)] = view;
  show(view);
}

addEventListener("popstate", ({ state }) => {
  if (state) show((state.visit === visit && views[state.view]) || home); // null: a link within the page
});
history.replaceState({ visit, view: 0 }, "");
