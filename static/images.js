// Tells which files may be images, and which of them are the same.
import { cutOf } from "./cuts.js";
import { input, isTooLarge } from "./form.js";

const accepted = input.accept.split(",");

// Whether the server may be able to read a file. The server goes by the bytes, so leave out only files
// that the browser knows to be something else.
export function mayBeImage({ name, type }) {
  return !type
    || type === "application/octet-stream"
    || type.startsWith("image/")
    || accepted.includes(type)
    || accepted.some((end) => end.startsWith(".") && name.toLowerCase().endsWith(end));
}

async function areSame(a, b) {
  if (a.name !== b.name || a.size !== b.size) return false;
  if (a === b || isTooLarge(a)) return true;
  try {
    const [one, other] = await Promise.all([a, b].map((file) => file.arrayBuffer()));
    const bytes = new Uint8Array(other);
    return new Uint8Array(one).every((byte, i) => byte === bytes[i]);
  } catch {
    return false; // one of them is gone; that is reported when it is sent
  }
}

// Return the files that are not yet among the chosen ones, whole or cut, each of them once.
export async function withoutDoubles(files, chosen) {
  const fresh = [];
  for (const file of files) {
    let isDouble = false;
    for (const other of [...chosen, ...fresh]) isDouble ||= await areSame(file, cutOf(other)?.original ?? other);
    if (!isDouble) fresh.push(file);
  }
  return fresh;
}
