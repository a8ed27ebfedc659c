/** Read one tensor of a safetensors file of the service, by Range requests. */

import { weightBytesOf } from "./api.js";

const HEAD_BYTES = 65536;

/**
 * Return a float32 tensor of a model as {shape, values}. The file begins with the length of its header (uint64, little-endian)
 * and the header: JSON that says for each tensor its dtype, shape and place among the bytes that follow. Raises if it is not there.
 */
export async function tensorOf(model, name) {
  const head = new DataView(await weightBytesOf(model, 0, HEAD_BYTES - 1));
  const headerBytes = Number(head.getBigUint64(0, true));
  const isWhole = 8 + headerBytes <= head.byteLength;
  const bytes = isWhole ? head.buffer.slice(8, 8 + headerBytes) : await weightBytesOf(model, 8, 7 + headerBytes);
  const entry = JSON.parse(new TextDecoder().decode(bytes))[name];
  if (entry?.dtype !== "F32") throw new Error(`The model has no float32 tensor ${name}.`);
  const [first, end] = entry.data_offsets.map((offset) => 8 + headerBytes + offset);
  return { shape: entry.shape, values: new Float32Array(await weightBytesOf(model, first, end - 1)) };
}
