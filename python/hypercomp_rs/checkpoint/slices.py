"""Fused experts on disk: a tensor of three axes, compressed as one matrix for each expert.

Some checkpoints (GPT-OSS, Llama 4) have the weights of all experts of a layer in one tensor,
``experts.gate_up_proj``. A model decodes only the experts that it routes tokens to, so each is
compressed by itself. The matrix of expert 7 is called ``experts.gate_up_proj[7]``. Decompressed,
the matrices are one tensor again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import FormatError
from .rules import Rule, kept_by_name
from .source import FLOATS, Entry, Source

if TYPE_CHECKING:
    import numpy.typing as npt

_SLICE = re.compile(r"(.+)\[(\d+)\]", re.DOTALL)
# The modules of experts, as the models of transformers have them.
_FUSED = re.compile(r"(?:.+\.)?(?:\w*experts|block_sparse_moe|moe)\.\w+(?:\.weight)?")


class Slice(NamedTuple):
    """One matrix of a tensor of three axes."""

    whole: str
    expert: int

    @property
    def name(self) -> str:
        """As a checkpoint has it."""
        return f"{self.whole}[{self.expert}]"


def slice_of(name: str) -> Slice | None:
    """What a name is a slice of; None where it is no name of a slice.

    >>> slice_of("mlp.experts.down_proj[7]")
    Slice(whole='mlp.experts.down_proj', expert=7)
    """
    found = _SLICE.fullmatch(name)
    return Slice(found[1], int(found[2])) if found else None


class SlicedExperts(Source):
    """A source whose fused experts are a matrix each, unless a rule or their name keeps them."""

    def __init__(self, source: Source, sliced: frozenset[str]) -> None:
        self.path = source.path
        self._source = source
        self._sliced = sliced
        self._entries: dict[str, Entry] = {}
        for name, entry in source.entries.items():
            if name not in sliced:
                self._entries[name] = entry
                continue
            for index in range(entry.shape[0]):
                one = Slice(name, index).name
                self._entries[one] = Entry(one, entry.dtype, entry.shape[1:], entry.shard)

    @classmethod
    def of(cls, source: Source, rules: Sequence[Rule]) -> Source:
        """The same source where there are no fused experts to be compressed."""
        sliced = frozenset(e.name for e in source.entries.values() if _is_sliced(e, rules))
        return cls(source, sliced) if sliced else source

    @classmethod
    def as_in(cls, source: Source, names: Iterable[str]) -> Source:
        """A source whose tensors are sliced where these names are those of slices."""
        wholes = {found.whole for name in names if (found := slice_of(name)) is not None}
        entries = source.entries
        sliced = frozenset(n for n in wholes if n in entries and len(entries[n].shape) == 3)
        return cls(source, sliced) if sliced else source

    @property
    def entries(self) -> Mapping[str, Entry]:
        """See :class:`Source`."""
        return self._entries

    def _slice(self, name: str) -> Slice | None:
        found = slice_of(name)
        return found if found is not None and found.whole in self._sliced else None

    def read(self, name: str) -> npt.NDArray[np.uint8]:
        """See :class:`Source`."""
        found = self._slice(name)
        if found is None:
            return self._source.read(name)
        return self._source.sample(found.whole, [found.expert])

    def pieces(self, name: str, size: int) -> Iterator[memoryview]:
        """See :class:`Source`."""
        found = self._slice(name)
        if found is None:
            yield from self._source.pieces(name, size)
        else:
            whole = self.read(name).data
            for start in range(0, len(whole), size):
                yield whole[start : start + size]

    def sample(self, name: str, rows: Sequence[int]) -> npt.NDArray[np.uint8]:
        """See :class:`Source`."""
        found = self._slice(name)
        if found is None:
            return self._source.sample(name, rows)
        matrix = self.read(name).reshape(self._entries[name].shape[0], -1)
        return np.ascontiguousarray(matrix[list(rows)]).reshape(-1)

    @property
    def root(self) -> Path | None:
        """See :class:`Source`."""
        return self._source.root

    @property
    def index(self) -> str | None:
        """See :class:`Source`."""
        return self._source.index

    def files(self) -> Mapping[str, Path]:
        """See :class:`Source`."""
        return self._source.files()

    def passed_over(self) -> Sequence[str]:
        """See :class:`Source`."""
        return self._source.passed_over()

    def notes(self) -> Sequence[str]:
        """See :class:`Source`."""
        return self._source.notes()

    def metadata(self, shard: str) -> Mapping[str, str]:
        """See :class:`Source`."""
        return self._source.metadata(shard)

    def weights_files(self) -> Sequence[Path]:
        """See :class:`Source`."""
        return self._source.weights_files()

    def fingerprint(self) -> dict[str, Any]:
        """That of the source, and which of its tensors are sliced."""
        return {**self._source.fingerprint(), "sliced": sorted(self._sliced)}

    def close(self) -> None:
        """See :class:`Source`."""
        self._source.close()


def slices_by_whole(shapes: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, list[str]]:
    """The names of all slices of each tensor, in their order.

    Parameters
    ----------
    shapes
        Dtype and shape of each tensor of a checkpoint.

    Raises
    ------
    FormatError
        A slice is missing, or is unlike the others; the message names it.
    """
    found: dict[str, dict[int, str]] = {}
    for name in shapes:
        one = slice_of(name)
        # Somebody else may have a name that looks like one, or the whole beside it.
        if one is not None and len(shapes[name][1]) == 2 and one.whole not in shapes:
            found.setdefault(one.whole, {})[one.expert] = name
    wholes = {}
    for whole, slices in found.items():
        for index in range(len(slices)):
            if index not in slices:
                raise FormatError(f"{Slice(whole, index).name} is missing, others are there")
            if shapes[slices[index]] != shapes[slices[0]]:
                raise FormatError(
                    f"{slices[index]} is {shapes[slices[index]]}, {slices[0]} {shapes[slices[0]]}"
                )
        wholes[whole] = [slices[index] for index in range(len(slices))]
    return wholes


def _is_sliced(entry: Entry, rules: Sequence[Rule]) -> bool:
    if _FUSED.fullmatch(entry.name) is None or len(entry.shape) != 3 or entry.dtype not in FLOATS:
        return False
    if not entry.size:
        return False
    one = Entry(Slice(entry.name, 0).name, entry.dtype, entry.shape[1:], entry.shard)
    return not kept_by_name(one, rules)
