/** Tables as CSV files (RFC 4180). */

import { saveBlob } from "./download.js";

/** Save rows under their columns as a file; its name comes from a title. */
export function saveCsv(title, columns, rows) {
  const text = [columns, ...rows].map((row) => `${row.map(quoted).join(",")}\r\n`).join("");
  saveBlob(new Blob([text], { type: "text/csv" }), fileName(title, "csv"));
}

/** Return a title as the name of a file: "Training loss" -> "training-loss.csv". */
export const fileName = (title, ending) =>
  `${title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")}.${ending}`;

/** Return a cell of CSV. A text that begins as a formula would gets a quote before it, so that no spreadsheet runs it. */
function quoted(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" && /^[=+\-@]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
