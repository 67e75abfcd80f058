// A worker: looks at one file after the other, so that the page is not held up.
import { inspect } from "./remarks.js";

let last = Promise.resolve();

addEventListener("message", ({ data: { id, file } }) => {
  // null: a kind that only the server can read
  last = last.then(async () => postMessage({ id, found: await inspect(file).catch(() => null) }));
});
