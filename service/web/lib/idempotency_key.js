/** Keys by which the service knows that a repeated request is the same one. */

/** Return a random key. (crypto.randomUUID is missing where the page is not served over HTTPS or from this machine.) */
export function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join("-");
}
