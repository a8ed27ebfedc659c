"""Train without the service: `python -m models train spec.json`; fetch MNIST: `python -m models fetch`.

`python -m models schemes` prints the table of initialization schemes; `previews` is the process in which the service
computes previews of schemes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from models.errors import FaninError
from models.init import markdown_table
from models.spec import TrainSpec, resolve_spec

NICENESS = 5
"""Lower priority than the API process, higher than the workers: a client waits for a preview."""

if TYPE_CHECKING:
    from models.data.mnist import DataSet
    from models.training.train import Training


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status. Each error is one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "fetch":
            _fetch(options.data_dir)
        elif options.command == "schemes":
            print(markdown_table())
        elif options.command == "previews":
            _previews(options.data_dir)
        else:
            _train(options)
    except ValidationError as error:
        for problem in error.errors():
            print(
                f"{getattr(options, 'spec', options.command)}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}",
                file=sys.stderr,
            )
        return 2
    except (FaninError, OSError, json.JSONDecodeError) as error:
        print(f"models: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", help="download MNIST with torchvision and check it")
    train = commands.add_parser("train", help="train one model; print its metrics and evaluation as JSON")
    train.add_argument("spec", type=Path, help="a JSON file: a TrainSpec, or a preset with overrides")
    train.add_argument("--out", type=Path, help="write the final weights here, as safetensors")
    train.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    train.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    commands.add_parser("schemes", help="print the table of initialization schemes in docs/reference/schemes.md")
    previews = commands.add_parser(
        "previews", help="read requests for previews, phase diagrams and samples as JSON lines; answer each"
    )
    for command in (fetch, train, previews):
        folder = Path(os.environ.get("FANIN_DATA_DIR") or "data")
        command.add_argument("--data-dir", type=Path, default=folder, help="data folder (FANIN_DATA_DIR, or ./data)")
    return parser


def _fetch(folder: Path) -> None:
    from models.data.mnist import fetch_mnist, is_here, read_mnist

    if not is_here(folder):
        fetch_mnist(folder)
    print(f"{read_mnist(folder).description} Checksums are right; the files are in {folder}.")


def _previews(folder: Path) -> None:
    os.nice(NICENESS)
    import torch

    from models.preview_server import serve_lines

    # One thread: while trainings keep every core busy, threads that wait for each other take ten times as long.
    torch.set_num_threads(1)
    serve_lines(folder)


def _train(options: argparse.Namespace) -> None:
    spec = resolve_spec(json.loads(options.spec.read_text()))

    import torch

    from models.data.mnist import load
    from models.training.train import train

    if options.threads:
        torch.set_num_threads(options.threads)
    name = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    data = load(spec.data, options.data_dir, fetch=True)
    print(data.description, flush=True)
    for training, metrics in train([spec], data, torch.device(name)):
        print(metrics[0].model_dump_json(exclude_none=True), flush=True)
        if training.finished:
            _report(spec, data, training, options.out)


def _report(spec: TrainSpec, data: DataSet, training: Training, out: Path | None) -> None:
    from models.checkpoint import CheckpointMetadata, encode, weights_sha256
    from models.evaluation.evaluate import evaluate

    network = training.network(0)
    print(evaluate(network, data).model_dump_json())
    digest = weights_sha256(network.to_weights())
    print(json.dumps({"weights_sha256": digest}))
    if out:
        metadata = CheckpointMetadata(
            spec=spec, epoch=training.epoch, final=True, data=data.name, data_sha256=data.sha256, weights_sha256=digest
        )
        out.write_bytes(encode(network.to_weights(), metadata))


if __name__ == "__main__":
    raise SystemExit(main())
