/** Loss and accuracy over the epochs, a line for each group: the mean of its seeds, in a band from the lowest to the highest. */

import { accuracyAxis, chart, draw, errorOf, logAxis } from "./charts.js";
import { element } from "./dom.js";
import { number, percent } from "./format.js";
import { faded, styleOf } from "./palette.js";
import { curvesOf } from "./run_history.js";

/** Return {node, show}; `show(history, members)` draws what there is. */
export function curvesPanel() {
    const loss = chart("Training loss", "Mean cross entropy of an epoch. Line: mean of the seeds; band: from the lowest to the highest seed.");
    const accuracy = chart("Accuracy", "On the test images after each epoch where the job records it, else on the training images during it.");
    const show = (history, members) => {
        const losses = curvesOf(history, members, (one) => one.train_loss_mean);
        const accuracies = curvesOf(history, members, (one) => one.test_accuracy ?? one.train_accuracy);
        draw(loss, () => figureOf(losses, logAxis("loss (nats an image)", losses.flatMap((one) => [...one.low, ...one.high])), number));
        draw(accuracy, () => figureOf(accuracies, accuracyAxis(), percent, errorOf));
    };
    return { node: element("div", { class: "charts" }, loss, accuracy), show };
}

function figureOf(curves, yaxis, shown, placeOf = (value) => value) {
    const traces = curves.flatMap((curve, index) => {
        const { colour, dash, marker } = styleOf(index);
        const line = {
            x: curve.epochs,
            y: curve.mean.map(placeOf),
            text: curve.mean.map((value) => shown(value)),
            hovertemplate: "%{text}",
            name: curve.name,
            legendgroup: curve.name,
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
            legendgroup: curve.name,
            showlegend: false,
            hoverinfo: "skip",
        };
        return [band, line];
    });
    const last = curves.filter((one) => one.epochs.length).map((one) => `${one.name} ${shown(one.mean.at(-1))} after epoch ${one.epochs.at(-1)}`);
    const most = Math.max(1, ...curves.flatMap((one) => one.epochs));
    return {
        traces,
        layout: { xaxis: { title: { text: "epoch" }, dtick: most <= 15 ? 1 : undefined, rangemode: "tozero" }, yaxis, hovermode: "x" },
        summary: last.join("; ") || "Nothing yet.",
    };
}
