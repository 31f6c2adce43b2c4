"""Homogeneous points of which few have numbers of more than 64 bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

LongPoints = Iterable[tuple[int, list[int]]]


class PointTable:
    """Numerators and denominator of points: an array of int64, and the longer points apart.

    One long number does not turn the numbers of all points into Python integers, unless a table of
    all numbers is asked for.
    """

    __slots__ = ("_long", "_table", "words")

    words: npt.NDArray[np.int64]
    """Shape (k, d + 1); zeros for a point that is stored apart."""
    # The points with a number of more than 64 bits, by position.
    _long: dict[int, list[int]]
    # All numbers as Python integers; made when first asked for where there are long points.
    _table: npt.NDArray[Any] | None

    def __init__(self, words: npt.NDArray[np.int64], long: LongPoints) -> None:
        words.flags.writeable = False
        self.words = words
        self._long = dict(long)
        self._table = None

    def table(self) -> npt.NDArray[Any]:
        """All numbers: `words`, or an array of Python integers where some have more bits."""
        if not self._long:
            return self.words
        if self._table is None:
            table = self.words.astype(object)
            for at, numbers in self._long.items():
                table[at] = numbers
            table.flags.writeable = False
            self._table = table
        return self._table

    def __getitem__(self, at: int) -> list[int]:
        if self._long:
            long = self._long.get(at % len(self.words))
            if long is not None:
                return long
        numbers: list[int] = self.words[at].tolist()
        return numbers

    def __iter__(self) -> Iterator[list[int]]:
        for at, numbers in enumerate(self.words.tolist()):
            yield self._long.get(at, numbers)

    def part(self, index: slice | npt.NDArray[Any]) -> PointTable:
        """The points that a slice, a mask or positions select."""
        words = self.words[index].copy()
        if not self._long:
            return PointTable(words, ())
        positions = np.arange(len(self.words))[index]
        kept = np.flatnonzero(np.isin(positions, list(self._long)))
        return PointTable(words, [(at, self._long[positions[at]]) for at in kept.tolist()])

    def __eq__(self, other: object) -> bool:
        """Whether both have the same numbers."""
        if not isinstance(other, PointTable):
            return NotImplemented
        return self._long == other._long and np.array_equal(self.words, other.words)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its arrays."""
        return PointTable, (self.words, list(self._long.items()))
