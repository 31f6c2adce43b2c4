"""A model in memory as a source of tensors. So one plan serves models in memory and on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from .. import _arrays
from ..checkpoint.source import FLOATS, Entry, Source
from ._codes import DTYPES

if TYPE_CHECKING:
    import numpy.typing as npt

_SAFETENSORS = {name: dtype for dtype, name in FLOATS.items()}


class ModelSource(Source):
    """The weights of a model, by name."""

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        self.path = Path("model")
        self._weights = weights
        self._entries = {
            name: Entry(name, _stored_dtype(weight), tuple(weight.shape), "model")
            for name, weight in weights.items()
        }

    @property
    def entries(self) -> Mapping[str, Entry]:
        """All weights by name."""
        return self._entries

    def read(self, name: str) -> npt.NDArray[np.uint8]:
        """The bytes of a weight."""
        return _bytes(self._weights[name])

    def pieces(self, name: str, size: int) -> Iterator[memoryview]:
        """The bytes of a weight, in pieces. A weight on the meta device has none."""
        flat = self._weights[name].detach().reshape(-1)
        if flat.is_meta:
            return
        step = max(1, size // flat.element_size())
        for start in range(0, len(flat), step):
            yield _bytes(flat[start : start + step]).data

    def sample(self, name: str, rows: Sequence[int]) -> npt.NDArray[np.uint8]:
        """The bytes of these rows. No others are read."""
        return _bytes(self._weights[name][list(rows)])

    def weights_files(self) -> Sequence[Path]:
        """There are none."""
        return ()


def _stored_dtype(weight: torch.Tensor) -> str:
    return _SAFETENSORS.get(DTYPES.get(weight.dtype, ""), str(weight.dtype))


def _bytes(weight: torch.Tensor) -> npt.NDArray[np.uint8]:
    elements = _arrays.flatten(weight.detach()).elements
    copy: npt.NDArray[np.uint8] = elements.copy().view(np.uint8)
    return copy
