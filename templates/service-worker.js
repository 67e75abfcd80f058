// Keeps the shell, so that the app opens without a connection and says what is missing. All that is
// kept is fetched when this is installed; nothing is added afterwards, so no image and no result is.
// With a connection every answer is the server's own, never a kept one.
const OFFLINE = {{ offline | tojson }};
const SHELL = [OFFLINE, ...{{ files | tojson }}].map((path) => new URL(path, location).href);
const OURS = `shell of ${registration.scope} `; // the host may have other apps, with other scopes
const CACHE = OURS + {{ version | tojson }};

async function keepShell() {
  const cache = await caches.open(CACHE);
  await cache.addAll(SHELL.map((address) => new Request(address, { cache: "reload" })));
}

async function forgetOldShells() {
  const old = (await caches.keys()).filter((name) => name.startsWith(OURS) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}

async function fetchOrElse(request, kept) {
  try {
    return await fetch(request);
  } catch {
    return (await caches.match(kept, { cacheName: CACHE })) ?? Response.error();
  }
}

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(keepShell());
});

self.addEventListener("activate", (event) => event.waitUntil(forgetOldShells()));

self.addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  // Also where another app shares an image, which comes as a form. An upload by a script passes by.
  if (mode === "navigate") event.respondWith(fetchOrElse(event.request, OFFLINE));
  else if (method === "GET" && SHELL.includes(url)) event.respondWith(fetchOrElse(event.request, url));
});
