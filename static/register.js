// Comfort only: lets the app stand on a home screen and open without a connection.
const { worker } = document.currentScript.dataset;
window.addEventListener("load", () => {
  // Browsers know service workers on https:// and on this machine only, and some not at all.
  navigator.serviceWorker?.register(worker).catch(() => {});
});
