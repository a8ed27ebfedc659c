"""Compute what needs torch and no training: previews, phase diagrams, distributions, samples of belief networks.

`serve_lines` does so for a process that must not load torch itself: it reads requests as JSON lines from standard input
and answers with JSON lines on standard output, until the input is closed.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import torch
from pydantic import BaseModel

from models.checkpoint import decode, read_checked
from models.data.mnist import DataSet, load
from models.data.training_images import training_images
from models.diagnostics.distributions import Distributions, WeightsFile
from models.diagnostics.histograms import layer_distributions
from models.diagnostics.measure import CPU, Probe, Start, diagnose
from models.diagnostics.phase import PhaseRequest
from models.diagnostics.phase_diagram import phase_diagram
from models.diagnostics.preview import BEFORE_PRETRAINING, Preview
from models.diagnostics.report import Diagnostics
from models.errors import FaninError, InvalidSpec
from models.generator.answers import likelihood, samples
from models.generator.requests import GeneratorFile, LikelihoodOptions, SampleOptions
from models.init import replace_output
from models.init.base import Generators
from models.init.pretrained import Dbn
from models.network.mlp import Network
from models.network.stack import NetworkStack
from models.spec import TrainSpec
from models.vocabulary import DataChoice

MAX_FAILURE_CHARACTERS = 500


def preview(spec: TrainSpec, data: DataSet) -> Preview:
    """Return the layer statistics of the network that `spec` starts from, as in a training's first record.

    A network that its scheme pre-trains is measured before that, and `note` says so. Raises `InvalidSpec` if there are
    too few images.
    """
    images = training_images(spec, data)
    scheme = spec.init
    if isinstance(scheme, Dbn):
        network, generators = Network.empty(spec.architecture), Generators.of(spec.seed)
        scheme.fill_before(network, generators)
        replace_output(network, spec.output_init, generators)
    else:
        network = spec.first_network(images)
    return Preview(
        spec=spec,
        data=data.name,
        note=BEFORE_PRETRAINING if isinstance(scheme, Dbn) else None,
        diagnostics=_measure_layers(network, spec, Probe.of(images, torch.tensor(data.train.labels[: len(images)]))),
    )


def _measure_layers(network: Network, spec: TrainSpec, probe: Probe) -> Diagnostics:
    start = Start(spec.init, spec.architecture, spec.output_init)
    return diagnose(network, probe, epoch=0, start=start, thorough=True)


def distributions(file: WeightsFile, data: DataSet) -> Distributions:
    """Return the distributions in the layers of a stored network. Raises `CheckpointDamaged`."""
    weights, metadata = decode(read_checked(file.path, file.sha256, f"The file of {file.model}"))
    images = training_images(metadata.spec, data)
    probe = Probe.of(images, torch.tensor(data.train.labels[: len(images)]))
    stack = NetworkStack.of([Network.of_weights(weights, metadata.spec.architecture)], CPU)
    layers = layer_distributions(stack, probe)
    return Distributions(model=file.model, epoch=metadata.epoch, images=len(probe.labels), layers=layers)


def serve_lines(data_dir: Path, requests: TextIO = sys.stdin, answers: TextIO = sys.stdout) -> None:
    """Write {"ready": true}; then answer each line with a line.

    A request is {"preview": TrainSpec}, {"phase": PhaseRequest}, {"distributions": WeightsFile}, or {"file":
    GeneratorFile} with {"samples": SampleOptions} or {"likelihood": LikelihoodOptions}.

    An answer is {"answer": ...}, or {"error": detail, "hint": ..., "is_spec": whether the spec is the cause}.
    {"failed": ...} stands for a fault of this program, whose traceback is on standard error.
    """
    kept: dict[str, DataSet] = {}

    def loaded(choice: DataChoice) -> DataSet:
        if "mnist" in kept and choice in ("auto", "mnist"):
            return kept["mnist"]
        data = load(choice, data_dir, fetch=False)
        return kept.setdefault(data.name, data)

    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in requests:
        try:
            answer = json.dumps({"answer": _computed(json.loads(line), loaded).model_dump(mode="json")})
        except FaninError as error:
            is_spec = isinstance(error, InvalidSpec)
            answer = json.dumps({"error": error.detail, "hint": error.hint, "is_spec": is_spec})
        except Exception as error:  # noqa: BLE001 - a fault must not end the process for the next request
            traceback.print_exc(file=sys.stderr)
            answer = json.dumps({"failed": f"{type(error).__name__}: {error}"[:MAX_FAILURE_CHARACTERS]})
        print(answer, file=answers, flush=True)


def _computed(request: dict[str, Any], loaded: Callable[[DataChoice], DataSet]) -> BaseModel:
    if "phase" in request:
        return phase_diagram(PhaseRequest.model_validate(request["phase"]))
    if "preview" in request:
        spec = TrainSpec.model_validate(request["preview"])
        return preview(spec, loaded(spec.data))
    if "distributions" in request:
        weights = WeightsFile.model_validate(request["distributions"])
        return distributions(weights, loaded(weights.data))
    file = GeneratorFile.model_validate(request["file"])
    if "samples" in request:
        return samples(file, SampleOptions.model_validate(request["samples"]), loaded(file.data))
    return likelihood(file, LikelihoodOptions.model_validate(request["likelihood"]), loaded(file.data))
