"""The path of one image through a network: what each layer makes of it, and which units lead to the answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.inference.compiled_forward import Floats
from models.inference.predictor import Predictor, softmax_in_place

MOST_TRACED = 12
"""Units of a layer that are traced."""
LINKS_A_UNIT = 4


class Link(NamedTuple):
    """What a unit of the layer below contributes to a traced unit: w_ij h_j, a summand of z_i."""

    layer: int
    """Number of the layer of `target`, from 2."""

    source: int
    target: int
    contribution: float


class ImagePath(NamedTuple):
    """The inputs, the activations of every hidden layer and the logits, and the strongest links to the answer."""

    layers: list[Floats]
    links: list[Link]

    @property
    def probabilities(self) -> Floats:
        """Return softmax(logits), float32 [10]."""
        shares: Floats = softmax_in_place(self.layers[-1][None].copy())[0]
        return shares


def path_of(predictor: Predictor, image: NDArray[np.uint8]) -> ImagePath:
    """Return the path of an image uint8 [28, 28]. Raises `OutputNotFinite`.

    The links are followed from the most probable digit down to the first hidden layer: of each traced unit the
    `LINKS_A_UNIT` largest contributions |w_ij h_j|, and of the units that they come from at most `MOST_TRACED` a layer,
    those with the largest sums.
    """
    layers = predictor.activations(image)
    links: list[Link] = []
    traced = np.array([layers[-1].argmax()])
    for number in range(len(layers) - 1, 1, -1):
        contributions = predictor.incoming(number, traced) * layers[number - 1][:, None]
        kept, traced_below = _strongest(np.abs(contributions))
        links += [
            Link(number, source, target, float(contributions[source, column]))
            for column, target in enumerate(traced.tolist())
            for source in kept[column]
            if source in traced_below and contributions[source, column] != 0
        ]
        traced = np.array(sorted(traced_below), dtype=np.int64)
    return ImagePath(layers, links)


def _strongest(sizes: Floats) -> tuple[list[list[int]], set[int]]:
    """Return the sources of each column's largest sizes, and those of all of them that are traced on."""
    most = np.argsort(-sizes, axis=0, kind="stable")[:LINKS_A_UNIT].T.tolist()
    candidates = sorted({source for column in most for source in column})
    together = sizes[candidates].sum(axis=1)
    best = np.argsort(-together, kind="stable")[:MOST_TRACED]
    return most, {candidates[place] for place in best.tolist()}
