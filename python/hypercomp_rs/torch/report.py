"""The result of ``compress_model``: what each weight was compressed to, or why it was not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


class CompressedLayer(NamedTuple):
    """A weight that was compressed.

    Attributes
    ----------
    name
        The weight's name in the model's state dict; for tied weights, one of their names.
    shape
        Lengths of its axes.
    nbytes, dense_nbytes
        Bytes of the weight, compressed and before.
    sqnr_db
        Signal to quantisation noise of the weights, in dB.
    calibrated
        Whether its codes were chosen for the noise of the layer's outputs on calibration data, and
        not for the noise of the weights.
    note
        What calibration could not do for it, and why; otherwise empty.
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
        """Bits per weight, all overhead counted."""
        return 8 * self.nbytes / math.prod(self.shape)


class SkippedWeight(NamedTuple):
    """A weight that stays dense, and why.

    Weights of fewer than two axes, such as biases and norms, are listed above a thousand weights.
    """

    name: str
    shape: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class ModelReport:
    """The result of :func:`compress_model`. It prints as a table.

    Attributes
    ----------
    layers
        The weights that were compressed, in the order of the model.
    skipped
        Weights of two or more axes that were not compressed, and every other one above a thousand
        weights.
    """

    layers: tuple[CompressedLayer, ...]
    skipped: tuple[SkippedWeight, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all compressed weights together."""
        return sum(layer.nbytes for layer in self.layers)

    @property
    def dense_nbytes(self) -> int:
        """Bytes of the same weights before."""
        return sum(layer.dense_nbytes for layer in self.layers)

    @property
    def bits_per_weight(self) -> float:
        """Mean over the compressed weights; 0 if there is none."""
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
