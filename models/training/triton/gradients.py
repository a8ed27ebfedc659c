"""The gradients of one batch, in torch: for the message about a loss that is not finite, so speed does not matter."""

from __future__ import annotations

import torch
from torch import Tensor

from models.network.activations import ACTIVATIONS
from models.training.stacked_parameters import StackedParameters


def gradients_in_torch(
    parameters: StackedParameters, images: Tensor, labels: Tensor, chosen: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients [K, length], flat as the parameters, and the mean losses [K]; see `models.training.step`.

    `images` uint8 [N, pixels that take part], `labels` int64 [N], `chosen` int64 [K, B]. Products are what
    `torch.backends.cuda.matmul` allows.
    """
    kernels = ACTIVATIONS[parameters.architecture.activation]
    layers, batch = parameters.layers, chosen.shape[1]
    h, z = [images[chosen].to(parameters.values.dtype).div_(255.0)], []
    for number, layer in enumerate(layers):
        z.append(torch.baddbmm(layer.bias, h[-1], layer.weight))
        if number < len(layers) - 1:
            h.append(torch.empty_like(z[-1]))
            kernels.forward(z[-1], h[-1])
    log_p = z[-1].log_softmax(2)
    of_labels = labels[chosen].unsqueeze(2)
    losses = -log_p.gather(2, of_labels).mean((1, 2))
    dz = log_p.exp().scatter_add_(2, of_labels, torch.full_like(log_p[:, :, :1], -1.0)) / batch
    flat = parameters.zeros()
    views = parameters.views(flat)
    for number in range(len(layers) - 1, -1, -1):
        views[number].weight.copy_(h[number].transpose(1, 2) @ dz)
        views[number].bias.copy_(dz.sum(1, keepdim=True))
        if number > 0:
            dz = dz @ layers[number].weight.transpose(1, 2)
            kernels.backward(dz, z[number - 1], h[number], dz)
    return flat, losses
