"""Schemes whose weights are learned without labels before training."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, ClassVar, Literal, Self, final

from pydantic import Field, model_validator

from models.errors import InvalidSpec
from models.init.base import Generators, Scheme
from models.randomness import generator
from models.vocabulary import Real, Whole, YesNo

if TYPE_CHECKING:
    import torch

    from models.network.mlp import Network
    from models.pretrain.dbn import RbmSettings

WIDEST_LAYER = 4096
OUTPUT_STD = 0.01


@final
class Dbn(Scheme):
    """A deep belief network: every hidden layer is first trained as a restricted Boltzmann machine."""

    title: ClassVar[str] = "RBM pre-training (deep belief network)"
    formula: ClassVar[str] = (
        "W of layer l by CD-k on the hidden probabilities of layer l - 1, from N(0, weight_std^2); output layer "
        "N(0, 0.01^2)"
    )
    formula_tex: ClassVar[str] = (
        r"\Delta W = \eta\left(\langle v h\rangle_{\text{data}} - \langle v h\rangle_{k}\right), \quad"
        r" \text{layer by layer}"
    )
    source: ClassVar[str] = (
        "Hinton, Osindero, Teh 2006, A fast learning algorithm for deep belief nets; constants of Hinton 2010, A "
        "practical guide to training restricted Boltzmann machines, and of the code of Hinton, Salakhutdinov 2006"
    )
    scheme: Literal["dbn"] = "dbn"
    rbm_epochs: Whole = Field(10, ge=1, le=100, description="Passes over the training images for each layer.")
    k: Whole = Field(1, ge=1, le=20, description="Steps of Gibbs sampling (CD-k).")
    last_visible: Literal["sampled", "mean_field"] = Field(
        "sampled",
        description="Visible units of the last step, with k > 1: sampled, so that a large k approaches the gradient of "
        "the likelihood, or as probabilities. With k = 1 they are probabilities.",
    )
    lr: Real = Field(0.1, ge=0.001, le=0.5, description="Learning rate of weights and biases.")
    batch: Whole = Field(100, ge=10, le=1000, description="Images a step.")
    momentum_at_first: Real = Field(0.5, ge=0, lt=1, description="Momentum of the first `momentum_switch` epochs.")
    momentum: Real = Field(0.9, ge=0, lt=1, description="Momentum after them.")
    momentum_switch: Whole = Field(5, ge=0, le=100, description="Epochs of each layer with the first momentum.")
    weight_decay: Real = Field(2e-4, ge=0, le=1, description="L2 penalty on the weights, not on the biases.")
    weight_std: Real = Field(0.01, gt=0, le=1, description="Standard deviation of the weights before pre-training.")
    held_out: Whole = Field(
        1000,
        ge=0,
        le=10_000,
        description="Last training images that the machines do not learn, at most a twentieth; their free energy shows "
        "overfitting. 0: the machines learn all images.",
    )
    shuffled: YesNo = Field(
        False, description="Shuffle the learned weights within each layer, which keeps their distribution alone."
    )
    output_epochs: Whole = Field(
        0,
        ge=0,
        le=100,
        description="Passes over the training images after pre-training in which the output layer learns alone, by "
        "Adam with 1e-3; 0: all layers start to learn together.",
    )

    @model_validator(mode="after")
    def _biases_are_learned(self) -> Self:
        if self.bias != "zeros":
            raise ValueError("dbn's hidden biases come from pre-training; leave bias at zeros (the output layer's)")
        return self

    def misfit(self, sizes: tuple[int, ...], activation: str) -> str:
        """Return why machines with binary units cannot start the network, or an empty string."""
        if activation != "sigmoid":
            return f"dbn trains layers of binary units, whose activation is sigmoid, not {activation}; use sigmoid"
        if max(sizes) > WIDEST_LAYER:
            return (
                f"dbn keeps every layer's outputs for all images in memory; {max(sizes)} units are more than the limit "
                f"of {WIDEST_LAYER}, use 1 to {WIDEST_LAYER} in each hidden layer"
            )
        return ""

    def probe_images(self) -> int:
        """Return the least number of images for pre-training: a batch, and the held-out images."""
        return self.batch + self.batch // 19 + 1

    @property
    def settings(self) -> RbmSettings:
        """Return the settings by which the machines are trained."""
        from models.pretrain.dbn import RbmSettings

        return RbmSettings(**{field.name: getattr(self, field.name) for field in fields(RbmSettings)})

    def fill(self, network: Network, generators: Generators, images: torch.Tensor | None = None) -> None:
        """Pre-train all hidden layers on `images`, from first epoch to last, and fill the network.

        Raises `InvalidSpec` if there are fewer than `probe_images` images.
        """
        import torch

        from models.pretrain.dbn import Pretraining

        if images is None or len(images) < self.probe_images():
            raise InvalidSpec(f"dbn needs training images to learn from, at least {self.probe_images()}.")
        sizes = [layer.weight.shape[1] for layer in network.layers]
        pretraining = Pretraining(self.settings, sizes, generators.seed, images, torch.device("cpu"))
        while not pretraining.finished:
            pretraining.run_epoch()
        pretraining.fill(network)
        self.fill_output(network, generators)

    def fill_output(self, network: Network, generators: Generators) -> None:
        """Fill the output layer: weight N(0, 0.01^2), bias 0."""
        network.layers[-1].weight.normal_(0.0, OUTPUT_STD, generator=generators.weights)
        network.layers[-1].bias.zero_()

    def fill_before(self, network: Network, generators: Generators) -> None:
        """Fill the network as it is before pre-training: hidden weights N(0, weight_std^2), biases 0.

        The weights are those that each machine starts from, bit for bit.
        """
        for index, layer in enumerate(network.layers[:-1]):
            stream = generator(generators.seed, "rbm_weights", index)
            layer.weight.copy_(layer.weight.t().contiguous().normal_(0.0, self.weight_std, generator=stream).t())
            layer.bias.zero_()
        self.fill_output(network, generators)
