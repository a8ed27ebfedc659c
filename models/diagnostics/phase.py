"""The request and the result of an order-chaos diagram. Values only; this file does not import torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.vocabulary import Activation, Part, Real, Whole

MAX_SIDE = 61
Phase = Literal["ordered", "critical", "chaotic", "unbounded"]

SigmaW = Annotated[Real, Field(ge=0.01, le=10)]
SigmaB = Annotated[Real, Field(ge=0, le=10)]


class PhaseRequest(Part):
    """A grid of weight and bias scales, for one activation."""

    activation: Activation = Field("tanh", description="The activation of all layers.")
    sigma_w: tuple[SigmaW, ...] = Field(
        tuple(round(0.4 + 0.1 * step, 1) for step in range(37)),
        min_length=1,
        max_length=MAX_SIDE,
        description="Weight scales, sigma_w^2 = n Var(W); 0.4 to 4 by default.",
    )
    sigma_b: tuple[SigmaB, ...] = Field(
        tuple(round(0.05 * step, 2) for step in range(21)),
        min_length=1,
        max_length=MAX_SIDE,
        description="Standard deviations of the biases; 0 to 1 by default.",
    )
    width: Whole = Field(256, ge=1, le=8192, description="Units of a layer, for the places of the schemes.")


class SchemePlace(Part):
    """Where a scheme with its default parameters and biases stands, for layers of `width` units."""

    scheme: str
    sigma_w: float
    sigma_b: float


class CriticalPoint(Part):
    """A point of the line between order and chaos, where chi = 1."""

    sigma_w: float
    sigma_b: float
    q: float = Field(description="The fixed point q* there.")


class PhaseDiagram(Part):
    """Fixed points and depth scales of wide networks, by rows of `sigma_b` and columns of `sigma_w`.

    Null stands for a value that is infinite or does not exist.
    """

    object: Literal["phase_diagram"] = "phase_diagram"
    activation: Activation
    sigma_w: list[float]
    sigma_b: list[float]
    phase: list[list[Phase]] = Field(
        description="ordered: all images become one, or the signal dies (q* = 0); chaotic: like images part; critical: "
        "chi is 1 within 1e-4; unbounded: the signal grows without end."
    )
    q: list[list[float | None]] = Field(description="Mean square q* of z that layers reach from 1.")
    c: list[list[float | None]] = Field(
        description="Correlation c* of two images that layers reach from 0; null where q* = 0."
    )
    chi: list[list[float | None]] = Field(
        description="sigma_w^2 E phi'(sqrt(q*) Z)^2: by how much the square of a gradient changes in a layer."
    )
    xi_q: list[list[float | None]] = Field(description="Layers in which the signal's distance from q* falls to 1/e.")
    xi_c: list[list[float | None]] = Field(
        description="Layers in which the correlation's distance from c* falls to 1/e; networks train to a depth of a "
        "few xi_c (Schoenholz et al. 2017)."
    )
    critical_line: list[CriticalPoint] = Field(description="The line chi = 1 within the range of the grid.")
    schemes: list[SchemePlace] = Field(description="Schemes to which the theory applies.")
