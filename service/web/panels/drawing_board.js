/** A board to draw a digit on, with mouse, pen or finger: white ink on black, as MNIST is. */

import { element } from "../lib/dom.js";

const BOARD_SIDE = 280;
const PEN = 22;

/** Return {node, clear, paint, isBlank, pixels, npy}. `changed(isDone)` is called while somebody draws, and with true when the pen is lifted. */
export function board(changed) {
  const canvas = element("canvas", {
    id: "drawing",
    width: BOARD_SIDE,
    height: BOARD_SIDE,
    role: "img",
    "aria-label": "Board to draw a digit on. Without a pointer: take a test digit, or upload a picture.",
  });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let last = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = BOARD_SIDE / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  };
  const dot = (event) => {
    last = place(event);
    context.fillStyle = "#fff";
    context.beginPath();
    context.arc(...last, PEN / 2, 0, 2 * Math.PI); // a line from a point to itself paints nothing
    context.fill();
  };
  const stroke = (event) => {
    const now = place(event);
    context.strokeStyle = "#fff";
    context.lineWidth = PEN;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(...last);
    context.lineTo(...now);
    context.stroke();
    last = now;
  };
  const clear = () => {
    context.fillStyle = "#000";
    context.fillRect(0, 0, BOARD_SIDE, BOARD_SIDE);
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    dot(event);
    changed(false);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last === null) return;
    for (const earlier of event.getCoalescedEvents?.() ?? []) stroke(earlier);
    stroke(event);
    changed(false);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      if (last === null) return;
      last = null;
      changed(true);
    });
  }
  clear();
  return {
    node: canvas,
    clear,
    /** Show a picture (an image bitmap or a canvas), as large as it goes. */
    paint(picture) {
      context.fillStyle = "#fff"; // what is transparent counts as paper
      context.fillRect(0, 0, BOARD_SIDE, BOARD_SIDE);
      const scale = BOARD_SIDE / Math.max(picture.width, picture.height);
      const [width, height] = [picture.width * scale, picture.height * scale];
      context.imageSmoothingEnabled = picture.width > BOARD_SIDE;
      context.drawImage(picture, (BOARD_SIDE - width) / 2, (BOARD_SIDE - height) / 2, width, height);
    },
    /** Return true if no pixel of the board is lit. */
    isBlank: () => context.getImageData(0, 0, BOARD_SIDE, BOARD_SIDE).data.every((level, index) => index % 4 === 3 || level === 0),
    /** Return the board as 784 grey levels, 28 rows of 28. */
    pixels() {
      const small = element("canvas", { width: 28, height: 28 }).getContext("2d");
      small.imageSmoothingQuality = "high";
      small.drawImage(canvas, 0, 0, 28, 28);
      const { data } = small.getImageData(0, 0, 28, 28);
      return Uint8Array.from({ length: 784 }, (_, index) => data[4 * index]);
    },
    /** Return the board as a .npy file of its grey levels, [280, 280]. (A PNG would come when the browser is idle.) */
    npy: () => npyOf(context.getImageData(0, 0, BOARD_SIDE, BOARD_SIDE).data),
  };
}

/** Return grey levels as numpy.save writes them (format version 1.0); `rgba` has four bytes a pixel. */
function npyOf(rgba) {
  const about = `{'descr': '|u1', 'fortran_order': False, 'shape': (${BOARD_SIDE}, ${BOARD_SIDE}), }`;
  const header = `${about.padEnd(64 * Math.ceil((about.length + 11) / 64) - 11)}\n`;
  const levels = Uint8Array.from({ length: rgba.length / 4 }, (_, index) => rgba[4 * index]);
  return new Blob([Uint8Array.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length % 256, header.length >> 8]), header, levels]);
}

/** Return a 28x28 canvas of grey levels, given as 784 numbers or as 28 rows. */
export function pictureOf(levels, attributes = {}) {
  const flat = levels.length === 28 ? levels.flat() : levels;
  const canvas = element("canvas", { width: 28, height: 28, role: "img", ...attributes });
  const context = canvas.getContext("2d");
  const image = context.createImageData(28, 28);
  flat.forEach((level, index) => image.data.set([level, level, level, 255], 4 * index));
  context.putImageData(image, 0, 0);
  return canvas;
}
