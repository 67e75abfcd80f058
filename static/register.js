// Optional: lets the app be on a home screen and open without a connection.
const { worker } = document.currentScript.dataset;
window.addEventListener("load", () => {
  // Browsers have service workers only on https:// and on localhost, and some not at all.
  navigator.serviceWorker?.register(worker).catch(() => {});
});
