/** Order and chaos of wide networks, over the scales of weights and biases: how deep two images stay apart, and where schemes stand. */

import { keep } from "../lib/address.js";
import { phaseDiagram } from "../lib/api.js";
import { choice, element, field } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { fillLater } from "../lib/notices.js";
import { inkOf } from "../lib/palette.js";
import { chart, draw } from "./plotly_chart.js";

const ON_MAP = "#111"; // the map has the same colours in both themes, and the line lies on its brightest
const ACTIVATIONS = ["tanh", "scaled_tanh", "relu", "sigmoid", "softsign", "leaky_relu", "selu", "gelu", "identity"];
const MOST_LAYERS = 100; // what reaches deeper is drawn alike

/** Return the panel of the diagram, for the activation of the address. */
export function phasePanel(params, signal) {
  const asked = params.get("activation");
  const place = element("div", { class: "view" });
  const show = (activation) => fillLater(place, "the diagram", signal, () => phaseDiagram({ activation }), diagramOf);
  const select = choice(
    ACTIVATIONS.map((name) => [name, name]),
    ACTIVATIONS.includes(asked) ? asked : ACTIVATIONS[0],
    (activation) => {
      keep({ activation });
      show(activation);
    },
  );
  show(select.value);
  return [
    element(
      "p",
      {},
      "In a wide network the weights' scale σ_w (σ_w² = inputs × Var W) and the biases' scale σ_b decide what a deep layer can still see. ",
      element("strong", {}, "Order: "),
      "all images become one, and gradients vanish. ",
      element("strong", {}, "Chaos: "),
      "like images part, and gradients explode. Between them lies the critical line, where signals of any depth can be told apart.",
    ),
    field("Activation", select),
    place,
  ];
}

function diagramOf(diagram) {
  const figure = chart(
    `How deep ${diagram.activation} networks see`,
    "Colour: the depth scale ξ_c in layers; networks train to a few ξ_c (Schoenholz et al. 2017). Line: χ = 1, between order and chaos. " +
      "Points: schemes with their default biases. Blank: the signal dies, or grows without end.",
  );
  draw(figure, () => ({
    traces: tracesOf(diagram),
    layout: layoutOf(diagram),
    table: tableOf(diagram),
    summary: summaryOf(diagram),
  }));
  const places = together(diagram.schemes, Infinity).map((one) =>
    element("li", {}, `σ_w = ${one.sigma_w.toFixed(2)}: ${one.names}`),
  );
  return [figure, element("h3", {}, "Where the schemes stand, in layers of 256 units"), element("ul", {}, places)];
}

function tableOf({ sigma_w: widths, sigma_b: biases, xi_c: depths, phase, q, chi }) {
  return {
    columns: ["sigma_w", "sigma_b", "phase", "q", "chi", "xi_c (layers)"],
    rows: biases.flatMap((bias, line) =>
      widths.map((width, column) => [
        width,
        bias,
        phase[line][column],
        q[line][column],
        chi[line][column],
        depths[line][column],
      ]),
    ),
  };
}

function tracesOf(diagram) {
  const ink = inkOf("ink");
  const places = together(diagram.schemes, diagram.sigma_w.at(-1));
  return [
    {
      type: "heatmap",
      x: diagram.sigma_w,
      y: diagram.sigma_b,
      z: diagram.xi_c.map((row, line) =>
        row.map((depth, column) =>
          hasNone(diagram, line, column) ? null : Math.log10(Math.min(depth ?? MOST_LAYERS, MOST_LAYERS)),
        ),
      ),
      customdata: diagram.phase.map((row, line) =>
        row.map(
          (phase, column) => `${phase}, ξ_c ${depthOf(diagram, line, column)}, χ ${number(diagram.chi[line][column])}`,
        ),
      ),
      hovertemplate: "σ_w %{x}, σ_b %{y}: %{customdata}<extra></extra>",
      colorscale: "Cividis",
      zmin: -0.5,
      zmax: Math.log10(MOST_LAYERS),
      colorbar: {
        thickness: 12,
        title: { text: "layers", font: { size: 11 } },
        tickvals: [0, 0.5, 1, 1.5, 2],
        ticktext: ["1", "3", "10", "30", "≥100"],
      },
    },
    {
      x: diagram.critical_line.map((point) => point.sigma_w),
      y: diagram.critical_line.map((point) => point.sigma_b),
      mode: diagram.critical_line.length > 1 ? "lines" : "markers",
      line: { color: ON_MAP, width: 2 },
      marker: { color: ink, symbol: "x", size: 12 },
      hovertemplate: "critical: σ_w %{x:.3f}, σ_b %{y:.3f}<extra></extra>",
    },
    {
      x: places.map((one) => one.sigma_w),
      y: places.map((one) => one.sigma_b),
      text: places.map((one) => one.names),
      mode: "markers",
      marker: { color: inkOf("paper"), line: { color: ink, width: 2 }, size: 11 },
      hovertemplate: "%{text}: σ_w %{x:.2f}<extra></extra>",
      cliponaxis: false,
    },
  ];
}

/** Return the schemes within the diagram; those at one place share a point. */
function together(schemes, most) {
  const places = new Map();
  for (const { scheme, sigma_w: width, sigma_b: bias } of schemes) {
    if (width > most) continue;
    const key = `${width.toFixed(2)} ${bias.toFixed(2)}`;
    const found = places.get(key);
    places.set(key, { sigma_w: width, sigma_b: bias, names: found ? `${found.names}, ${scheme}` : scheme });
  }
  return [...places.values()].sort((one, other) => one.sigma_w - other.sigma_w);
}

/** Say whether a place has no depth scale: its signal grows without end, or dies. */
const hasNone = ({ phase, q }, line, column) => phase[line][column] === "unbounded" || q[line][column] === 0;

function depthOf(diagram, line, column) {
  if (hasNone(diagram, line, column)) return diagram.q[line][column] === 0 ? "none: the signal dies" : "–";
  const depth = diagram.xi_c[line][column];
  return depth === null ? "without limit" : `${number(depth)} layers`;
}

function layoutOf(diagram) {
  return {
    xaxis: { title: { text: "σ_w, scale of the weights" }, range: [0.9 * diagram.sigma_w[0], diagram.sigma_w.at(-1)] },
    yaxis: { title: { text: "σ_b, scale of the biases" }, zeroline: false },
    hovermode: "closest",
  };
}

/** Say for screen readers where the critical line starts, and where each scheme stands. */
function summaryOf(diagram) {
  const first = diagram.critical_line[0];
  const start = first
    ? `The critical line starts at σ_w = ${number(first.sigma_w)}, σ_b = ${number(first.sigma_b)}. `
    : "";
  return (
    start +
    together(diagram.schemes, Infinity)
      .map((one) => `${one.names}: σ_w ${number(one.sigma_w)}`)
      .join("; ")
  );
}
