// A worker that looks at one file after another, so that the page does not freeze.
import { inspect } from "./remarks.js";

let last = Promise.resolve();

addEventListener("message", ({ data: { id, file } }) => {
  // null: a format that only the server can read
  last = last.then(async () => postMessage({ id, found: await inspect(file).catch(() => null) }));
});
