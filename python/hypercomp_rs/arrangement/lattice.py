"""The lattice of intersections: every flat, what contains it, and its Möbius value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import _core
from .._integers import checked, checked_threads
from .rows import Rows
from .sides import unshuffled_search

if TYPE_CHECKING:
    from .enumeration import Matrix, Vector


class LatticeFlat(NamedTuple):
    """A flat of an arrangement: a non-empty intersection of hyperplanes."""

    rows: tuple[int, ...]
    """Every row of A whose hyperplane contains the flat."""
    mobius: int
    """μ(flat), with the whole space as the least element."""


class IntersectionLattice:
    """The flats of an arrangement by dimension; made by :func:`intersection_lattice`.

    Flat F is below flat G if F contains G, so the whole space is the least element.
    """

    def __init__(self, dimension: int, flats: list[list[LatticeFlat]]) -> None:
        self.dimension = dimension
        """Dimension d of the space."""
        self._flats = flats

    def flats(self, dimension: int) -> list[LatticeFlat]:
        """The flats of one dimension, from 0 to d."""
        return list(self._flats[checked("dimension", dimension, 0, self.dimension)])

    @property
    def counts(self) -> list[int]:
        """The number of flats of each dimension, from 0 to d."""
        return [len(flats) for flats in self._flats]

    def characteristic_polynomial(self) -> list[int]:
        """The sum of μ(F)·t^dim(F): the coefficient of t^k is element k."""
        return [sum(flat.mobius for flat in flats) for flats in self._flats]

    def __len__(self) -> int:
        return sum(self.counts)

    def __repr__(self) -> str:
        return f"IntersectionLattice({len(self)} flats in R^{self.dimension})"


def intersection_lattice(
    A: Matrix, b: Vector, *, threads: int | None = None
) -> IntersectionLattice:
    """Every flat of an arrangement with the rows that contain it and its Möbius value.

    Parameters
    ----------
    A, b, threads
        As for :func:`regions`.

    Returns
    -------
    IntersectionLattice

    Raises
    ------
    HypercompError
        As :func:`vertices`.
    TooLargeError
        A Möbius value has more than 128 bits.

    Notes
    -----
    Möbius values follow from Weisner's theorem, level by level (R. P. Stanley, An Introduction to
    Hyperplane Arrangements, section 2.4). Memory O(n/64 + d) words a flat, and what Python needs
    for the tuples; :func:`flats` only counts, and :func:`characteristic_polynomial` only sums.

    Examples
    --------
    >>> from hypercomp_rs import intersection_lattice
    >>> lattice = intersection_lattice([[1, 0], [0, 1], [1, 1]], [0, 0, 0])
    >>> lattice.counts
    [1, 3, 1]
    >>> lattice.flats(0)
    [LatticeFlat(rows=(0, 1, 2), mobius=2)]
    """
    rows, threads = Rows.of(A, b), checked_threads(threads)
    search = unshuffled_search(rows)
    dimension = search.dimension
    given = search.hyperplanes
    of_hyperplane: list[list[int]] = [[] for _ in range(int(given.max(initial=-1)) + 1)]
    for row, hyperplane in enumerate(given.tolist()):
        if hyperplane >= 0:
            of_hyperplane[hyperplane].append(row)
    flats: list[list[LatticeFlat]] = [[] for _ in range(dimension + 1)]
    levels = _core.intersection_lattice(search, threads=threads)
    for codimension, (starts, members, values) in enumerate(levels):
        sign = -1 if codimension % 2 else 1
        parts = np.split(members, starts[1:-1].astype(np.intp))
        for part, value in zip(parts, values, strict=True):
            on = sorted(row for member in part.tolist() for row in of_hyperplane[member])
            flats[dimension - codimension].append(LatticeFlat(tuple(on), sign * value))
    return IntersectionLattice(dimension, flats)
