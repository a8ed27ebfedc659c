"""The statistics of a network's layers, what theory predicts of them, and a verdict in words.

Values only; `models.diagnostics.measure` measures them. This file does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

DYING, EXPLODING = 1e-2, 1e2
MAX_UNITS_GONE = 0.5
LEAST_SHARE = 0.01
"""Of the signal that differs between images, and of 1 - their mean cosine."""
ROUNDING = 1e-12
"""Below this a share that differs is the rounding of float32, whose square is 1e-14."""


class LayerDiagnostics(BaseModel):
    """One layer z = W h + b, a = phi(z), on a fixed batch of training images.

    rms is the root mean square over images and units. Null stands for a value that is undefined, unknown or not finite.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    layer: int = Field(description="Number of the layer, from 1; the last one is the output layer, where a = z.")
    fan_in: int
    fan_out: int
    weight_mean: float | None
    weight_std: float | None
    weight_absmax: float | None
    bias_absmax: float | None
    weight_std_predicted: float | None = Field(description="By the scheme's formula; at the start only.")
    weight_variance_z: float | None = Field(
        description="(sample variance / formula - 1) in standard deviations; at the start, independent entries only."
    )
    z_mean: float | None
    z_std: float | None
    z_rms: float | None
    z_rms_predicted: float | None = Field(
        description="q_1 = Var(W) |x|^2, q_(l+1) = n Var(W) E phi(sqrt(q_l) Z)^2; rms = sqrt(q). At the start only."
    )
    z_share: float | None = Field(
        None,
        description="Share of the mean square of z that differs between images: sum over units of Var z over that of "
        "E z^2. 0: all images look the same to the layer. Shares below 1e-12 are rounding.",
    )
    z_cosine: float | None = Field(None, description="Mean cosine between the z of two different images.")
    z_cosine_predicted: float | None = Field(
        None,
        description="From that of the images, by the correlation map c_(l+1) = (n Var(W) E phi(u) phi(v) + Var b) / "
        "q_(l+1) for u, v ~ N(0, q_l) of correlation c_l. At the start only.",
    )
    local_ratio: float | None = Field(
        description="mean z^2 / (Var(W) |h|^2) of the first image; its expected value is 1 at any depth. Start only."
    )
    local_z: float | None = Field(
        description="local_ratio - 1 in standard deviations, sqrt((2 + (k - 3) sum h^4 / (sum h^2)^2) / m), where k is "
        "the kurtosis of the weights: chi-square with m degrees of freedom for Gaussian ones. Start only."
    )
    a_mean: float | None
    a_std: float | None
    a_rms: float | None
    a_q02: float | None = Field(description="Quantile: 2 % of the activations are less.")
    a_q50: float | None
    a_q98: float | None
    dead_fraction: float | None = Field(description="Share of ReLU units that are 0 on every image of the batch.")
    saturated_fraction: float | None = Field(
        description="Share of activations near their limits: past +-.95 of the limit (tanh, scaled_tanh, softsign), "
        "outside .05 to .95 (sigmoid)."
    )
    dz_rms: float | None = Field(description="Rms of the gradient of each image's own loss with respect to z, in nats.")
    dz_rms_predicted: float | None = Field(
        description="From the output layer's: E d_l^2 = E d_(l+1)^2 m Var(W_(l+1)) E phi'(sqrt(q_l) Z)^2. Start only."
    )
    weight_gradient_std: float | None = Field(description="Of the gradient of the batch's mean loss.")
    bias_gradient_std: float | None
    distinct_units: int = Field(
        description="Number of different rows of W. If they are few, rows within 1e-5 of each other count as one."
    )
    update_ratio: float | None = Field(description="|W - W before| / |W before|, since the previous record.")
    singular_min: float | None = Field(None, description="Least singular value of W; at the start and the end only.")
    singular_max: float | None = None
    jacobian_singular_mean: float | None = Field(
        None, description="Mean singular value of diag(phi'(z)) W at the first image; at the start and the end only."
    )


