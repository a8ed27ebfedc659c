"""Call the compiled forward pass of `models/native/forward.c`, in the best kind that this processor runs.

It reads the rows of weights whose input is not zero, and no others: a fifth of the first layer and, with ReLU, half of
the rest. This file mirrors its structures, field by field, and does not import torch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from models.native import ACTIVATIONS, load
from models.native.row_layout import LINE, columns_of, stride_of
from models.vocabulary import LEAKY_RELU_SLOPE, Activation

Floats = NDArray[np.float32]
Kind = Literal["baseline", "avx2", "avx512"]
KINDS: tuple[Kind, ...] = ("baseline", "avx2", "avx512")
"""In the order of their numbers in `forward.c`."""

_OUT_OF_MEMORY, _NOT_FINITE = 1, 2
FEW = 16
"""Up to this many images, a copy is faster than asking NumPy for their address."""


class Rows(NamedTuple):
    """A layer as products read it: float32 [fan_in + 1, stride], one row per input, and the bias as the last row.

    `stride` is at least `fan_out`; the columns beyond `fan_out` are zero. Rows begin at whole cache lines.
    """

    values: Floats
    fan_out: int

    @classmethod
    def of(cls, weight: Floats, bias: Floats) -> Self:
        """Return the layer of a weight [fan_out, fan_in] and a bias [fan_out]."""
        fan_out, fan_in = weight.shape
        stride = stride_of(fan_out)
        room = np.zeros((fan_in + 1) * stride + LINE, np.float32)
        first = -room.ctypes.data % (LINE * room.itemsize) // room.itemsize
        values = room[first : first + (fan_in + 1) * stride].reshape(fan_in + 1, stride)
        values[:-1, :fan_out] = weight.T
        values[-1, :fan_out] = bias
        return cls(values, fan_out)

    @property
    def weight(self) -> Floats:
        """Return the weight, transposed: [fan_in, fan_out]."""
        return self.values[:-1, : self.fan_out]

    @property
    def bias(self) -> Floats:
        """Return the bias [fan_out]."""
        return self.values[-1, : self.fan_out]


def rows_of(weights: Mapping[str, Floats]) -> list[Rows]:
    """Return the layers of a network's weights, in order."""
    return [
        Rows.of(weights[f"layers.{index}.weight"], weights[f"layers.{index}.bias"])
        for index in range(len(weights) // 2)
    ]


class _Dense(ctypes.Structure):
    """`struct dense`."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("fan_in", "fan_out", "columns", "stride")),
        ("rows", ctypes.c_void_p),
    ]


class Likely(ctypes.Structure):
    """`struct likely` of `likely.c`: the limits of a likely digit."""

    _fields_ = [
        *((name, ctypes.c_double) for name in ("least_total", "most_total", "most_offset")),
        *((name, ctypes.c_int64) for name in ("least_brightest", "most_lit", "least_side", "most_side")),
        *((name, ctypes.c_int64) for name in ("faint_level", "clear_level")),
    ]


class _Network(ctypes.Structure):
    """`struct network`."""

    _fields_ = [
        ("layers", ctypes.c_void_p),
        ("layer_count", ctypes.c_int64),
        ("activation", ctypes.c_int64),
        ("slope", ctypes.c_double),
    ]


LAYOUT = (3, *map(ctypes.sizeof, (_Dense, _Network)))


class Forward:
    """The forward pass of one network; any number of threads may use it concurrently."""

    def __init__(self, library: ctypes.CDLL, kind: Kind, layers: Sequence[Rows], activation: Activation) -> None:
        self._function = library.fanin_probabilities
        self._kind = KINDS.index(kind)
        self._kept = tuple(layers)  # kept alive: the structures below hold bare addresses
        self._dense = (_Dense * len(layers))(*(self._dense_of(layer) for layer in layers))
        self._network = _Network(
            ctypes.addressof(self._dense), len(layers), ACTIVATIONS.index(activation), LEAKY_RELU_SLOPE
        )
        self._at = ctypes.addressof(self._network)

    @staticmethod
    def _dense_of(layer: Rows) -> _Dense:
        rows, stride = layer.values.shape
        return _Dense(rows - 1, layer.fan_out, columns_of(layer.fan_out), stride, layer.values.ctypes.data)

    def probabilities(self, images: NDArray[np.uint8] | Floats) -> tuple[Floats, bool]:
        """Return probabilities float32 [n, fan_out of the last layer], and whether all are finite.

        Images are pixels uint8 or inputs float32, [n, fan_in]; p = softmax(network(x)), x = pixels / 255. The call
        releases the GIL. Raises `ValueError` for another shape or type, and `MemoryError`.
        """
        fan_in = self._dense[0].fan_in
        if images.ndim != 2 or images.shape[1] != fan_in or images.dtype not in (np.uint8, np.float32):
            raise ValueError(f"images {images.dtype}{images.shape} are not uint8 or float32 [n, {fan_in}]")
        in_a_row = np.ascontiguousarray(images)
        probabilities = np.empty((len(images), self._kept[-1].fan_out), np.float32)
        at = in_a_row.tobytes() if len(images) <= FEW else in_a_row.ctypes.data
        pixels, inputs = (at, None) if images.dtype == np.uint8 else (None, at)
        code = self._function(self._kind, self._at, pixels, inputs, len(images), probabilities.ctypes.data)
        if code == _OUT_OF_MEMORY:
            raise MemoryError("There is not enough memory for a prediction.")
        return probabilities, code != _NOT_FINITE


def forward_of(layers: Sequence[Rows], activation: Activation, kind: Kind | None = None) -> Forward | None:
    """Return the forward pass of a network, of the best kind that runs here or of `kind`; None if none was built.

    Also None if a weight is not finite: the forward pass skips inputs of zero, but zero times infinity is NaN, as NumPy
    computes it.
    """
    library = _library()
    if library is None or not all(np.isfinite(layer.values).all() for layer in layers):
        return None
    return Forward(library, kind or kinds()[0], layers, activation)


@cache
def _library() -> ctypes.CDLL | None:
    """Return the library for predictions, or None if it was not built."""
    library = load("forward", LAYOUT)
    address, whole = ctypes.c_void_p, ctypes.c_int64
    if library is not None:
        library.fanin_all_likely.argtypes = [ctypes.c_char_p, whole, ctypes.POINTER(Likely)]
        library.fanin_all_likely.restype = ctypes.c_int
        library.fanin_probabilities.argtypes = [ctypes.c_int, address, address, address, whole, address]
        library.fanin_probabilities.restype = ctypes.c_int
    return library


def all_likely(images: NDArray[np.uint8], limits: Likely) -> bool:
    """Return whether every image uint8 [n, 28, 28] has a dark edge and is within the limits, see `likely.c`.

    False also if the library was not built; the caller then checks each image. Raises `ValueError` for another shape or
    type.
    """
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise ValueError(f"images {images.dtype}{images.shape} are not uint8 [n, 28, 28]")
    library = _library()
    if library is None:
        return False
    return bool(library.fanin_all_likely(images.tobytes(), len(images), limits))


def kinds() -> tuple[Kind, ...]:
    """Return the kinds that this processor runs, best first; empty if the library was not built."""
    library = _library()
    if library is None:
        return ()
    numbers = (ctypes.c_int * len(KINDS))()
    count = library.fanin_kinds(numbers)
    return tuple(KINDS[number] for number in numbers[:count])
