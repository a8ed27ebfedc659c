"""The requests to a belief network as a generator, and its results. Values only; this file does not import torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.vocabulary import DEFAULT_SEED, MAX_SEED, DataName, Part

MAX_PICTURES = 640
Start = Literal["noise", "digits"]


class SampleOptions(Part):
    """How Gibbs chains run."""

    count: Annotated[int, Field(ge=1, le=64, description="Chains.")] = 10
    steps: Annotated[int, Field(ge=1, le=10_000, description="Gibbs steps of each chain.")] = 200
    every: Annotated[int, Field(ge=1, le=10_000, description="Steps between two pictures of a chain.")] = 20
    start: Annotated[
        Start,
        Field(description="noise: units of the top machine at random; digits: the first digits of the test set."),
    ] = "noise"
    seed: Annotated[int, Field(ge=0, le=MAX_SEED, description="Seed of the chains.")] = DEFAULT_SEED

    @model_validator(mode="after")
    def _not_too_many_pictures(self) -> Self:
        pictures = self.count * (2 + self.steps // self.every)
        if pictures > MAX_PICTURES:
            raise ValueError(
                f"{pictures} pictures are more than the limit of {MAX_PICTURES}; use a larger `every`, or fewer chains"
            )
        return self


class LikelihoodOptions(Part):
    """Of which machines the likelihood is, and how log Z is estimated where it cannot be summed."""

    machines: Annotated[
        int,
        Field(
            ge=1, le=256, description="The network of this many machines, from the images up; 1: the first one alone."
        ),
    ] = 1
    chains: Annotated[int, Field(ge=10, le=1000, description="Annealed chains.")] = 100
    temperatures: Annotated[int, Field(ge=100, le=20_000, description="Temperatures of each chain.")] = 3000
    seed: Annotated[int, Field(ge=0, le=MAX_SEED, description="Seed of the chains and of the binary images.")] = (
        DEFAULT_SEED
    )


class GeneratorFile(Part):
    """Where the machines of a pre-training are: a resume file, its SHA-256, the epoch that it is of, their sizes."""

    path: str
    sha256: str
    number: int
    sizes: tuple[int, ...]
    data: DataName


class Likelihood(Part):
    """How probable images are to the first machines of a deep belief network, in nats an image.

    Images are made binary: a pixel is on with its share of ink as the probability.
    """

    object: Literal["likelihood"] = "likelihood"
    machines: int = Field(description="How many machines, from the images up.")
    units: int = Field(description="Hidden units of the last of them.")
    is_bound: bool = Field(
        description="Whether log p is a lower bound, as it is for more than one machine: log p(h_(l-1) | h_l) - "
        "log q(h_l | h_(l-1)) summed over the layers below the last machine, plus log p of the last one."
    )
    log_z: float = Field(description="Logarithm of the last machine's partition function.")
    log_z_low: float | None = Field(
        description="95 % interval of log Z by the spread of the chains; null if they do not bound it. With few "
        "effective chains it is too narrow and log Z too low, so that log p is too high: take more temperatures."
    )
    log_z_high: float
    method: Literal["exact", "ais"] = Field(
        description="exact: summed over all states of at most 20 hidden units; ais: annealed importance sampling."
    )
    chains: int | None
    effective_chains: float | None = Field(description="(sum w)^2 / sum w^2 of the chains' weights; null if exact.")
    temperatures: int | None
    test_images: int
    test_log_likelihood: float = Field(description="Mean log p of test images.")
    train_images: int = Field(description="The first images of the training set.")
    train_log_likelihood: float = Field(description="Mean log p of as many training images.")


class RawFrame(Part):
    """The pictures of all chains after a number of steps: 784 bytes each, in base64, one after another."""

    step: int
    pictures: str


class RawSamples(Part):
    """The frames of all chains, and of digits the reconstructions."""

    frames: list[RawFrame]
    reconstructions: str | None