class JacobianSpectrum(BaseModel):
    """Singular values of d a_L / d a_1 at the first image, from the first hidden layer's activations to the last's.

    Values below 1e-8 of the largest are rounding. Mean square 1: lengths are kept on average. All 1: dynamical
    isometry, no direction grows or dies (Saxe et al. 2013, Pennington et al. 2017).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    least: float
    median: float
    largest: float
    mean_square: float


class Diagnostics(BaseModel):
    """All layers of a network at one moment."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epoch: int = Field(description="0: before training.")
    images: int = Field(description="Number of training images that were used.")
    loss: float | None = Field(description="Mean cross entropy on them, in nats an image.")
    gradient_norm: float | None = Field(description="Norm of the gradient of that loss with respect to all parameters.")
    jacobian: JacobianSpectrum | None = Field(
        None,
        description="At the start and the end only; null with one hidden layer, with layers of over 1,024 units, and "
        "where it overflows.",
    )
    verdict: str = Field(description='What hinders learning, the worst first, or "fine".')
    layers: list[LayerDiagnostics]


def verdict_on(layers: Sequence[LayerDiagnostics]) -> str:
    """Return in words what hinders learning, the worst first, or "fine".

    A ratio is of the rms of the last hidden layer to that of the first (signal), or of the gradient at the first layer
    to that at the output layer (gradient). A signal of any size is no use if it is the same for all images.
    """
    hidden = layers[:-1]
    problems = [*_symmetry(hidden), *_signal(hidden), *_alike(hidden), *_gradient(layers), *_units(hidden)]
    return "; ".join(problems) if problems else "fine"


def _symmetry(hidden: Sequence[LayerDiagnostics]) -> list[str]:
    same = [layer for layer in hidden if layer.distinct_units == 1 and layer.fan_out > 1]
    if not same:
        return []
    return [f"symmetry unbroken: the {same[0].fan_out} units of layer {same[0].layer} are one and the same"]


def _signal(hidden: Sequence[LayerDiagnostics]) -> list[str]:
    first, last = hidden[0].z_rms, hidden[-1].z_rms
    if first is None or last is None:
        return ["signal overflows: its size is not finite"]
    if first == 0 or last == 0:
        return [f"signal dies: none of it reaches layer {hidden[-1].layer}"]
    return _of_ratio("signal", last / first, f"layer {hidden[-1].layer}")


def _alike(hidden: Sequence[LayerDiagnostics]) -> list[str]:
    last = hidden[-1]
    if last.z_share is None or last.z_cosine is None or min(last.z_share, 1 - last.z_cosine) >= LEAST_SHARE:
        return []
    share = f"{last.z_share:.0e}" if last.z_share >= ROUNDING else f"less than {ROUNDING:.0e}"
    return [
        f"images look alike: in layer {last.layer} {share} of the signal differs between them, and their mean cosine "
        f"is {last.z_cosine:.3f}"
    ]


def _gradient(layers: Sequence[LayerDiagnostics]) -> list[str]:
    first, output = layers[0].dz_rms, layers[-1].dz_rms
    if output is None or output == 0:
        return []
    if first is None:
        return ["gradient explodes: it overflows on its way to layer 1"]
    if first == 0:
        return ["gradient dies: none of it reaches layer 1"]
    return _of_ratio("gradient", first / output, "layer 1")


def _of_ratio(what: str, ratio: float, where: str) -> list[str]:
    if ratio < DYING:
        return [f"{what} dies: {ratio:.0e} of it reaches {where}"]
    return [f"{what} explodes: {ratio:.0e} times of it reach {where}"] if ratio > EXPLODING else []


def _units(hidden: Sequence[LayerDiagnostics]) -> list[str]:
    problems = []
    for what, shares in (
        ("dead units", [(hidden_layer.dead_fraction, hidden_layer.layer) for hidden_layer in hidden]),
        ("saturated", [(hidden_layer.saturated_fraction, hidden_layer.layer) for hidden_layer in hidden]),
    ):
        worst = max(((share, layer) for share, layer in shares if share is not None), default=(0.0, 0))
        if worst[0] > MAX_UNITS_GONE:
            problems.append(f"{what}: {worst[0]:.0%} of layer {worst[1]}")
    return problems
