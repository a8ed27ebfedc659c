"""`TrainSpec`: the value that says how a model is trained.

It is the request body of `POST /jobs`, the JSON in a job's row, the argument of `models.training.train.train`, the
metadata of every checkpoint and the public description of a model. It is frozen and validated once; unknown fields are
refused. This file does not import torch.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from models.errors import InvalidSpec
from models.init import AnyScheme, OutputInit, initialize
from models.init.by_fans import XavierUniform
from models.init.pretrained import Dbn
from models.network.architecture import Architecture
from models.vocabulary import CLASSES, DEFAULT_SEED, MAX_SEED, DataChoice, Part, Precision, Real, Whole

if TYPE_CHECKING:
    from torch import Tensor

    from models.network.mlp import Network

STEP_WORK = 4e6  # the fixed cost of a step, in multiply-adds
OPTIMIZER_WORK = 40  # the cost of the optimizer for one parameter, in multiply-adds
MAX_SECONDS = 365 * 24 * 3600
FLOAT_BYTES = 4
MAX_ACTIVATIONS = 200_000_000  # of one batch over all layers; training keeps two to three floats for each

LrSchedule = Literal["constant", "linear", "cosine"]

TRAIN_IMAGES: dict[DataChoice, int] = {"auto": 60_000, "mnist": 60_000, "mnist_5k": 4_000}
"""Training images of each data set; `auto` is checked against the larger one, and again when it is resolved."""


class Adam(Part):
    """Adam (Kingma, Ba 2015) with torch's beta = (0.9, 0.999) and eps = 1e-8."""

    name: Literal["adam"] = "adam"
    lr: Real = Field(1e-3, gt=0, le=10, description="Learning rate.")
    weight_decay: Real = Field(0.0, ge=0, le=10, description="L2 penalty, added to the gradient of weights and biases.")


class SGD(Part):
    """Stochastic gradient descent with momentum, as `torch.optim.SGD` defines it."""

    name: Literal["sgd"] = "sgd"
    lr: Real = Field(0.1, gt=0, le=10, description="Learning rate.")
    momentum: Real = Field(0.0, ge=0, lt=1, description="Momentum.")
    weight_decay: Real = Field(0.0, ge=0, le=10, description="L2 penalty, added to the gradient of weights and biases.")


Optimizer = Annotated[Adam | SGD, Field(discriminator="name")]


