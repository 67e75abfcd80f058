// Keeps what the app needs without a connection: its shell, the upload page and the model, by which the
// page then classifies by itself. All that is kept is fetched when this is installed; nothing is added
// afterwards, so no image and no result is. With a connection every page is the server's own.
const whole = (address) => address && new URL(address, location).href;
const OFFLINE = whole({{ offline | tojson }});
const HOME = whole({{ home | tojson }});
const MODEL = whole({{ model | tojson }}); // names its content by a checksum; null where there is none
const KEPT = [OFFLINE, ...(MODEL ? [HOME] : []), ...{{ files | tojson }}.map(whole)];
const OURS = `shell of ${registration.scope} `; // the host may have other apps, with other scopes
const CACHE = OURS + {{ version | tojson }};
const WISH = {{ wish | tojson }}; // a cache of this name says that no image may leave the device
const PATIENCE = 60_000; // milliseconds for the page to come and take what was sent by a form
const MOST_WAIT = 4_000; // milliseconds for the server to begin its answer
const MEMORY = 20_000; // milliseconds for which it is not waited for again
let lastWait = 0; // when it was last waited for in vain
const held = new Map(); // of a share's mark: { files, letGo }
let shares = 0;

async function keep() {
  const cache = await caches.open(CACHE);
  await cache.addAll(KEPT.map((address) => new Request(address, { cache: "reload" })));
  if (MODEL) await keepModel(cache);
}

// Take it from an older shell where that has it, as it is by far the largest of all.
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

// Give the server's answer; or what is kept, where the server cannot be reached or lets people wait.
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

// A form comes from another app's share, or from the upload page before its script was there. Where
// its images should not go to the server, or cannot, the upload page gets them.
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

// Keep the images in memory, and nowhere else, until the page asks for them, which comes next. It
// shows what it gets and waits for a press of its button, also where another site sent the form.
async function hold(event, request) {
  shares += 1;
  const mark = `#shared-${Date.now()}-${shares}`; // each page asks for its own
  const form = await request.formData().catch(() => null);
  const files = form?.getAll({{ field | tojson }}).filter((file) => file.name) ?? null;
  event.waitUntil(new Promise((resolve) => { // or the browser may end this worker before the page asks
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

// The page of the first visit gets what is kept, too.
self.addEventListener("activate", (event) => event.waitUntil(forgetOldShells().then(() => clients.claim())));

self.addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  const page = url.split(/[?#]/)[0];
  // An upload by a script passes by.
  if (mode === "navigate" && method === "POST") event.respondWith(sendOrHold(event));
  else if (mode === "navigate") event.respondWith(fetchOrElse(event.request, KEPT.includes(page) ? page : OFFLINE));
  else if (url === MODEL) event.respondWith(keptFor(url).then((kept) => kept ?? fetch(event.request)));
  else if (method === "GET" && KEPT.includes(url)) event.respondWith(fetchOrElse(event.request, url));
});
