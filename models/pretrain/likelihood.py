"""How probable images are to a restricted Boltzmann machine: log Z by enumeration or by annealed importance sampling.

    log p(v) = -F(v) - log Z,  Z = sum_v exp -F(v) = sum_h exp(c.h) prod_i (1 + exp(b + W h)_i)

With at most `MAX_ENUMERATED` hidden units all their states are summed. Otherwise chains go from a machine without
weights, whose visible biases are those of the data's mean, to the machine itself, through

    p_t(v) ~ exp(((1 - t) b_0 + t b).v) prod_j (1 + exp t (c + v W)_j),  t = 0, ..., 1

and their weights w = prod_t p_t(v_t) / p_(t-1)(v_t) have the mean Z / Z_0, Z_0 = 2^m prod_i (1 + exp b_0i) (Neal 2001;
Salakhutdinov, Murray 2008). With few temperatures a few chains have nearly all the weight. The estimate of Z is then
too low more often than too high, and its interval too narrow, because it knows only the spread of the chains. The
effective number of chains, (sum w)^2 / sum w^2, shows it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from models.results import NORMAL_QUANTILE_975

if TYPE_CHECKING:
    from models.pretrain.rbm import RBM

MAX_ENUMERATED = 20
ENUMERATED_AT_ONCE = 4096
SCHEDULE = ((0.5, 0.035), (0.9, 0.275), (1.0, 0.69))
"""Temperatures up to each bound, as shares: 500, 4,000 and 10,000 of 14,500 (Salakhutdinov, Murray 2008)."""


class LogZ(NamedTuple):
    """log Z in nats with a 95 % interval; `low` is minus infinity if the weights' error exceeds their mean."""

    value: float
    low: float
    high: float
    method: Literal["exact", "ais"]
    effective_chains: float | None = None


def log_z(machine: RBM, base_visible_bias: Tensor, *, chains: int, temperatures: int, stream: torch.Generator) -> LogZ:
    """Return log Z of a machine: exact with at most `MAX_ENUMERATED` hidden units, else by `chains` annealed chains."""
    if machine.weight.shape[1] <= MAX_ENUMERATED:
        value = exact_log_z(machine)
        return LogZ(value, value, value, "exact")
    return annealed_log_z(machine, base_visible_bias, chains=chains, temperatures=temperatures, stream=stream)


def exact_log_z(machine: RBM) -> float:
    """Return log Z, summed over all hidden states; to 1e-4 nats, since products are in float32 and sums in float64."""
    hidden = machine.weight.shape[1]
    digits, parts = torch.arange(hidden), []
    for first in range(0, 2**hidden, ENUMERATED_AT_ONCE):
        numbers = torch.arange(first, min(first + ENUMERATED_AT_ONCE, 2**hidden))
        h = (numbers[:, None] >> digits & 1).float()
        inner = torch.nn.functional.softplus(torch.addmm(machine.visible_bias, h, machine.weight.t()))
        parts.append(torch.logsumexp((h @ machine.hidden_bias).double() + inner.sum(1, dtype=torch.float64), 0))
    return float(torch.logsumexp(torch.stack(parts), 0))


def annealed_log_z(
    machine: RBM, base_visible_bias: Tensor, *, chains: int, temperatures: int, stream: torch.Generator
) -> LogZ:
    """Return log Z by annealed importance sampling from the base machine with visible biases [n]."""
    visible, hidden = machine.weight.shape
    base, own = base_visible_bias, machine.visible_bias
    log_z_of_base = hidden * math.log(2) + float(torch.nn.functional.softplus(base.double()).sum())
    v = torch.bernoulli(base.sigmoid().expand(chains, visible), generator=stream)
    log_weights = torch.zeros(chains, dtype=torch.float64)
    at = 0.0
    inner = torch.addmm(machine.hidden_bias, v, machine.weight)
    for step in _temperatures(temperatures):
        log_weights += _log_of_ratio(v, inner, own - base, at, step)
        at = step
        h = torch.bernoulli((at * inner).sigmoid_(), generator=stream)
        drive = torch.addmm(own, h, machine.weight.t()).mul_(at).add_(base, alpha=1 - at)
        v = torch.bernoulli(drive.sigmoid_(), generator=stream)
        inner = torch.addmm(machine.hidden_bias, v, machine.weight)
    return _estimate(log_weights, log_z_of_base)


def _log_of_ratio(v: Tensor, inner: Tensor, bias_change: Tensor, before: float, after: float) -> Tensor:
    """Return log p_after(v) - log p_before(v) of each chain, unnormalized, float64 [chains]."""
    linear = (v @ bias_change).double() * (after - before)
    softplus = torch.nn.functional.softplus
    return linear + (softplus(after * inner) - softplus(before * inner)).sum(1, dtype=torch.float64)


def _estimate(log_weights: Tensor, log_z_of_base: float) -> LogZ:
    chains, largest = len(log_weights), float(log_weights.max())
    weights = (log_weights - largest).exp()
    mean, error = float(weights.mean()), float(weights.std()) / math.sqrt(chains)
    shift = largest + log_z_of_base
    low = mean - NORMAL_QUANTILE_975 * error
    return LogZ(
        shift + math.log(mean),
        shift + math.log(low) if low > 0 else -math.inf,
        shift + math.log(mean + NORMAL_QUANTILE_975 * error),
        "ais",
        float(weights.sum() ** 2 / weights.square().sum()),
    )


def _temperatures(count: int) -> list[float]:
    """Return about `count` rising temperatures, the last one 1, most of them near 1."""
    found, start = [], 0.0
    for end, share in SCHEDULE:
        some = max(1, round(count * share))
        found += [start + (end - start) * step / some for step in range(1, some + 1)]
        start = end
    return found


def pseudo_log_likelihood(machine: RBM, visible: Tensor, stream: torch.Generator) -> float:
    """Return an estimate of the mean over images of sum_i log p(v_i | the other v), in nats.

    n log sigmoid(F(v with one bit flipped) - F(v)), for one random bit of each image; pixels of at least a half count
    as on. It needs no Z, and rises as the machine learns.
    """
    on = (visible >= 0.5).float()
    places = torch.randint(on.shape[1], (len(on), 1), generator=stream, device=on.device)
    flipped = on.scatter(1, places, 1 - on.gather(1, places))
    gain = machine.free_energy(flipped) - machine.free_energy(on)
    return float(on.shape[1] * torch.nn.functional.logsigmoid(gain).mean())
