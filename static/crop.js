// The dialog in which a picture is cut by a frame: by touch, mouse or keyboard.
import { isHarmless, removed } from "./cuts.js";
import { cutOut, reducedCopy } from "./decode.js";
import { centred, largest, moved, resized, sizeOf, stretched } from "./frame.js";
import { text } from "./texts.js";

const dialog = document.getElementById("crop");
const stage = dialog.querySelector(".stage");
const frameBox = dialog.querySelector(".frame");
const size = dialog.querySelector("input");
const told = dialog.querySelector("output");
const STEP = 0.02; // share of the picture that a key moves the frame by, or of its size
const SIDE = 1024; // pixels of the longer side of the picture in the dialog
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Let a person cut a picture. `before` is the frame of an earlier cut, `view` what black borders
// leave. Gives { file, frame }; { file: null } where the whole picture shall be used; null where the
// dialog was left; rejects what this browser cannot decode.
export async function cropDialog(file, view, before) {
  const canvas = await reducedCopy(file, SIDE);
  if (dialog.open || !dialog.isConnected) return null; // asked for twice, or the page went on
  const most = largest(canvas.width, canvas.height);
  let frame = before ?? most;
  stage.querySelector("canvas").replaceWith(canvas);
  canvas.setAttribute("aria-hidden", true); // the frame has the name
  dialog.querySelector(".file").textContent = file.name;

  function show(next) {
    frame = next;
    for (const side of ["left", "top"]) frameBox.style[side] = `${100 * frame[side]}%`;
    frameBox.style.width = `${100 * (frame.right - frame.left)}%`;
    frameBox.style.height = `${100 * (frame.bottom - frame.top)}%`;
    size.value = 100 * sizeOf(frame, most);
    const [left, top] = [frame.left, frame.top].map((share) => Math.round(100 * share));
    const away = Math.round(100 * removed(frame, view));
    told.textContent = isHarmless(frame, view) ? text("frame", { left, top, away }) : text("frame-not-low", { left, top, away });
  }

  let drag = null; // what a pointer does to the frame, given the place where it is
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
    else if (event.target === frameBox) drag = (toX, toY) => moved(begun, toX - x, toY - y);
    else show(centred(frame, x, y)); // for whoever cannot drag
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
    if (arrow && !event.shiftKey) show(moved(frame, STEP * arrow[0], STEP * arrow[1]));
    else show(resized(frame, most, sizeOf(frame, most) + STEP * (sign ?? arrow[0] - arrow[1])));
  };
  size.oninput = () => show(resized(frame, most, size.value / 100));

  for (const button of dialog.querySelectorAll("button")) button.onclick = () => dialog.close(button.value);
  const answer = new Promise((resolve) => { dialog.onclose = () => resolve(dialog.returnValue); });
  dialog.returnValue = "";
  dialog.showModal();
  show(frame);
  frameBox.focus();
  const chosen = await answer; // Escape leaves it empty
  stage.querySelector("canvas").width = 0; // gives its memory back
  if (chosen === "whole" || (chosen === "use" && removed(frame, view) < 0.001)) return { file: null };
  return chosen === "use" ? { file: await cutOut(file, frame), frame } : null;
}
