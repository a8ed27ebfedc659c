/** What is posted of a picture file: the file itself, or its grey levels if it is large or of a kind that only the browser reads. */

import { element } from "../lib/dom.js";
import { npyOf } from "../lib/npy.js";

const KINDS_READ_BY_THE_SERVICE = new Set(["png", "jpeg", "webp", "avif", "bmp", "gif"].map((kind) => `image/${kind}`));
const MAX_FILE_BYTES = 2 ** 20;
/** Of the longer side: the service reduces larger pictures to this as well, before it finds the digit. */
const MAX_SIDE = 512;

/**
 * Return {content, type} of a file. `bitmap` is the file as the browser decoded it, or null if it could not: then the
 * file is posted, and the service says what it is.
 */
export function postedOf(file, bitmap) {
  const isSmall = file.size <= MAX_FILE_BYTES && KINDS_READ_BY_THE_SERVICE.has(file.type);
  if (isSmall || bitmap === null) return { content: file, type: file.type || "application/octet-stream" };
  return { content: npyOf(reduced(bitmap)), type: "application/x-npy" };
}

/** Return a bitmap as an ImageData of at most `MAX_SIDE` pixels a side, on white paper where it is transparent. */
function reduced(bitmap) {
  const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const context = element("canvas", { width, height }).getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}
