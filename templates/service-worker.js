// Keeps what the app needs without a connection: its shell, the upload page, and the model with which
// that page classifies by itself. All of it is fetched when this worker is installed. Nothing is added
// later, so no image and no result is kept. With a connection, pages come from the server.
const whole = (address) => address && new URL(address, location).href;
const OFFLINE = whole({{ offline | tojson }});
const HOME = whole({{ home | tojson }});
const MODEL = whole({{ model | tojson }}); // its address contains a checksum; null if there is none
const KEPT = [OFFLINE, ...(MODEL ? [HOME] : []), ...{{ files | tojson }}.map(whole)];
const OURS = `shell of ${registration.scope} `; // the host may serve other apps, with other scopes
const CACHE = OURS + {{ version | tojson }};
const WISH = {{ wish | tojson }}; // a cache of this name says that no image may leave the device
const PATIENCE = 60_000; // milliseconds for the page to fetch what a form sent
const MOST_WAIT = 4_000; // milliseconds for the server to begin its answer
const MEMORY = 20_000; // milliseconds after a wait in vain in which it does not wait again
let lastWait = 0; // when it last waited in vain
const held = new Map(); // from a share's mark to { files, letGo }
let shares = 0;

async function keep() {
  const cache = await caches.open(CACHE);
  await cache.addAll(KEPT.map((address) => new Request(address, { cache: "reload" })));
  if (MODEL) await keepModel(cache);
}

// Take the model from an older shell if that has it, because it is by far the largest file.
async function keepModel(cache) {
  const kept = await caches.match(MODEL);
  if (kept) await cache.put(MODEL, kept);
  else await cache.add(new Request(MODEL, { integrity: {{ integrity | tojson }} }));
}

async function forgetOldShells() {
  const old = (await caches.keys()).filter((name) => name.startsWith(OURS) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}

const keptFor = (request) => caches.match(request, { cacheName: CACHE });

// Return the server's answer, or what is kept if the server cannot be reached or is slow.
async function fetchOrElse(request, kept) {
  const answer = fetch(request);
  const patience = Date.now() - lastWait < MEMORY ? 0 : MOST_WAIT;
  try {
    return await Promise.race([answer, after(patience)]) ?? await keptInstead(kept) ?? await answer;
  } catch {
    return (await keptFor(kept)) ?? Response.error();
  }
}

async function keptInstead(address) {
  lastWait = Date.now();
  return keptFor(address);
}

const after = (time) => new Promise((resolve) => { setTimeout(resolve, time); });

// A form comes from another app that shares images, or from the upload page before its script has
// loaded. If its images must not or cannot go to the server, the upload page gets them.
async function sendOrHold(event) {
  const { request } = event;
  if (await caches.has(WISH)) return hold(event, request);
  const copy = request.clone();
  try {
    return await fetch(request);
  } catch {
    return MODEL ? hold(event, copy) : (await keptFor(OFFLINE)) ?? Response.error();
  }
}

// Keep the images in memory, and nowhere else, until the page asks for them, which it does next. The
// page shows them and waits until its button is pressed, even if another site sent the form.
async function hold(event, request) {
  shares += 1;
  const mark = `#shared-${Date.now()}-${shares}`; // each page asks for its own images
  const form = await request.formData().catch(() => null);
  const files = form?.getAll({{ field | tojson }}).filter((file) => file.name) ?? null;
  event.waitUntil(new Promise((resolve) => { // so that the browser does not end this worker too early
    const letGo = () => {
      held.delete(mark);
      resolve();
    };
    held.set(mark, { files, letGo });
    setTimeout(letGo, PATIENCE);
  }));
  return Response.redirect(HOME + mark, 303);
}

self.addEventListener("message", ({ data, ports: [port] }) => {
  port?.postMessage(held.get(data)?.files ?? null);
  held.get(data)?.letGo();
});

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(keep());
});

// The page of the first visit uses this worker, too.
self.addEventListener("activate", (event) => event.waitUntil(forgetOldShells().then(() => clients.claim())));

self.addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  const page = url.split(/[?#]/)[0];
  // Uploads by a script go straight to the server.
  if (mode === "navigate" && method === "POST") event.respondWith(sendOrHold(event));
  else if (mode === "navigate") event.respondWith(fetchOrElse(event.request, KEPT.includes(page) ? page : OFFLINE));
  else if (url === MODEL) event.respondWith(keptFor(url).then((kept) => kept ?? fetch(event.request)));
  else if (method === "GET" && KEPT.includes(url)) event.respondWith(fetchOrElse(event.request, url));
});
