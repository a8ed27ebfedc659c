/** A board to draw a digit on, with mouse, pen or finger: white ink on black, as MNIST is. */

import { element } from "../lib/dom.js";

const BOARD_SIDE = 280;
const PEN = 22;

/** Return {node, clear, paint, isBlank, pixels, npy}. `changed(isDone)` is called while a pointer draws, and with true when it is lifted. */
export function board(changed) {
  const canvas = element("canvas", {
    id: "drawing",
    width: BOARD_SIDE,
    height: BOARD_SIDE,
    role: "img",
    "aria-label": "Board to draw a digit on. Without a pointer: take a test digit, or upload a picture.",
  });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const levels = () => context.getImageData(0, 0, BOARD_SIDE, BOARD_SIDE).data;
  const clear = () => {
    context.fillStyle = "#000";
    context.fillRect(0, 0, BOARD_SIDE, BOARD_SIDE);
  };
  listenToPointers(canvas, penOf(canvas, context), changed);
  clear();
  return {
    node: canvas,
    clear,
    paint: (picture) => paint(context, picture),
    /** Return true if no pixel of the board is lit. */
    isBlank: () => levels().every((level, index) => index % 4 === 3 || level === 0),
    pixels: () => pixelsOf(canvas),
    /** Return the board as a .npy file of its grey levels, [280, 280]. (A PNG would come when the browser is idle.) */
    npy: () => npyOf(levels()),
  };
}

/** Return a pen {press, move, lift, isDown} that paints where pointer events are. */
function penOf(canvas, context) {
  let last = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = BOARD_SIDE / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  };
  return {
    isDown: () => last !== null,
    press(event) {
      last = place(event);
      context.fillStyle = "#fff";
      context.beginPath();
      context.arc(...last, PEN / 2, 0, 2 * Math.PI); // a line from a point to itself paints nothing
      context.fill();
    },
    move(event) {
      const now = place(event);
      context.strokeStyle = "#fff";
      context.lineWidth = PEN;
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

function listenToPointers(canvas, pen, changed) {
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
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
  const { data } = small.getImageData(0, 0, 28, 28);
  return Uint8Array.from({ length: 784 }, (_, index) => data[4 * index]);
}

/** Return grey levels as numpy.save writes them (format version 1.0); `rgba` has four bytes a pixel. */
function npyOf(rgba) {
  const about = `{'descr': '|u1', 'fortran_order': False, 'shape': (${BOARD_SIDE}, ${BOARD_SIDE}), }`;
  const header = `${about.padEnd(64 * Math.ceil((about.length + 11) / 64) - 11)}\n`;
  const levels = Uint8Array.from({ length: rgba.length / 4 }, (_, index) => rgba[4 * index]);
  return new Blob([
    Uint8Array.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length % 256, header.length >> 8]),
    header,
    levels,
  ]);
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
