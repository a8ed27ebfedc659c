/** A chart as a file: a picture with its title and legend, as SVG or PNG, and its numbers as CSV. */

import { saveBlob } from "../lib/download.js";

const WIDTH = 900;
const HEIGHT = 500;
const PNG_SCALE = 2;

/** The kinds of files, by what a button says. */
export const FORMATS = { SVG: picture("svg", 1), PNG: picture("png", PNG_SCALE), CSV: table };

/** Return what saves a chart as a picture; a chart is {name, traces, layout}. */
function picture(format, scale) {
  return async ({ name, traces, layout }) => {
    const named = { ...layout, title: { text: name, x: 0.02 }, showlegend: traces.length > 1 };
    const margin = { l: 20, r: 20, t: 60, b: 20 };
    const address = await globalThis.Plotly.toImage(
      { data: traces, layout: { ...named, margin } },
      { format, scale, width: WIDTH, height: HEIGHT },
    );
    const bytes =
      format === "svg"
        ? decodeURIComponent(address.slice(address.indexOf(",") + 1))
        : Uint8Array.from(atob(address.slice(address.indexOf(",") + 1)), (one) => one.charCodeAt(0));
    saveBlob(new Blob([bytes], { type: format === "svg" ? "image/svg+xml" : "image/png" }), fileName(name, format));
  };
}

/** Save the numbers of a chart: one row a point, or a cell of a heat map. */
async function table({ name, traces }) {
  const isMap = traces.some((trace) => trace.z !== undefined);
  const rows = [isMap ? ["series", "x", "y", "value"] : ["series", "x", "y"]];
  for (const trace of traces) rows.push(...(isMap ? cellsOf(trace) : pointsOf(trace)));
  const text = `${rows.map((row) => row.map(quoted).join(",")).join("\r\n")}\r\n`;
  saveBlob(new Blob([text], { type: "text/csv" }), fileName(name, "csv"));
}

const pointsOf = ({ name, x = [], y = [] }) => Array.from(x, (place, index) => [name ?? "", place, y[index]]);

function cellsOf({ name, x, y, z = [] }) {
  return Array.from(z).flatMap((line, row) =>
    Array.from(line, (value, column) => [name ?? "", x?.[column] ?? column, y?.[row] ?? row, value]),
  );
}

/** Return a cell of CSV. A text that begins as a formula would gets a quote before it, so that no spreadsheet runs it. */
function quoted(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" && /^[=+\-@]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const fileName = (name, ending) =>
  `${name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")}.${ending}`;
