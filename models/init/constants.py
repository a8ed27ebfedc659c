"""Deterministic schemes: zeros, one number, the identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self, final

from pydantic import Field, model_validator

from models.init.base import Scheme
from models.vocabulary import Real, YesNo

if TYPE_CHECKING:
    import torch


class _EqualUnits(Scheme):
    """Schemes that start all units of a layer alike, so that only random biases could make them differ."""

    keeps_signal_theory: ClassVar[bool] = False
    break_symmetry_by_bias: YesNo = Field(
        False, description="Allow random biases, which make units differ, so that no symmetry is shown."
    )

    @model_validator(mode="after")
    def _random_bias_is_asked_for(self) -> Self:
        if self.draws_biases and not self.break_symmetry_by_bias:
            raise ValueError(
                f"{self.scheme} with random biases does not show symmetry: the biases make the units differ and the "
                'network learns; use "bias": "zeros", or allow it with "break_symmetry_by_bias": true'
            )
        return self

    def weight_variance(self, fan_in: int, fan_out: int, activation: str) -> float:
        """Return 0."""
        return 0.0


@final
class Zeros(_EqualUnits):
    """Every weight is 0."""

    title: ClassVar[str] = "All zeros"
    formula: ClassVar[str] = "W = 0"
    formula_tex: ClassVar[str] = r"W_{ij} = 0"
    source: ClassVar[str] = (
        "The counter-example of every course. With ReLU or tanh and zero biases only the output bias has a "
        "gradient; with sigmoid all parameters move, but the units of a layer stay equal."
    )
    scheme: Literal["zeros"] = "zeros"

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Set W = 0."""
        weight.zero_()


@final
class Constant(_EqualUnits):
    """Every weight is the same number."""

    title: ClassVar[str] = "Constant"
    formula: ClassVar[str] = "W = value"
    formula_tex: ClassVar[str] = r"W_{ij} = c"
    source: ClassVar[str] = (
        "Symmetry: the units of a layer get equal gradients and stay one unit, whatever the width "
        "(Goodfellow, Bengio, Courville 2016, Deep Learning, section 8.4)."
    )
    scheme: Literal["constant"] = "constant"
    value: Real = Field(0.01, ge=-100, le=100, description="The weight c.")

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Set W = value."""
        weight.fill_(self.value)


@final
class Identity(Scheme):
    """Ones on the diagonal, zeros elsewhere: a layer starts by passing its inputs on."""

    title: ClassVar[str] = "Identity"
    formula: ClassVar[str] = "W = g I; units beyond the diagonal start at 0"
    formula_tex: ClassVar[str] = r"W_{ij} = g\,\delta_{ij}"
    source: ClassVar[str] = (
        "Le, Jaitly, Hinton 2015, A simple way to initialize recurrent networks of rectified linear units"
    )
    keeps_signal_theory: ClassVar[bool] = False
    scheme: Literal["identity"] = "identity"
    gain: Real = Field(1.0, gt=0, le=10, description="Factor g, 0 < g <= 10.")

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Set W = g I, cropped or padded with zeros where the layer is not square."""
        from torch.nn.init import eye_

        eye_(weight)
        weight.mul_(self.gain)
