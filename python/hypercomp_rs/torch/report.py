"""What has become of each weight of a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


class CompressedLayer(NamedTuple):
    """A weight that was compressed.

    Attributes
    ----------
    name
        As the model's state dict had it; of tied weights, that of one of them.
    shape
        Lengths of its axes.
    nbytes, dense_nbytes
        What it takes now, and what it took before.
    sqnr_db
        Signal to quantisation noise of the weights, in dB.
    calibrated
        Whether it was compressed for the inputs that it had on calibration data: for its outputs'
        noise then, and not for that of its weights.
    note
        What calibration could not do for it, and why; empty where there is nothing to say.
    """

    name: str
    shape: tuple[int, ...]
    nbytes: int
    dense_nbytes: int
    sqnr_db: float
    calibrated: bool = False
    note: str = ""

    @property
    def bits_per_weight(self) -> float:
        """All overhead counted."""
        return 8 * self.nbytes / math.prod(self.shape)


class SkippedWeight(NamedTuple):
    """A weight that stays as it is, and why.

    Biases, norms and others of fewer than two axes are listed above a thousand weights.
    """

    name: str
    shape: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class ModelReport:
    """What :func:`compress_model` has done; prints as a table.

    Attributes
    ----------
    layers
        The weights that were compressed, in the order of the model.
    skipped
        Those of two axes and more that were not, and every other one above a thousand weights.
    """

    layers: tuple[CompressedLayer, ...]
    skipped: tuple[SkippedWeight, ...]

    @property
    def nbytes(self) -> int:
        """What the compressed weights take together."""
        return sum(layer.nbytes for layer in self.layers)

    @property
    def dense_nbytes(self) -> int:
        """What they took before."""
        return sum(layer.dense_nbytes for layer in self.layers)

    @property
    def bits_per_weight(self) -> float:
        """Mean over the compressed weights; 0 where there is none."""
        weights = sum(math.prod(layer.shape) for layer in self.layers)
        return 8 * self.nbytes / weights if weights else 0.0

    def __str__(self) -> str:
        lines = [
            f"{layer.name}  {'x'.join(map(str, layer.shape))}  "
            f"{layer.bits_per_weight:.3f} bits  {layer.sqnr_db:.2f} dB"
            f"{'  calibrated' if layer.calibrated else ''}"
            f"{f'  ({layer.note})' if layer.note else ''}"
            for layer in self.layers
        ]
        lines += [
            f"{name}  {'x'.join(map(str, shape))}  {why}" for name, shape, why in self.skipped
        ]
        total = (
            f"{len(self.layers)} weights compressed, {self.bits_per_weight:.2f} bits a weight, "
            f"{self.dense_nbytes / 1e6:.1f} MB in {self.nbytes / 1e6:.1f} MB"
        )
        return "\n".join([*lines, total])
