"""The records of a job's layers, with a picture of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from fanin.answers import Diagnostics
from fanin.html import diagnostics_html

Measure = Literal[
    "a_rms",
    "z_rms",
    "dz_rms",
    "weight_std",
    "weight_gradient_std",
    "update_ratio",
    "dead_fraction",
    "saturated_fraction",
]


class LayerRecords(list[Diagnostics]):
    """What every layer did, at the start and after each epoch: a list of records, drawn as a heat map."""

    def heat_map(self, measure: Measure = "a_rms") -> HeatMap:
        """Return a measure of every layer (rows) at every epoch (columns), to be shown in a notebook."""
        return HeatMap(self, measure)

    def _repr_html_(self) -> str:
        return diagnostics_html(self)


class HeatMap:
    """A measure of every layer at every epoch."""

    def __init__(self, records: Sequence[Diagnostics], measure: Measure) -> None:
        self.records = records
        self.measure = measure

    @property
    def values(self) -> list[list[Any]]:
        """Return the numbers: a list of layers for each record."""
        return [[getattr(layer, self.measure) for layer in record.layers] for record in self.records]

    def _repr_html_(self) -> str:
        return diagnostics_html(self.records, self.measure)
