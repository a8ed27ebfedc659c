"""Answers as HTML for notebooks: no scripts, no styles but inline ones, text in the colours of the notebook."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from fanin.answers import Comparison, Diagnostics, Experiment, JobWithMetrics, MeanInterval, Model, OneAnswer

BLUE, ORANGE = "#0072b2", "#d55e00"
CURVE_WIDTH, CURVE_HEIGHT = 320, 90
CELL = 14
MAX_ROWS = 50
DRAWN_DECADES = 6.0
TABLE = "border-collapse:collapse"
CELL_STYLE = "padding:2px 10px 2px 0;text-align:left"


def job_html(job: JobWithMetrics) -> str:
    """Return a job: its state, numbers, what came of it, and the curves of loss and accuracy."""
    data = job.to_dict()
    scheme, network = job.spec.init.scheme, network_in_words(job.spec.architecture.to_dict())
    name = f" {escape(job.name)}" if job.name else ""
    lines = [
        f"<b>Job</b> <code>{escape(job.id)}</code>{name}: <b>{escape(job.state)}</b>",
        escape(f"{scheme}, {network}, epoch {job.epoch} of {job.spec.epochs}, seed {job.spec.seed}"),
    ]
    if job.accuracy is not None:
        lines.append(f"accuracy <b>{job.accuracy:.2%}</b>")
    outcome = data.get("outcome")
    if outcome:
        lines.append(escape(f"{outcome['kind'].replace('_', ' ')}: {outcome['reason']}"))
    if job.error is not None:
        lines.append(f"<span style='color:{ORANGE}'>{escape(job.error.detail)}</span>")
    metrics = data.get("metrics") or []
    return "<div>" + "<br>".join(lines) + _curves(metrics) + "</div>"


def _curves(metrics: Sequence[dict[str, Any]]) -> str:
    if not metrics:
        return ""
    losses = [value for epoch in metrics for value in epoch.get("train_losses") or [epoch["train_loss_mean"]]]
    of_validation = [epoch["validation_accuracy"] for epoch in metrics if epoch.get("validation_accuracy") is not None]
    right = of_validation or [epoch["train_accuracy"] for epoch in metrics]
    what = "validation accuracy" if of_validation else "training accuracy"
    return (
        "<div style='display:flex;gap:16px;flex-wrap:wrap'>"
        + _curve("training loss (nats)", losses, BLUE)
        + _curve(what, right, ORANGE)
        + "</div>"
    )


def _curve(title: str, values: Sequence[float], colour: str) -> str:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    wide, tall = CURVE_WIDTH - 8, CURVE_HEIGHT - 8
    xs = [4 + wide * number / max(1, len(finite) - 1) for number in range(len(finite))]
    ys = [4 + tall * (high - value) / ((high - low) or 1.0) for value in finite]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    line = f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='2'/>"
    return _figure(line, (CURVE_WIDTH, CURVE_HEIGHT), f"{title}: from {finite[0]:.4g} to {finite[-1]:.4g}")


def _figure(drawn: str, size: tuple[int, int], said: str) -> str:
    """Return a drawing with its words below, which screen readers have too."""
    drawing = f"<svg width='{size[0]}' height='{size[1]}' role='img' aria-label='{escape(said)}'>{drawn}</svg>"
    return (
        f"<figure style='margin:4px 0'>{drawing}<figcaption style='font-size:85%'>{escape(said)}</figcaption></figure>"
    )


def experiment_html(experiment: Experiment) -> str:
    """Return an experiment: how many members are in each state, its verdict, and its members."""
    states = ", ".join(f"{count} {state}" for state, count in experiment.states.items() if count)
    head = f"<b>Experiment</b> <code>{escape(experiment.id)}</code> {escape(experiment.name)}: {escape(states)}"
    verdict = experiment.verdict
    if verdict is not None:
        holds = {True: "holds", False: "does not hold", None: "is undecided"}[verdict.holds]
        head += f"<br>The claim <b>{holds}</b>: {escape(str(verdict.measured or verdict.reason))}"
    rows = [
        [member.name, str(member.seed), member.state, "" if member.accuracy is None else f"{member.accuracy:.2%}"]
        for member in experiment.members
    ]
    return f"<div>{head}{table(['group', 'seed', 'state', 'accuracy'], rows)}</div>"


def comparison_html(comparison: Comparison) -> str:
    """Return a comparison: the groups with their intervals drawn to scale, and the verdict on each pair."""
    ends = [
        value
        for group in comparison.groups
        for value in (group.accuracy.low, group.accuracy.high, group.accuracy.mean)
        if value is not None
    ]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    rows = [
        [
            escape(group.name),
            str(group.n),
            escape(interval_in_words(group.accuracy)),
            _interval(group.accuracy, low, high),
        ]
        for group in comparison.groups
    ]
    groups = table(["group", "seeds", "accuracy, 95 % interval", ""], rows, is_escaped=True)
    pairs = "".join(f"<li>{escape(pair.verdict)}</li>" for pair in comparison.pairs[:MAX_ROWS])
    more = len(comparison.pairs) - MAX_ROWS
    left = f"<li>and {more} more in <code>pairs</code></li>" if more > 0 else ""
    of = f"On {comparison.n_images:,} images of {escape(str(comparison.evaluated_on))}." if comparison.n_images else ""
    return f"<div>{of}{groups}<ul>{pairs}{left}</ul></div>"


def interval_in_words(value: MeanInterval) -> str:
    """Return a mean with its interval: 98.05 % (97.91 % to 98.19 %)."""
    if value.low is None or value.high is None:
        return f"{value.mean:.2%}"
    return f"{value.mean:.2%} ({value.low:.2%} to {value.high:.2%})"


def _interval(value: MeanInterval, low: float, high: float) -> str:
    span = (high - low) or 1.0

    def x(number: float) -> float:
        return 5 + 190 * (number - low) / span

    line = ""
    if value.low is not None and value.high is not None:
        ends = f"x1='{x(value.low):.1f}' x2='{x(value.high):.1f}' y1='8' y2='8'"
        line = f"<line {ends} stroke='{BLUE}' stroke-width='2'/>"
    dot = f"<circle cx='{x(value.mean):.1f}' cy='8' r='4' fill='{BLUE}'/>"
    return f"<svg width='200' height='16' aria-hidden='true'>{line}{dot}</svg>"


def diagnostics_html(records: Sequence[Diagnostics], measure: str = "a_rms") -> str:
    """Return a measure of every layer (rows) at every recorded epoch (columns) as a heat map with a logarithmic scale.

    Darker is larger. Zero and what is not finite are left blank, and named in the cell's title.
    """
    if not records:
        return "<div>No records: the spec has diagnostics off.</div>"
    depth = len(records[0].layers)
    values = [[getattr(record.layers[layer], measure) for record in records] for layer in range(depth)]
    logs = [math.log10(value) for row in values for value in row if value and value > 0]
    high = max(logs, default=0.0)
    low = max(min(logs, default=0.0), high - DRAWN_DECADES)
    cells = []
    for layer, row in enumerate(values):
        cells.append(f"<text x='0' y='{CELL * layer + 11}' font-size='11' fill='currentColor'>layer {layer + 1}</text>")
        for column, value in enumerate(row):
            said = f"layer {layer + 1}, epoch {records[column].epoch}: {_said(value)}"
            place = f"x='{60 + CELL * column}' y='{CELL * layer}' width='{CELL - 1}' height='{CELL - 1}'"
            shade = f"fill='{BLUE}' fill-opacity='{_opacity(value, low, high):.2f}'"
            cells.append(f"<rect {place} {shade}><title>{escape(said)}</title></rect>")
    scale = f"{measure} from {10**low:.2g} (light) to {10**high:.2g} (dark)"
    said = f"{scale} in {depth} layers, epochs {records[0].epoch} to {records[-1].epoch}"
    drawing = _figure("".join(cells), (60 + CELL * len(records), CELL * depth), said)
    return f"{drawing}<p>{escape(records[-1].verdict)}</p>"


def _said(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"


def _opacity(value: float | None, low: float, high: float) -> float:
    """Return the opacity of a cell: 0 of nothing, .1 to 1 from the smallest to the largest, by logarithms."""
    if not value or value < 0:
        return 0.0
    share = (math.log10(value) - low) / ((high - low) or 1.0)
    return 0.1 + 0.9 * min(1.0, max(0.0, share))


def prediction_html(answer: OneAnswer, picture: bytes | None) -> str:
    """Return a prediction: the picture beside ten bars, and what may be wrong with it."""
    image = ""
    if picture is not None:
        kind = "png" if picture.startswith(b"\x89PNG") else "jpeg" if picture.startswith(b"\xff\xd8") else "*"
        source = f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
        image = f"<img src='{source}' alt='the picture' style='width:140px;image-rendering:pixelated;background:#000'>"
    bars = "".join(_bar(digit, share, digit == answer.label) for digit, share in enumerate(answer.probabilities or []))
    warned = "".join(f"<li>{escape(one.detail)}</li>" for one in answer.warnings or [])
    who = f"<small>says {escape(answer.model.scheme)} <code>{escape(answer.model.id)}</code></small>"
    label = f"<b style='font-size:150%'>{escape(str(answer.label))}</b>"
    said = f"<div>{label} {who}<table style='{TABLE}'>{bars}</table></div>"
    notes = f"<ul>{warned}</ul>" if warned else ""
    return f"<div style='display:flex;gap:16px;align-items:center'>{image}{said}</div>{notes}"


def _bar(digit: int, share: float, is_answer: bool) -> str:
    name = f"<b>{digit}</b>" if is_answer else str(digit)
    rect = f"<rect width='{200 * share:.1f}' height='11' fill='{ORANGE if is_answer else BLUE}'/>"
    bar = f"<svg width='200' height='11' aria-hidden='true'>{rect}</svg>"
    return (
        f"<tr><td style='padding-right:6px'>{name}</td><td>{bar}</td><td style='padding-left:6px'>{share:.1%}</td></tr>"
    )


def model_html(model: Model) -> str:
    """Return a model: what it is, and how good."""
    spec, accuracy = model.spec, "not evaluated"
    if model.accuracy is not None:
        accuracy = f"accuracy <b>{model.accuracy:.2%}</b> on {escape(str(model.evaluated_on))}"
    network = network_in_words(spec.architecture.to_dict())
    about = escape(f"{spec.init.scheme}, {network}, {model.parameter_count:,} parameters")
    name = f"<b>Model</b> <code>{escape(model.id)}</code>, epoch {escape(str(model.epoch))}"
    return f"<div>{name}<br>{about}<br>{accuracy}</div>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, is_escaped: bool = False) -> str:
    """Return a table of texts, of at most 50 rows."""
    rows = list(rows)
    first = "".join(f"<th style='{CELL_STYLE}'>{escape(head)}</th>" for head in heads)
    body = "".join(
        "<tr>"
        + "".join(f"<td style='{CELL_STYLE}'>{cell if is_escaped else escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows[:MAX_ROWS]
    )
    more = f"<p>and {len(rows) - MAX_ROWS} more</p>" if len(rows) > MAX_ROWS else ""
    return f"<table style='{TABLE}'><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table>{more}"


def network_in_words(architecture: Mapping[str, Any]) -> str:
    """Return a network: its layers, its activation but for ReLU, and what it receives but for pixels from 0 to 1."""
    words = [layers_in_words(architecture["hidden"])]
    words += [architecture["activation"]] if architecture.get("activation", "relu") != "relu" else []
    words += ["standardized inputs"] if architecture.get("inputs") == "standardized" else []
    return ", ".join(words)


def layers_in_words(hidden: Sequence[int]) -> str:
    """Return the layers of a network: 784-256-256-10, or 784-30 x 100-10."""
    if len(hidden) > 4 and len(set(hidden)) == 1:
        return f"784-{len(hidden)} x {hidden[0]}-10"
    return "-".join(str(width) for width in (784, *hidden, 10))
