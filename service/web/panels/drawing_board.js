/** A board to draw a digit on, with mouse, pen or finger: white ink on black, as MNIST is. */

import { element } from "../lib/dom.js";
import { greyLevels, npyOf } from "../lib/npy.js";

const BOARD_SIDE = 280;
const MAX_UNDONE = 20;
/** Widths of the pen in pixels of the board; MNIST's lines are about two of its 28 pixels wide, here 20. */
export const PEN = { min: 6, max: 42, step: 2, value: 22 };

/**
 * Return {node, clear, undo, paint, setPen, isBlank, pixels, npy, dataUrl}. `changed(isDone)` is called while a pointer draws, and
 * with true when it is lifted.
 */
export function board(changed) {
  const canvas = element("canvas", {
    id: "drawing",
    width: BOARD_SIDE,
    height: BOARD_SIDE,
    role: "img",
    "aria-label": "Board to draw a digit on. Without a pointer: take a test digit, or upload a picture.",
  });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const image = () => context.getImageData(0, 0, BOARD_SIDE, BOARD_SIDE);
  const isBlank = () => image().data.every((level, index) => index % 4 === 3 || level === 0);
  const blacken = () => {
    context.fillStyle = "#000";
    context.fillRect(0, 0, BOARD_SIDE, BOARD_SIDE);
  };
  const earlier = [];
  const remember = () => {
    earlier.push(image());
    if (earlier.length > MAX_UNDONE) earlier.shift();
  };
  const pen = penOf(canvas, context);
  listenToPointers(canvas, pen, remember, changed);
  blacken();
  return {
    node: canvas,
    clear() {
      if (!isBlank()) remember();
      blacken();
    },
    /** Take the last stroke, picture or clearing back. Return false if there is none. */
    undo() {
      const before = earlier.pop();
      if (before) context.putImageData(before, 0, 0);
      return before !== undefined;
    },
    paint(picture) {
      remember();
      paint(context, picture);
    },
    setPen: pen.setWidth,
    /** Return true if no pixel of the board is lit. */
    isBlank,
    pixels: () => pixelsOf(canvas),
    /** Return the board as a .npy file of its grey levels, [280, 280]. (A PNG would come when the browser is idle.) */
    npy: () => npyOf(image()),
    dataUrl: () => canvas.toDataURL(),
  };
}

/** Return a pen {press, move, lift, isDown, setWidth} that paints where pointer events are. */
function penOf(canvas, context) {
  let last = null;
  let width = PEN.value;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = BOARD_SIDE / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  };
  return {
    isDown: () => last !== null,
    setWidth(pixels) {
      width = pixels;
    },
    press(event) {
      last = place(event);
      context.fillStyle = "#fff";
      context.beginPath();
      context.arc(...last, width / 2, 0, 2 * Math.PI); // a line from a point to itself paints nothing
      context.fill();
    },
    move(event) {
      const now = place(event);
      context.strokeStyle = "#fff";
      context.lineWidth = width;
      context.lineCap = "round";
      context.beginPath();
      context.moveTo(...last);
      context.lineTo(...now);
      context.stroke();
      last = now;
    },
    lift() {
      last = null;
    },
  };
}

function listenToPointers(canvas, pen, remember, changed) {
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    remember();
    pen.press(event);
    changed(false);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pen.isDown()) return;
    for (const earlier of event.getCoalescedEvents?.() ?? []) pen.move(earlier);
    pen.move(event);
    changed(false);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      if (!pen.isDown()) return;
      pen.lift();
      changed(true);
    });
  }
}

/** Show a picture (an image bitmap or a canvas) on the board, as large as it goes. */
function paint(context, picture) {
  context.fillStyle = "#fff"; // transparent pixels count as paper
  context.fillRect(0, 0, BOARD_SIDE, BOARD_SIDE);
  const scale = BOARD_SIDE / Math.max(picture.width, picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  context.imageSmoothingEnabled = picture.width > BOARD_SIDE;
  context.drawImage(picture, (BOARD_SIDE - width) / 2, (BOARD_SIDE - height) / 2, width, height);
}

/** Return the board as 784 grey levels, 28 rows of 28. */
function pixelsOf(canvas) {
  const small = element("canvas", { width: 28, height: 28 }).getContext("2d");
  small.imageSmoothingQuality = "high";
  small.drawImage(canvas, 0, 0, 28, 28);
  return greyLevels(small.getImageData(0, 0, 28, 28));
}

/** Return a 28x28 canvas of grey levels, given as 784 numbers or as 28 rows. */
export function pictureOf(levels, attributes = {}) {
  const flat = levels.length === 28 ? levels.flat() : levels;
  const canvas = element("canvas", { width: 28, height: 28, role: "img", ...attributes });
  const context = canvas.getContext("2d");
  const image = context.createImageData(28, 28);
  for (const [index, level] of flat.entries()) image.data.set([level, level, level, 255], 4 * index);
  context.putImageData(image, 0, 0);
  return canvas;
}
