/** Learning rates that were tried for each scheme: the validation accuracy at each, and the one that was chosen. */

import { percent, tick } from "../lib/format.js";
import { styleOf } from "../lib/palette.js";
import { accuracyAxis, chart, draw, errorOf, logAxis } from "./plotly_chart.js";

/** Return the chart of a sweep, or null without one. */
export function rateSweep(sweep) {
  if (sweep.length === 0) return null;
  const edges = sweep.filter((one) => one.at_edge).map((one) => one.group);
  const beyond = edges.length
    ? ` At the edge of what was tried, so that a better one may be beyond: ${edges.join(", ")}.`
    : "";
  const open = sweep.some((one) => sweep.every((other) => other.group !== one.group || !other.chosen))
    ? " A scheme without a large point still trains, or has no result."
    : "";
  const figure = chart(
    "Learning rates, on validation images",
    `Each scheme is compared at its own best rate (the large point), chosen on validation images alone.${open}${beyond}`,
  );
  setTimeout(() => draw(figure, () => curves(sweep)));
  return figure;
}

function curves(sweep) {
  const groups = new Map(sweep.map((one) => [one.group, sweep.filter((other) => other.group === one.group)]));
  const known = (tried) => tried.filter((one) => one.validation_accuracy !== null);
  const traces = [...groups].map(([name, all], number) => {
    const { colour, marker, dash } = styleOf(number);
    const tried = known(all);
    return {
      name,
      x: tried.map((one) => one.rate),
      y: tried.map((one) => errorOf(one.validation_accuracy.mean)),
      text: tried.map((one) => `${name}: rate ${tick(one.rate)}, ${percent(one.validation_accuracy.mean)}`),
      hovertemplate: "%{text}<extra></extra>",
      mode: "lines+markers",
      line: { color: colour, dash },
      marker: { color: colour, symbol: marker, size: tried.map((one) => (one.chosen ? 15 : 7)) },
    };
  });
  const chosen = sweep.filter((one) => one.chosen);
  return {
    traces,
    layout: {
      xaxis: logAxis(
        "learning rate",
        sweep.map((one) => one.rate),
      ),
      yaxis: accuracyAxis(known(sweep).map((one) => errorOf(one.validation_accuracy.mean))),
    },
    legend: [...groups.keys()],
    table: {
      columns: ["group", "rate", "seeds", "validation accuracy, mean", "chosen"],
      rows: sweep.map((one) => [one.group, one.rate, one.n, one.validation_accuracy?.mean ?? null, one.chosen]),
    },
    summary: chosen.map((one) => `${one.group} at ${tick(one.rate)}`).join("; "),
  };
}
