/** Grey levels of a picture, and the bytes that numpy.save writes of them (format version 1.0). */

/** Return the luminance of each pixel of an ImageData (ITU-R BT.601, as Pillow does), `height` rows of `width`. */
export function greyLevels({ data, width, height }) {
  const levels = new Uint8Array(width * height);
  for (let index = 0, byte = 0; index < levels.length; index += 1, byte += 4)
    levels[index] = Math.round(0.299 * data[byte] + 0.587 * data[byte + 1] + 0.114 * data[byte + 2]);
  return levels;
}

/** Return an ImageData as a .npy file of its grey levels, uint8 [height, width]. */
export function npyOf(image) {
  const about = `{'descr': '|u1', 'fortran_order': False, 'shape': (${image.height}, ${image.width}), }`;
  const header = `${about.padEnd(64 * Math.ceil((about.length + 11) / 64) - 11)}\n`;
  return new Blob([
    Uint8Array.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length % 256, header.length >> 8]),
    header,
    greyLevels(image),
  ]);
}
