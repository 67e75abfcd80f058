// The dialog for cropping a picture with a frame, by touch, mouse or keyboard.
import { isHarmless, keptSides, removed } from "./cuts.js";
import { reducedCopy } from "./decode.js";
import { centred, isWhole, largest, moved, resized, sizeOf, STEP, stretched, WHOLE, wholeSize } from "./frame.js";
import { text } from "./texts.js";

const dialog = document.getElementById("crop");
const stage = dialog.querySelector(".stage");
const frameBox = dialog.querySelector(".frame");
const size = dialog.querySelector("input");
const told = dialog.querySelector("output");
const SIDE = 1024; // pixels of the longer side of the picture in the dialog
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Say in sentences what a frame does to a picture.
function describe(frame, view) {
  if (isWhole(frame)) return text("frame-whole");
  const [left, top] = [frame.left, frame.top].map((share) => Math.round(100 * share));
  const place = text("frame", { left, top });
  if (isBlack(frame, view)) return place.concat(" ", text("frame-nothing"));
  const away = removed(frame, view);
  let cut = text("frame-cuts-black");
  if (away >= 0.005) cut = text(isWhole(view) ? "frame-cuts" : "frame-cuts-without-black", { away: Math.round(100 * away) });
  else if (away >= 0.001) cut = text("frame-cuts-little");
  return isHarmless(frame, view) ? `${place} ${cut}` : `${place} ${cut} ${text("never-low")}`;
}

// Whether a frame shows nothing but black borders, which the server refuses.
function isBlack(frame, view) {
  return Math.min(...keptSides(frame, view)) < 0.001;
}

// Let the reader crop a picture. `before` is the frame of an earlier crop, `view` the part within black
// borders. Returns a frame, or null if the dialog was cancelled; rejects if this browser cannot decode
// the picture.
export async function cropDialog(file, view, before = WHOLE) {
  const canvas = await reducedCopy(file, SIDE);
  if (dialog.open || !dialog.isConnected) return null; // opened twice, or another view is shown
  const most = largest(canvas.width, canvas.height);
  let frame = before;
  size.max = 100 * wholeSize(most);
  stage.querySelector("canvas").replaceWith(canvas);
  canvas.setAttribute("aria-hidden", true); // the label is on the frame
  dialog.querySelector(".file").textContent = file.name;

  function show(next) {
    frame = next;
    for (const side of ["left", "top"]) frameBox.style[side] = `${100 * frame[side]}%`;
    frameBox.style.width = `${100 * (frame.right - frame.left)}%`;
    frameBox.style.height = `${100 * (frame.bottom - frame.top)}%`;
    size.value = 100 * sizeOf(frame, most);
    told.textContent = describe(frame, view);
    dialog.querySelector("[value=use]").disabled = isBlack(frame, view);
  }

  let drag = null; // a function from the pointer's place to the new frame
  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  stage.onpointerdown = (event) => {
    if (!event.isPrimary || event.button) return;
    const [x, y] = placeOf(event);
    const corner = event.target.dataset.corner?.split(" ");
    const begun = frame;
    if (corner) drag = (toX, toY) => stretched(begun, most, corner, toX, toY);
    else if (event.target === frameBox) drag = (toX, toY) => moved(begun, most, toX - x, toY - y);
    else show(centred(frame, most, x, y)); // for people who cannot drag
    stage.setPointerCapture(event.pointerId);
    frameBox.focus();
    event.preventDefault();
  };
  stage.onpointermove = (event) => event.isPrimary && drag && show(drag(...placeOf(event)));
  stage.onpointerup = stage.onpointercancel = () => { drag = null; };
  frameBox.onkeydown = (event) => {
    const arrow = ARROWS[event.key];
    const sign = { "+": 1, "=": 1, "-": -1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !(arrow || sign)) return;
    event.preventDefault();
    if (arrow && !event.shiftKey) show(moved(frame, most, STEP * arrow[0], STEP * arrow[1]));
    else show(resized(frame, most, sizeOf(frame, most) + STEP * (sign ?? arrow[0] - arrow[1])));
  };
  size.oninput = () => show(resized(frame, most, size.value / 100));

  const answer = new Promise((resolve) => {
    dialog.onclose = () => resolve(""); // closed by Escape, or because the view changed
    for (const button of dialog.querySelectorAll("button")) {
      button.onclick = () => {
        resolve(button.value); // now, because the close event may come after a press of "Classify"
        dialog.close();
      };
    }
  });
  dialog.showModal();
  show(frame);
  frameBox.focus();
  const chosen = await answer;
  stage.querySelector("canvas").width = 0; // frees its memory
  return chosen === "use" ? frame : null;
}
