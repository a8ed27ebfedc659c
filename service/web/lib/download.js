/** Saving what the service gives, with its key if it has one: a plain link could not send that. */

/** Offer a blob to the reader as a file. */
export function saveBlob(blob, name) {
  const address = URL.createObjectURL(blob);
  const anchor = document.createElement("a");
  anchor.href = address;
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
