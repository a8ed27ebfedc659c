"""What is launched for a network: tile sizes, and the cases that are left to the step in torch.

Everything here is a function of network, batch and card, never of the number of networks side by side: tiles
decide in which order inner sums are added up, so the same job has the same bits whatever its neighbours are. No tile
has more than 32 rows in its product: from 64 on the compiler takes wgmma for what it takes mma.sync for below, and
wgmma's sums were five times as coarse (tf32x3, H100). This file imports neither Triton nor torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

LINE = 16
"""Widths between layers are whole multiples of this, in float32 numbers."""
MANY = 8
"""Networks side by side from which `for_many` is used."""
MAX_HIDDEN_LAYERS = 64
MIN_CAPABILITY = (8, 0)
PDL_FROM = (9, 0)
ACTIVATIONS = ("relu", "tanh", "scaled_tanh", "sigmoid", "softsign", "leaky_relu", "selu", "gelu", "identity")
WHOLE_INNER, WHOLE_INNER_OF_HEAD = 512, 1024
"""Inner sums up to this are read at once by the warps of a block, a part each; longer ones in a loop."""
IMAGES_AT_ONCE = 32
"""Of the sum over a batch in an update."""


class Card(NamedTuple):
    """What of a GPU decides: its compute capability and how many multiprocessors it has."""

    capability: tuple[int, int]
    multiprocessors: int


@dataclass(frozen=True)
class ProductTile:
    """A tile [rows, columns] of a product, whose inner sum is taken in parts of `split` x `inner`, a part a warp.

    `whole`: one such part is all of the inner sum. `serial` (not with `whole`): all warps take each part, with the bits
    of a tile whose warps share the sum; for larger tiles. Of a tile `inner` and `split` alone decide the bits.
    """

    rows: int
    columns: int
    inner: int
    split: int
    whole: bool
    warps: int = 4
    stages: int = 1
    serial: bool = False


@dataclass(frozen=True)
class UpdateTile:
    """The weights of `inputs` inputs to `units` units, updated together; the sum over a batch goes by `images`.

    `whole`: the batch is not larger than `images`. `state` as STATE in `backward.weights_updated`.
    """

    inputs: int
    units: int
    images: int
    whole: bool
    warps: int = 4
    stages: int = 1
    state: int = 0
    registers: int | None = None


@dataclass(frozen=True)
class Plan:
    """The tiles of a step of L layers.

    `forward` of layers 1 .. L-1; `head`; `backward`: of dz_l for l = L-1 .. 2 with the update of layer l + 1, in that
    order; `last`: the updates of layers 1 and 2. `pdl`: a kernel may start before its predecessor ends.
    """

    forward: tuple[ProductTile, ...]
    head: ProductTile
    backward: tuple[tuple[ProductTile, UpdateTile], ...]
    last: tuple[UpdateTile, UpdateTile]
    pdl: bool = field(default=False)


def unsupported(hidden: Sequence[int], activation: str, card: Card) -> str | None:
    """Say why the kernels cannot train such a network on a card, or return None."""
    if len(hidden) > MAX_HIDDEN_LAYERS:
        return f"the network has {len(hidden)} hidden layers, more than {MAX_HIDDEN_LAYERS}"
    if activation not in ACTIVATIONS:
        return f"the activation {activation} has no kernel"
    if card.capability < MIN_CAPABILITY:
        return f"the GPU has compute capability {card.capability[0]}.{card.capability[1]}, and 8.0 is needed"
    return None


def plan_of(sizes: Sequence[int], batch: int, card: Card) -> Plan:
    """Return the plan for layers of `sizes` (inputs that take part, hidden widths, classes) and a batch size."""
    layers = len(sizes) - 1
    updates = [_update_tile(sizes[number + 1], batch) for number in range(layers)]
    backward = []
    for layer in range(layers - 1, 1, -1):
        product = _back_tile(batch, sizes[layer - 1], sizes[layer], card)
        backward.append((product, updates[layer]))
    return Plan(
        forward=tuple(_forward_tile(batch, sizes, layer, card) for layer in range(1, layers)),
        head=_head_tile(batch, sizes[-2], card),
        backward=tuple(backward),
        last=(updates[0], updates[1]),
        pdl=card.capability >= PDL_FROM,
    )


def for_many(plan: Plan) -> Plan:
    """Return a plan for many networks side by side: larger tiles that add up in the same order, so with the same bits.

    One network needs many small tiles to keep a card busy; many networks need few that read less.
    """
    return replace(
        plan,
        forward=tuple(_larger(tile) for tile in plan.forward),
        head=replace(plan.head, columns=256),
        # One stage: a product of two stages and an update of three would need more shared memory than there is.
        backward=tuple((_larger(tile), replace(update, stages=1)) for tile, update in plan.backward),
    )


def _larger(tile: ProductTile) -> ProductTile:
    """Return a tile of 32 x 64 with the bits of one whose sums four warps share; any other tile as it is."""
    if tile.columns > 32 or tile.split != 4 or tile.inner > 64:  # more inner numbers would not fit into registers
        return tile
    return replace(tile, rows=32, columns=64, whole=False, warps=4, stages=2, serial=True)


def padded(width: int) -> int:
    """Return the width that what lies between layers has in memory."""
    return -(-width // LINE) * LINE


def tiles(length: int, tile: int) -> int:
    """Return how many tiles cover a length."""
    return -(-length // tile)


def _power_of_2(number: int) -> int:
    return int(max(LINE, 1 << (number - 1).bit_length()))


def _few(batch: int, width: int, card: Card) -> bool:
    """Say whether tiles of 16 x 16 are so few that a card computes them in two rounds or less."""
    return tiles(batch, 16) * tiles(width, 16) <= 2 * card.multiprocessors


def _forward_tile(batch: int, sizes: Sequence[int], layer: int, card: Card) -> ProductTile:
    inner, width = sizes[layer - 1], sizes[layer]
    if not _few(batch, width, card):
        return ProductTile(32, 64, 64 if layer == 1 else 32, 1, whole=False, stages=3)
    if layer == 1 and inner > WHOLE_INNER:
        return ProductTile(32, 32, 64, 4, whole=False, stages=3)
    if inner > WHOLE_INNER:
        return ProductTile(16, 16, 64, 4, whole=False, stages=3)
    return _split_among_warps(16, 16, inner, 4, always_four=True)


def _back_tile(batch: int, width: int, inner: int, card: Card) -> ProductTile:
    if not _few(batch, width, card):
        return ProductTile(32, 64, 32, 1, whole=False, stages=3)
    if inner > WHOLE_INNER:
        return ProductTile(16, 16, 64, 4, whole=False, stages=3)
    side = 32 if inner <= WHOLE_INNER // 2 else 16  # measured on an H100: 25.3 us a step instead of 28.2
    return _split_among_warps(side, side, inner, 4, always_four=True)


def _head_tile(batch: int, inner: int, card: Card) -> ProductTile:
    few_rows = tiles(batch, 16) <= card.multiprocessors
    columns = min(256, max(32, _power_of_2(inner) // 8)) if few_rows else min(256, _power_of_2(inner))
    if inner > WHOLE_INNER_OF_HEAD:
        return ProductTile(16, columns, 64, 4, whole=False, stages=2)
    return _split_among_warps(16, columns, inner, 4, always_four=True)


def _split_among_warps(rows: int, columns: int, inner: int, warps: int, *, always_four: bool = False) -> ProductTile:
    """Return a tile whose warps share all of an inner sum, or do not share it where it is too short."""
    whole = _power_of_2(inner)
    split = warps if whole >= LINE * warps else 1
    return ProductTile(rows, columns, whole // split, split, whole=True, warps=4 if always_four else warps)


def _update_tile(units: int, batch: int) -> UpdateTile:
    if units <= LINE:
        return UpdateTile(32, 16, min(IMAGES_AT_ONCE, _power_of_2(batch)), whole=batch <= IMAGES_AT_ONCE, stages=3)
    # STATE 2 fetches the weights and what the optimizer remembers while the gradient is summed.
    return UpdateTile(64, 16, IMAGES_AT_ONCE, whole=False, stages=3, state=2)