class TrainSpec(Part):
    """How one model is initialized and trained."""

    spec_version: Literal[1] = Field(1, description="Version of this description.")
    architecture: Architecture = Field(Architecture(), description="The network.")
    init: AnyScheme = Field(XavierUniform(), description="The initialization scheme with its parameters.")
    output_init: OutputInit = Field(
        "same", description="How the output layer's weight starts: by the scheme, from N(0, 0.01^2), or 0."
    )
    optimizer: Optimizer = Field(Adam(), description="The optimizer with its parameters.")
    batch_size: Whole = Field(100, ge=1, le=60_000, description="Images a step.")
    drop_last: bool = Field(False, description="Leave out the last batch of an epoch if it is smaller than the others.")
    epochs: Whole = Field(
        15, ge=0, le=10_000, description="Passes over the training images; 0 only initializes and evaluates."
    )
    lr_schedule: LrSchedule = Field(
        "constant",
        description="How the learning rate falls with every step, from optimizer.lr after warm-up to 0 at the end: "
        "linear, or along half a cosine; constant: not at all.",
    )
    warmup_steps: Whole = Field(
        0, ge=0, le=1_000_000, description="Steps at first in which the learning rate rises evenly to optimizer.lr."
    )
    seed: Whole = Field(
        DEFAULT_SEED, ge=0, le=MAX_SEED, description="Seed of the first weights and of the order of images."
    )
    data: DataChoice = Field(
        "auto", description="auto: MNIST, or the 5,000 digits of mnist_5k where MNIST is not available."
    )
    validation_images: Whole = Field(
        0, ge=0, le=59_999, description="Images held out from the end of the training set and evaluated every epoch."
    )
    patience: Whole | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Training ends after this many epochs without a lower loss on the validation images; null: never.",
    )
    test_curve: bool = Field(
        False, description="Also record the test accuracy of every epoch (the last one is always)."
    )
    precision: Precision = Field(
        "float32",
        description="To what a GPU may round the inputs of matrix products, for speed: tf32 keeps 10 bits of the "
        "mantissa; bf16 keeps 7, and rounds results too. Weights stay in float32, and a CPU always uses float32. The "
        "job says what was used.",
    )
    max_seconds: Real | None = Field(
        None,
        gt=0,
        le=MAX_SECONDS,
        description="Seconds of training, of all attempts together, after which the job fails with the reason "
        "time-limit; its last checkpoint stays. null: no limit.",
    )
    diagnostics: bool = Field(
        True, description="Record statistics of every layer at the start and with every epoch, on 512 training images."
    )

    @property
    def shared_part(self) -> TrainSpec:
        """Return the part that must be equal for specs to be trained together: all but init, output_init and seed."""
        return self.model_copy(
            update={name: TrainSpec.model_fields[name].default for name in ("init", "output_init", "seed")}
        )

    @property
    def pretrains(self) -> bool:
        """Return whether the scheme pre-trains the network."""
        return isinstance(self.init, Dbn)

    def first_network(self, images: Tensor, labels: Tensor | None = None) -> Network:
        """Return the network that the scheme fills from the seed, after its pre-training if it has one.

        `images` uint8 [N, 784] and `labels` int64 [N] are those that the spec trains on. Raises `ValueError` if labels
        are missing for a scheme whose output layer learns before the others.
        """
        from models.network.mlp import Network

        network = Network.empty(self.architecture)
        initialize(network, self.init, self.seed, self.output_init, images)
        if isinstance(self.init, Dbn) and self.init.output_epochs:
            import torch

            from models.pretrain.output_layer import TrainingDigits, train_output_layer

            if labels is None:
                raise ValueError("dbn's output layer learns from labels; give those of the images")
            epochs, cpu = self.init.output_epochs, torch.device("cpu")
            train_output_layer(network, TrainingDigits(images, labels), epochs=epochs, seed=self.seed, device=cpu)
        return network

    @property
    def steps_per_epoch(self) -> int:
        """Return the steps of an epoch on the data set that the spec names (on the larger one, for `auto`)."""
        return _steps_per_epoch(self, TRAIN_IMAGES[self.data])

    @property
    def epoch_work(self) -> float:
        """Return an estimate of the cost of an epoch of training, in multiply-adds, for comparisons and sums.

        steps x (a fixed cost + parameters x (3 x batch_size + the optimizer)): a forward and two backward products.
        """
        of_step = STEP_WORK + self.architecture.parameter_count * (3 * self.batch_size + OPTIMIZER_WORK)
        return float(self.steps_per_epoch * of_step)

    @property
    def work(self) -> float:
        """Return the work of all epochs, and of pre-training with 3 + 2 k products a step."""
        images = TRAIN_IMAGES[self.data] - self.validation_images
        return self.epochs * self.epoch_work + self._pretraining_work(images)

    @property
    def memory_bytes(self) -> int:
        """Return an estimate of the memory of the training, without the data, with a third to spare.

        The step in torch took 21 bytes for a parameter, and 7 to 9 for a unit and image of a batch, where the kernel
        takes 16. Pre-training keeps what a hidden layer makes of all images.
        """
        of_step = 28 * self.architecture.parameter_count + 22 * self.batch_size * sum(self.architecture.sizes)
        return of_step + (6 * TRAIN_IMAGES[self.data] * max(self.architecture.hidden) if self.pretrains else 0)

    @property
    def checkpoint_bytes(self) -> int:
        """Return the size of all checkpoints: weights of every epoch, and two optimizer states of two values each."""
        return FLOAT_BYTES * self.architecture.parameter_count * (self.epochs + 1 + 2 * 2)

    def _pretraining_work(self, images: int) -> float:
        if not isinstance(self.init, Dbn):
            return 0.0
        dbn, sizes = self.init, self.architecture.sizes[:-1]
        weights = sum(fan_in * fan_out for fan_in, fan_out in pairwise(sizes))
        of_steps = STEP_WORK * (len(sizes) - 1) + weights * ((3 + 2 * dbn.k) * dbn.batch + OPTIMIZER_WORK)
        of_output = dbn.output_epochs * (images // 100) * (STEP_WORK + 3 * 100 * sizes[-1] * CLASSES)
        return float(dbn.rbm_epochs * (images // dbn.batch) * of_steps + of_output)

    @model_validator(mode="after")
    def _scheme_fits_the_network(self) -> Self:
        problem = self.init.misfit(self.architecture.sizes, self.architecture.activation)
        if self.pretrains and self.architecture.inputs == "standardized":
            problem = 'dbn reads pixels as probabilities, not standardized ones; use "inputs": "zero_to_one"'
        if problem:
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _fits_in_memory(self) -> Self:
        activations = self.batch_size * sum(self.architecture.sizes)
        if activations > MAX_ACTIVATIONS:
            raise ValueError(
                f"a batch of {self.batch_size} has {activations:,} activations in this network, more than the limit of "
                f"{MAX_ACTIVATIONS:,}; use a smaller batch_size"
            )
        return self

    @model_validator(mode="after")
    def _fits_the_data(self) -> Self:
        problem = misfit(self, TRAIN_IMAGES[self.data])
        if problem:
            raise ValueError(problem)
        return self


def misfit(spec: TrainSpec, train_images: int) -> str:
    """Return why `spec` cannot be trained on `train_images` images, or an empty string."""
    left = train_images - spec.validation_images
    if spec.patience is not None and spec.validation_images == 0:
        return "patience watches the loss on validation_images, of which there are none; hold some out"
    if left < 1:
        return (
            f"validation_images = {spec.validation_images} leaves nothing to train on; "
            f"the training set has {train_images} images, hold out fewer"
        )
    if spec.init.probe_images() > left:
        return (
            f"{spec.init.scheme} needs a batch of {spec.init.probe_images()} training images, of which there are "
            f"{left}; use a smaller init.batch"
        )
    if spec.drop_last and spec.batch_size > left:
        return (
            f"batch_size = {spec.batch_size} with drop_last drops every batch of the {left} training images; "
            f'use a batch of at most {left}, or "drop_last": false'
        )
    if spec.epochs > 0 and spec.warmup_steps > (steps := spec.epochs * _steps_per_epoch(spec, train_images)):
        return f"warmup_steps = {spec.warmup_steps} is more than the {steps} steps of the training"
    return ""


def _steps_per_epoch(spec: TrainSpec, train_images: int) -> int:
    images = train_images - spec.validation_images
    return images // spec.batch_size if spec.drop_last else -(-images // spec.batch_size)


PRESETS: dict[str, TrainSpec] = {
    "mnist_nn_xavier": TrainSpec(
        architecture=Architecture(hidden=(256, 256)),
        init=XavierUniform(bias="torch_default"),
        drop_last=True,
    ),
    "mnist_nn_deep": TrainSpec(
        architecture=Architecture(hidden=(512, 512, 512, 512)),
        init=XavierUniform(bias="torch_default"),
        drop_last=True,
    ),
}
"""The two notebooks of the course, torch's random biases included: ReLU, Adam 1e-3, batch 100, 15 epochs, seed 777."""

PresetName = Literal["mnist_nn_xavier", "mnist_nn_deep"]


class _PresetChoice(BaseModel):
    """A preset by name; every other field that is given replaces the preset's."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    preset: PresetName = Field(description="The preset to start from.")

    def resolved(self) -> TrainSpec:
        """Return the preset with the given fields replaced, each as a whole."""
        base = PRESETS[self.preset]
        overrides = {name: getattr(self, name) for name in self.model_fields_set if name in TrainSpec.model_fields}
        return TrainSpec.model_validate({name: getattr(base, name) for name in TrainSpec.model_fields} | overrides)


_overrides: dict[str, Any] = {
    name: (field.annotation if field.discriminator is None else Annotated[field.annotation, field], field)
    for name, field in TrainSpec.model_fields.items()
}
PresetSpec = create_model("PresetSpec", __base__=_PresetChoice, **_overrides)


def resolve_spec(request: object) -> TrainSpec:
    """Return the whole spec that a request describes: a preset with overrides, or a `TrainSpec`.

    An override of `init`, `optimizer` or `architecture` replaces that whole part. Raises `pydantic.ValidationError`,
    which names every wrong field, and `InvalidSpec` if the request is not a JSON object.
    """
    if not isinstance(request, dict):
        raise InvalidSpec("A spec is a JSON object.", 'For example {"preset": "mnist_nn_xavier"}.')
    if "preset" in request:
        choice = PresetSpec.model_validate(request)
        return choice.resolved()
    return TrainSpec.model_validate(request)
