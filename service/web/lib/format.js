/** Numbers, times and names as people read them. */

/** Return a share as per cent: 0.9804 -> "98.04 %". */
export function percent(share, digits = 2) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`;
}

/** Return a number with three significant digits: 0.0445, 2.30, 1,234; very large and small ones by a power of ten: 1.2 × 10⁻⁵. */
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return scientific(value);
  return size >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
}

/** Return a number for an axis: without zeros at its end, 1 × 10⁻⁴ as 10⁻⁴. */
export function tick(value) {
  const size = Math.abs(value);
  if (size === 0 || (size < 1e5 && size >= 1e-3)) return String(Number(value.toPrecision(3)));
  return scientific(value).replace(/\.0/, "").replace(/^1 × /, "");
}

function scientific(value) {
  const [digits, power] = value.toExponential(1).split("e");
  const raised = [...power.replace("+", "")].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign])).join("");
  return `${digits} × 10${raised}`;
}

/** Return a duration: 75 -> "1 min 15 s". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  if (minutes === 0) return `${whole} s`;
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Return a size in bytes: 1079000 -> "1.1 MB". */
export function bytes(count) {
  return count < 1e6 ? `${Math.round(count / 1e3)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

/** Return a time of an answer as the reader's local time. */
export function when(text) {
  return new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

/** Return a network's layers: [512, 512] -> "784-512-512-10"; from five hidden layers on "784-10 × 512-10". */
export function layers(hidden) {
  const alike = hidden.length > 4 && hidden.every((width) => width === hidden[0]);
  return `784-${alike ? `${hidden.length} × ${hidden[0]}` : hidden.join("-")}-10`;
}

function wordsOf({ hidden, activation, inputs }) {
  return [layers(hidden), activation, ...(inputs === "standardized" ? ["standardized inputs"] : [])];
}

/** Return a network in words: "784-32-10, tanh", or "784-32-10, tanh, standardized inputs". */
export function network(architecture) {
  return wordsOf(architecture).join(", ");
}

/** Return a spec in words: "he_normal, 784-32-10, seed 0"; ReLU is not said. */
export function specInWords({ init, architecture, seed }) {
  const words = wordsOf(architecture).filter((word) => word !== "relu");
  return [init.scheme, ...words, `seed ${seed}`].join(", ");
}

/** Return a count with its noun: (1, "seed") -> "1 seed". */
export function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** Return the last characters of an id, which distinguish the ids of one day. */
export function shortId(id) {
  const [job, epoch] = id.split("@");
  return `…${job.slice(-6)}${epoch === undefined ? "" : `@${epoch}`}`;
}
