/** Loss and accuracy over the epochs, a line for each group: the mean of its seeds, in a band from the lowest to the highest. */

import { element, fill } from "../lib/dom.js";
import { number, percent } from "../lib/format.js";
import { curvesOf } from "../lib/job_timeline.js";
import { faded, styleOf } from "../lib/palette.js";
import { accuracyAxis, chart, draw, errorOf, logAxis } from "./plotly_chart.js";
import { replayControl } from "./replay.js";

const BAND = "Line: mean of the seeds so far; band: lowest to highest.";

/** Return {node, show}; `show(history, members)` draws what there is, until `signal` aborts. */
export function curvesPanel(signal) {
  const loss = chart("Training loss", `Mean cross entropy of parts of each epoch. ${BAND}`);
  const tested = chart("Test accuracy", `On the test images after each epoch. ${BAND}`);
  const trained = chart(
    "Training accuracy",
    `On the training images during the epoch; not all of these jobs record the test accuracy of each. ${BAND}`,
  );
  const pretrained = chart(
    "Pre-training",
    `Mean squared reconstruction error of an image, machine after machine. ${BAND}`,
  );
  const nothing = element("p", { class: "faint" }, "No epoch has ended yet.");
  const place = element("div", { class: "charts" }, nothing);
  let last = null;
  const replay = replayControl(() => show(...last), signal);
  const show = (history, members) => {
    last = [history, members];
    const epochs = [...history.values()].flatMap((job) => job.epochs);
    const isTested = epochs.every((one) => one.test_accuracy !== null && one.test_accuracy !== undefined);
    const accuracy = isTested ? tested : trained;
    const hasPretraining = [...history.values()].some((job) => job.pretraining.length > 0);
    const wanted = [
      ...(hasPretraining ? [pretrained] : []),
      ...(epochs.length ? [loss, accuracy] : hasPretraining ? [] : [nothing]),
    ];
    if (wanted.some((one, index) => place.children[index] !== one) || place.children.length !== wanted.length)
      fill(place, wanted);
    if (hasPretraining) drawPretraining(pretrained, history, members);
    if (epochs.length === 0) return;
    replay.show(Math.max(...epochs.map((one) => one.epoch)));
    const cut = (points) => points.filter(([epoch]) => epoch <= replay.until());
    const losses = curvesOf(history, members, (job) => cut(job.epochs.flatMap(lossesOf)));
    const name = isTested ? "test_accuracy" : "train_accuracy";
    const accuracies = curvesOf(history, members, (job) => cut(job.epochs.map((one) => [one.epoch, one[name]])));
    draw(loss, () => figureOf(losses, logAxis("loss (nats an image)", valuesOf(losses)), { shown: number }));
    draw(accuracy, () =>
      figureOf(accuracies, accuracyAxis(valuesOf(accuracies).map(errorOf)), { shown: percent, placeOf: errorOf }),
    );
  };
  return { node: element("div", {}, place, replay.node), show };
}

/** Return the points of an epoch's loss: the means of its parts, each at its middle, or the mean of the epoch at its end. */
function lossesOf({ epoch, train_losses: parts, train_loss_mean: mean }) {
  if (!parts?.length) return [[epoch, mean]];
  return parts.map((loss, index) => [epoch - 1 + (index + 0.5) / parts.length, loss]);
}

function drawPretraining(figure, history, members) {
  const errors = curvesOf(history, members, (job) =>
    job.pretraining.map((one) => [one.number, one.reconstruction_error]),
  );
  draw(figure, () =>
    figureOf(errors, logAxis("reconstruction error", valuesOf(errors)), {
      shown: number,
      what: "epoch of pre-training",
    }),
  );
}

function valuesOf(curves) {
  return curves.flatMap((one) => [...one.low, ...one.high]);
}

function tableOf(curves, what) {
  return {
    columns: ["group", what, "mean", "lowest", "highest", "seeds"],
    rows: curves.flatMap(({ name, epochs, mean, low, high, seeds }) =>
      epochs.map((epoch, index) => [name, epoch, mean[index], low[index], high[index], seeds]),
    ),
  };
}

function figureOf(curves, yaxis, { shown, placeOf = (value) => value, what = "epoch" }) {
  const traces = curves.flatMap((curve, index) => {
    const { colour, dash, marker } = styleOf(index);
    const line = {
      x: curve.epochs,
      y: curve.mean.map(placeOf),
      text: curve.mean.map((value) => shown(value)),
      hovertemplate: "%{text}",
      name: curve.name,
      mode: curve.epochs.length > 40 ? "lines" : "lines+markers",
      line: { color: colour, dash },
      marker: { symbol: marker, size: 6, color: colour },
    };
    if (curve.seeds < 2) return [line];
    const band = {
      x: [...curve.epochs, ...[...curve.epochs].reverse()],
      y: [...curve.high, ...[...curve.low].reverse()].map(placeOf),
      fill: "toself",
      fillcolor: faded(colour, 0.18),
      line: { width: 0 },
      mode: "lines",
      hoverinfo: "skip",
    };
    return [band, line];
  });
  const last = curves
    .filter((one) => one.epochs.length)
    .map((one) => `${one.name} ${shown(one.mean.at(-1))} after ${what} ${Math.ceil(one.epochs.at(-1))}`);
  const most = Math.max(1, ...curves.flatMap((one) => one.epochs));
  return {
    traces,
    layout: {
      xaxis: { title: { text: what }, dtick: most <= 15 ? 1 : undefined, rangemode: "tozero" },
      yaxis,
      hovermode: "x",
    },
    legend: curves.map((one) => one.name),
    table: tableOf(curves, what),
    summary: last.join("; ") || "Nothing yet.",
  };
}
