// What the views share: their place in the page, the line that is read out, and the name of the app.

export const main = document.querySelector("main");
export const live = document.getElementById("status");
const appName = document.title.split(" · ").at(-1);

export const titleOf = (name) => `${name} · ${appName}`;
