/** Grey levels of a picture, and the bytes that numpy.save writes of them (format version 1.0). */

/** Return the luminance of each pixel of an ImageData (ITU-R BT.601, as Pillow does), `height` rows of `width`. */
export function greyLevels({ data, width, height }) {
  return Uint8Array.from({ length: width * height }, (_, index) => {
    const [red, green, blue] = [data[4 * index], data[4 * index + 1], data[4 * index + 2]];
    return Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
  });
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
