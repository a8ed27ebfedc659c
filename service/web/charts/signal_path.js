/** The path of one image: the units that lead to the answer with their links, and every unit of every layer as a picture. */

import { element } from "../lib/dom.js";
import { counted, number, percent } from "../lib/format.js";
import { diverging, inkOf } from "../lib/palette.js";
import { svg } from "../lib/svg.js";

const DIGITS = 10;
const HEIGHT = 250;
const MARGIN = 16;
const MAX_COLUMN_GAP = 130;
const MIN_COLUMN_GAP = 34;
const WIDTH = 560;
const MAX_LINE = 4;

/** Return the drawing of a path as the service answers it. */
export function signalPath(path) {
  return [
    element(
      "div",
      { class: "scroll", role: "region", "aria-label": "The strongest links", tabindex: "0" },
      graph(path),
    ),
    element("div", { class: "strips" }, path.layers.slice(1).map(strip)),
  ];
}

/** Return the traced units in columns, the first hidden layer on the left, the ten digits on the right. */
function graph({ layers, links, label, probabilities }) {
  const last = layers.length - 1;
  const gap = Math.min(MAX_COLUMN_GAP, Math.max(MIN_COLUMN_GAP, (WIDTH - 4 * MARGIN) / Math.max(1, last - 1)));
  const columns = layers.slice(1).map(({ layer }) => ({ layer, units: unitsOf(layer, last, links) }));
  const at = new Map();
  columns.forEach(({ layer, units }, column) => {
    units.forEach((unit, place) => {
      const y = MARGIN + ((place + 0.5) / units.length) * (HEIGHT - 2 * MARGIN);
      at.set(`${layer}/${unit}`, [MARGIN + column * gap, y]);
    });
  });
  const width = 3 * MARGIN + (columns.length - 1) * gap + 64;
  const drawn = svg("svg", {
    viewBox: `0 0 ${width} ${HEIGHT}`,
    width,
    height: HEIGHT,
    role: "img",
    "aria-label": `${counted(links.length, "link")} that lead to the answer ${label}, ${percent(probabilities[label], 0)}`,
  });
  drawn.append(...lines(links, at), ...columns.flatMap((column) => dots(column, layers, at)));
  for (let digit = 0; digit < DIGITS; digit += 1) {
    const [x, y] = at.get(`${last}/${digit}`);
    const text = svg("text", { x: x + 10, y: y + 4, fill: inkOf("ink"), "font-weight": digit === label ? 700 : 400 });
    text.append(`${digit}${digit === label ? `: ${percent(probabilities[digit], 0)}` : ""}`);
    drawn.append(text);
  }
  return drawn;
}

function unitsOf(layer, last, links) {
  if (layer === last) return Array.from({ length: DIGITS }, (_, digit) => digit);
  const units = links.filter((one) => one.layer === layer + 1).map((one) => one.source);
  return [...new Set(units)].sort((one, other) => one - other);
}

function lines(links, at) {
  const largest = new Map();
  for (const { layer, contribution } of links)
    largest.set(layer, Math.max(largest.get(layer) ?? 0, Math.abs(contribution)));
  return links.map(({ layer, source, target, contribution }) => {
    const [x1, y1] = at.get(`${layer - 1}/${source}`);
    const [x2, y2] = at.get(`${layer}/${target}`);
    const share = Math.abs(contribution) / largest.get(layer);
    return svg("line", {
      x1,
      y1,
      x2,
      y2,
      stroke: `rgb(${diverging(Math.sign(contribution)).join(",")})`,
      "stroke-width": 0.5 + MAX_LINE * share,
      "stroke-dasharray": contribution < 0 ? "5 3" : "none",
    });
  });
}

function dots({ layer, units }, layers, at) {
  const values = layers[layer].activations;
  const largest = largestOf(values);
  return units.map((unit) => {
    const [cx, cy] = at.get(`${layer}/${unit}`);
    const value = values[unit] ?? 0;
    const dot = svg("circle", {
      cx,
      cy,
      r: 6,
      fill: `rgb(${diverging(value / largest).join(",")})`,
      stroke: inkOf("ink"),
    });
    const title = svg("title");
    title.append(`layer ${layer}, unit ${unit}: ${number(value)}`);
    dot.append(title);
    return dot;
  });
}

/** Return all units of a layer as the pixels of a picture, row by row, with how many are not 0. */
function strip({ layer, units, activations }, _index, all) {
  const side = Math.ceil(Math.sqrt(activations.length));
  const rows = Math.ceil(activations.length / side);
  const largest = largestOf(activations);
  const lit = activations.filter((value) => value !== 0).length;
  const isOutput = layer === all.length;
  const name = isOutput ? "logits" : `layer ${layer}`;
  const canvas = element("canvas", {
    class: "units pixels",
    width: side,
    height: rows,
    role: "img",
    "aria-label": `${name}: ${lit} of ${activations.length} units are not 0`,
  });
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, rows);
  activations.forEach((value, unit) => {
    image.data.set([...diverging(value / largest), 255], 4 * unit);
  });
  context.putImageData(image, 0, 0);
  const shown = units > activations.length ? `, the first ${activations.length.toLocaleString("en")} shown` : "";
  return element(
    "figure",
    {},
    canvas,
    element(
      "figcaption",
      {},
      `${name}: ${counted(units, "unit")}${shown}, ${lit} not 0, largest ${number(largestOf(activations))}`,
    ),
  );
}

function largestOf(values) {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
}
