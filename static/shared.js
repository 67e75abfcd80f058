// Takes over images that were sent as a form, by another app's share or before this page's script had
// loaded, but could not or must not go to the server. The service worker hands them over from its memory.
import { add, remarkOn } from "./choosing.js";
import { fail } from "./form.js";
import { text } from "./texts.js";

const PATIENCE = 10_000; // milliseconds

// The files; null if the service worker no longer has them.
function heldFiles() {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = ({ data }) => resolve(data);
    setTimeout(resolve, PATIENCE, null);
    navigator.serviceWorker?.controller?.postMessage(mark, [port2]);
  });
}

const mark = location.hash;
history.replaceState(history.state, "", location.pathname); // otherwise a reload would ask again
const files = await heldFiles();
if (!files) fail(text("not-handed-over"));
else if (!files.length) fail(text("no-image"));
else {
  await add(files);
  remarkOn(text("handed-over"));
}
