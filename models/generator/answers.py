"""Answer requests to a stored pre-training: samples of its belief network, the likelihood of images."""

from __future__ import annotations

import base64
import math

import torch
from torch import Tensor

from models.checkpoint import decode_resume, read_checked
from models.data.mnist import DataSet
from models.generator.belief_net import BeliefNet
from models.generator.requests import (
    GeneratorFile,
    Likelihood,
    LikelihoodOptions,
    RawFrame,
    RawSamples,
    SampleOptions,
)
from models.pretrain.likelihood import log_z
from models.vocabulary import PIXELS

JUDGED_IMAGES = 10_000
MAX_BASE_BIAS = 6.0


def samples(file: GeneratorFile, options: SampleOptions, data: DataSet) -> RawSamples:
    """Return the pictures of Gibbs chains. Raises `CheckpointDamaged`."""
    net = _belief_net(file)
    images = _images(data.test.images[: options.count]) if options.start == "digits" else None
    stream = torch.Generator().manual_seed(options.seed)
    count = options.count if images is None else len(images)
    frames = net.chains(count, options.steps, options.every, stream, images)
    return RawSamples(
        frames=[RawFrame(step=frame.step, pictures=_encoded(frame.pictures)) for frame in frames],
        reconstructions=None if images is None else _encoded(net.reconstruction(images)),
    )


def likelihood(file: GeneratorFile, options: LikelihoodOptions, data: DataSet) -> Likelihood:
    """Return log Z of a machine, and how probable images are to the network that ends with it.

    Raises `CheckpointDamaged`.
    """
    net, stream = _belief_net(file), torch.Generator().manual_seed(options.seed)
    machine = net.machines[options.machines - 1]
    judged = min(JUDGED_IMAGES, len(data.test.images))
    train, test = (_images(part.images[:judged]) for part in (data.train, data.test))
    base = torch.logit(_mean_below(net, options.machines, train, stream)).clamp(-MAX_BASE_BIAS, MAX_BASE_BIAS)
    found = log_z(machine, base, chains=options.chains, temperatures=options.temperatures, stream=stream)
    sampled = found.method == "ais"
    return Likelihood(
        machines=options.machines,
        units=machine.weight.shape[1],
        is_bound=options.machines > 1,
        log_z=found.value,
        log_z_low=found.low if math.isfinite(found.low) else None,
        log_z_high=found.high,
        method=found.method,
        chains=options.chains if sampled else None,
        effective_chains=found.effective_chains,
        temperatures=options.temperatures if sampled else None,
        test_images=len(test),
        test_log_likelihood=_mean_log_p(net, options.machines, test, stream) - found.value,
        train_images=len(train),
        train_log_likelihood=_mean_log_p(net, options.machines, train, stream) - found.value,
    )


def _mean_below(net: BeliefNet, machines: int, images: Tensor, stream: torch.Generator) -> Tensor:
    """Return the mean over images of each visible unit of a machine, from which annealing starts."""
    if machines == 1:
        return images.float().mean(0) / 255
    units, _ = net.log_weights(torch.bernoulli(images.float() / 255, generator=stream), machines, stream)
    return units.mean(0)


def _mean_log_p(net: BeliefNet, machines: int, images: Tensor, stream: torch.Generator) -> float:
    """Return the mean of log p of images, or of its bound, but for log Z of the last machine."""
    binary = torch.bernoulli(images.float() / 255, generator=stream)
    units, log_weights = net.log_weights(binary, machines, stream)
    free_energy = net.machines[machines - 1].free_energy(units)
    return float((log_weights - free_energy.double()).mean())


def _belief_net(file: GeneratorFile) -> BeliefNet:
    content = read_checked(file.path, file.sha256, "The file of the pre-training")
    return BeliefNet(file.sizes, decode_resume(content, file.number))


def _images(pixels: object) -> Tensor:
    return torch.tensor(pixels).reshape(-1, PIXELS)  # a copy: the data set's arrays are not writable


def _encoded(pictures: Tensor) -> str:
    return base64.b64encode(pictures.numpy().tobytes()).decode()
