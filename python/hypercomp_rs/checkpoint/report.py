"""What a command did beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .other_files import is_weights


class Report(NamedTuple):
    """What became of a model's other files, and what an earlier run had done.

    Attributes
    ----------
    reused
        Number of compressed tensors that an earlier run, which was cut off, had finished.
    copied
        Other files that were copied, by their place in the folder, and their bytes.
    left_out
        Files that were not: the same weights in other formats; and their bytes.
    """

    reused: int
    copied: Mapping[str, int]
    left_out: Mapping[str, int]

    @property
    def copied_weights(self) -> list[str]:
        """Those of `copied` that have weights of modules in folders below: not compressed."""
        return [place for place in self.copied if is_weights(place)]
