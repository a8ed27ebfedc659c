"""The result of fitting a picture to 28x28 pixels; apart from `digit_fitting`, which loads OpenCV."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

SIDE = 28
FitDoubt = Literal["several_digits", "cut_off", "tiny", "cleaned"]


class FittedDigit(NamedTuple):
    """The image uint8 [28, 28] for the network, whether dark ink on light paper was inverted for it, and doubts."""

    image: NDArray[np.uint8]
    inverted: bool
    doubts: tuple[FitDoubt, ...] = ()
