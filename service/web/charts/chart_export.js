/** A chart as a file: a picture with its title and legend, as SVG or PNG, and its numbers as CSV. */

import { fileName, saveCsv } from "../lib/csv.js";
import { saveBlob } from "../lib/download.js";

const WIDTH = 900;
const HEIGHT = 500;
const PNG_SCALE = 2;

/** The kinds of files, by what a button says. */
export const FORMATS = { SVG: picture("svg", 1), PNG: picture("png", PNG_SCALE), CSV: numbers };

/**
 * Return what saves a chart as a picture. A chart is {name, traces, layout, table}: `table` is {columns, rows} of what it shows, in
 * the units that people read; without one the lines that have a name are the table.
 */
function picture(format, scale) {
  return async ({ name, traces, layout }) => {
    const named = traces.map((trace) => ({ ...trace, showlegend: trace.name !== undefined }));
    const withTitle = {
      ...layout,
      title: { text: name, x: 0.02 },
      showlegend: layout.showlegend !== false || named.some((trace) => trace.showlegend),
      margin: { l: 20, r: 20, t: 60, b: 20 },
    };
    const address = await globalThis.Plotly.toImage(
      { data: named, layout: withTitle },
      { format, scale, width: WIDTH, height: HEIGHT },
    );
    const content = address.slice(address.indexOf(",") + 1);
    const bytes =
      format === "svg" ? decodeURIComponent(content) : Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
    saveBlob(new Blob([bytes], { type: format === "svg" ? "image/svg+xml" : "image/png" }), fileName(name, format));
  };
}

/** Save the numbers of a chart. */
async function numbers({ name, traces, layout, table = null }) {
  const { columns, rows } = table ?? {
    columns: ["series", layout.xaxis.title.text, layout.yaxis.title.text],
    rows: traces.filter((trace) => trace.name !== undefined).flatMap(pointsOf),
  };
  saveCsv(name, columns, rows);
}

const pointsOf = ({ name, x = [], y = [] }) => Array.from(x, (place, index) => [name, place, y[index]]);
