"""What was done with a model's files other than weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .other_files import is_weights


class Report(NamedTuple):
    """Which of a model's other files were copied, and what an interrupted run had done before.

    Attributes
    ----------
    reused
        Number of compressed tensors that an interrupted run had finished.
    copied
        Other files that were copied: bytes by path in the folder.
    left_out
        Files that were not copied, as they are the same weights in other formats: bytes by path.
    notes
        Why tensors were compressed without calibration, or what their calibration lacks, by name.
        Of tensors that this run has compressed.
    """

    reused: int
    copied: Mapping[str, int]
    left_out: Mapping[str, int]
    notes: Mapping[str, str]

    @property
    def copied_weights(self) -> list[str]:
        """Copied files with weights of modules in folders below.

        These weights are not compressed.
        """
        return [place for place in self.copied if is_weights(place)]
