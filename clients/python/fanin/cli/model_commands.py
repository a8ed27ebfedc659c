"""The commands on models, experiments and schemes: predict, models, download, experiments, compare, schemes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fanin import Client, Prediction
from fanin.cli.arguments import count, fields, labels, listed_labels, rates, seeds
from fanin.cli.output import Output
from fanin.cli.specs import completed
from fanin.html import network_in_words
from fanin.terminal import drawn_digit

FAILED = 1
HELD_OUT, HELD_OUT_OF_5K = 10_000, 1000
"""Validation images on which rates are chosen, unless `--set validation_images` says how many."""


def add_to(commands: Any) -> None:
    """Add the commands to the parser."""
    predict = commands("predict", _predict, "read the digit in pictures, and draw what the network saw")
    predict.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="PNG, JPEG, WebP, ..., or .npy")
    predict.add_argument("--model", default="best", help="best (default), latest, an alias, a job, or JOB@EPOCH")
    predict.add_argument(
        "--fit", action="store_true", help="a photograph or a drawing: find, scale and centre the digit"
    )
    models = commands("models", _models, "list models, the newest first")
    models.add_argument("--limit", type=count, default=20, help="how many (default: 20)")
    download = commands("download", _download, "write the weights of a model to a file")
    download.add_argument("model", help="best, latest, an alias, a job, or JOB@EPOCH")
    download.add_argument(
        "--format", choices=["safetensors", "npz", "onnx"], help="default: that of the file's name, else safetensors"
    )
    download.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: MODEL.FORMAT")
    experiments = commands("experiments", _experiments, "list experiments, the newest first")
    experiments.add_argument("--label", action="append", help="only those with this label: KEY:VALUE or KEY")
    experiments.add_argument("--limit", type=count, default=20, help="how many (default: 20)")
    compare = commands("compare", _compare, "compare schemes: of an experiment, or of a new one that is trained first")
    compare.add_argument("what", nargs="+", metavar="EXPERIMENT|SCHEME", help="exp_..., or names of schemes to train")
    compare.add_argument(
        "--seeds", type=seeds, default=[0, 1, 2], help="seeds of a new one: 0,1,2 or 0-4 (default: 0-2)"
    )
    compare.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="fields of all its members")
    compare.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="labels of a new one")
    compare.add_argument(
        "--rates",
        type=rates,
        help="learning rates 0.01,0.03 or auto (seven): each scheme is compared at its own best, chosen on 10,000 "
        "validation images (of mnist_5k 1,000), or as many as --set validation_images says",
    )
    compare.add_argument(
        "--refine",
        type=count,
        default=0,
        metavar="TIMES",
        help="then try two rates around each best one, so many times",
    )
    compare.add_argument("--baseline", help="test each group against this one instead of all pairs")
    commands("schemes", _schemes, "list the initialization schemes with their formulas")


def _predict(options: argparse.Namespace, client: Client, output: Output) -> int:
    answers = []
    for picture in options.pictures:
        answer = client.predict(picture, options.model, fit=options.fit)
        answers.append({"file": str(picture), **answer.to_dict()})
        if not output.is_json:
            output.write(_drawn(picture, answer, client))
    if output.is_json:
        output.show(answers, "")
    return 0


def _drawn(picture: Path, answer: Prediction, client: Client) -> str:
    rows = answer.seen
    if rows is None:  # not fitted: the service says what its network received
        levels = client.models.path(answer.model.id, picture).layers[0].activations
        rows = [[round(255 * value) for value in levels[28 * row : 28 * row + 28]] for row in range(28)]
    probabilities = answer.probabilities or []
    warnings = "".join(f"\n{picture}: {one.detail}" for one in answer.warnings or [])
    head = f"{picture}: {answer.label}, {answer.probability:.1%} ({answer.model.scheme}, {answer.model.id})"
    return f"{head}\n{drawn_digit(rows, probabilities, answer.label)}{warnings}"


def _models(options: argparse.Namespace, client: Client, output: Output) -> int:
    found = client.models.list(limit=options.limit).collect()
    rows = [
        [
            model.id,
            model.spec.init.scheme,
            network_in_words(model.spec.architecture.to_dict()),
            f"{model.epoch}{'' if model.final else ' (not final)'}",
            "" if model.accuracy is None else f"{model.accuracy:.2%}",
        ]
        for model in found
    ]
    heads = ["id", "scheme", "network", "epoch", "accuracy"]
    output.show_table([model.to_dict() for model in found], heads, rows, "There is no model yet: fanin submit --wait")
    return 0


def _download(options: argparse.Namespace, client: Client, output: Output) -> int:
    model = client.models.get(options.model)
    target = options.output or Path(f"{model.checkpoint}.{options.format or 'safetensors'}")
    file = client.models.download(model.checkpoint, target, options.format)
    size = file.stat().st_size
    output.show({"file": str(file), "model": model.checkpoint, "bytes": size}, f"{file}: {size:,} bytes")
    return 0


def _experiments(options: argparse.Namespace, client: Client, output: Output) -> int:
    found = client.experiments.list(label=listed_labels(options.label), limit=options.limit).collect()
    rows = [
        [one.id, one.name, ", ".join(f"{count} {state}" for state, count in one.states.items() if count)]
        for one in found
    ]
    output.show_table([one.to_dict() for one in found], ["id", "name", "members"], rows, "There are no experiments.")
    return 0


def _compare(options: argparse.Namespace, client: Client, output: Output) -> int:
    known = [name for name in options.what if name.startswith("exp_")]
    if known and len(options.what) > 1:
        raise argparse.ArgumentTypeError("Name one experiment, or schemes to train, not both.")
    if known:
        experiment = client.experiments.get(known[0])
        if options.refine and not experiment.to_dict()["request"].get("rates"):
            raise argparse.ArgumentTypeError(f"{experiment.id} tries no learning rates: nothing is there to --refine.")
    else:
        if options.refine and options.rates is None:
            raise argparse.ArgumentTypeError("--refine needs --rates, such as --rates auto.")
        if options.baseline is not None and options.baseline not in options.what:
            raise argparse.ArgumentTypeError(f"The baseline {options.baseline!r} is none of {', '.join(options.what)}.")
        base = completed(client, fields(options.set))
        if options.rates is not None:
            base.setdefault("validation_images", HELD_OUT_OF_5K if base.get("data") == "mnist_5k" else HELD_OUT)
        experiment = client.experiments.create(
            base=base,
            schemes=options.what,
            seeds=options.seeds,
            rates=options.rates,
            labels=labels(options.label),
        )
        more = 2 * len(options.what) * len(options.seeds) * options.refine
        rest = f", and at most {more} more to refine the rates" if more else ""
        output.note(f"{experiment.id}: {len(experiment.members)} trainings{rest}. Later: fanin compare {experiment.id}")
        experiment = experiment.wait(progress=not output.is_json)
    if options.refine:
        experiment = experiment.refined(options.refine, progress=not output.is_json)
    comparison = experiment.comparison(baseline=options.baseline)
    output.show(comparison.to_dict(), str(comparison))
    return 0 if experiment.states.get("succeeded") == len(experiment.members) else FAILED


def _schemes(_options: argparse.Namespace, client: Client, output: Output) -> int:
    found = list(client.schemes.list())
    rows = [[one.name, one.formula, one.source] for one in found]
    output.show_table([one.to_dict() for one in found], ["scheme", "formula", "source"], rows, "There are no schemes.")
    return 0
