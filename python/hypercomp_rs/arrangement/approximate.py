"""Vertices in floats: a tolerance, and no certificate."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .. import _core
from ..errors import DtypeError, InvalidArgumentError, NearToleranceWarning
from .search import Problem

if TYPE_CHECKING:
    import numpy.typing as npt

DEFAULT_TOLERANCE = 1e-9
LEAST_TOLERANCE, LARGEST_TOLERANCE = 1e-15, 1e-2


class ApproximateVertices:
    """The vertices of an arrangement as a search in floats takes them; made by ``vertices``.

    Points that are nearer to each other than about the tolerance are taken for one. Nothing is
    certified: vertices may be missing, and there may be some too many, where a number that decides
    is near the tolerance; :attr:`near_decisions` counts those that were seen.

    Iterating gives tuples of floats. Immutable and picklable.

    Examples
    --------
    >>> from hypercomp_rs import vertices
    >>> found = vertices([[1, 0], [0, 1], [1, 3]], [0, 0, 1], exact=False)
    >>> found
    ApproximateVertices(3 in R^2, float64, tolerance 1e-09)
    >>> found.to_numpy().round(3)
    array([[0.   , 0.   ],
           [0.   , 0.333],
           [1.   , 0.   ]])
    """

    __slots__ = ("_coordinates", "_near_decisions", "_tolerance")

    _coordinates: npt.NDArray[np.float64]
    _tolerance: float
    _near_decisions: int

    def __init__(self) -> None:
        """Not for users: see :func:`hypercomp_rs.vertices`."""
        raise TypeError("ApproximateVertices are made by hypercomp_rs.vertices(..., exact=False)")

    @classmethod
    def _of(
        cls, coordinates: npt.NDArray[np.float64], tolerance: float, near_decisions: int
    ) -> ApproximateVertices:
        found = cls.__new__(cls)
        coordinates.flags.writeable = False
        found._coordinates = coordinates
        found._tolerance = tolerance
        found._near_decisions = near_decisions
        return found

    def to_numpy(self) -> npt.NDArray[np.float64]:
        """The coordinates, shape (v, d), sorted lexicographically, read-only."""
        return self._coordinates

    @property
    def dimension(self) -> int:
        """Dimension d of the space."""
        return int(self._coordinates.shape[1])

    @property
    def tolerance(self) -> float:
        """What counted as 0, of numbers scaled to magnitude 1."""
        return self._tolerance

    @property
    def near_decisions(self) -> int:
        """Zero tests of numbers within a factor of 10 of the tolerance, on either side.

        That there were none proves nothing: rounding can have moved a number further than that.
        """
        return self._near_decisions

    def __len__(self) -> int:
        return len(self._coordinates)

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        return iter(map(tuple, self._coordinates.tolist()))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled as its array."""
        return ApproximateVertices._of, (
            self._coordinates,
            self._tolerance,
            self._near_decisions,
        )

    def __repr__(self) -> str:
        near = f", {self._near_decisions} near decisions" if self._near_decisions else ""
        return (
            f"ApproximateVertices({len(self)} in R^{self.dimension}, float64, "
            f"tolerance {self._tolerance:g}{near})"
        )


def approximate_vertices(
    problem: Problem, tolerance: float | None, threads: int | None
) -> ApproximateVertices:
    """What ``vertices(..., exact=False)`` gives."""
    tolerance = _checked_tolerance(tolerance)
    coordinates, count, near = _core.approximate_vertices(
        problem.search, tolerance=tolerance, threads=threads
    )
    if near:
        warnings.warn(
            f"{near} decisions were within a factor of 10 of the tolerance {tolerance:g}: "
            "vertices may be missing or too many; search exactly, or with another tolerance",
            NearToleranceWarning,
            stacklevel=3,
        )
    return ApproximateVertices._of(coordinates.reshape(count, problem.dimension), tolerance, near)


def _checked_tolerance(tolerance: float | None) -> float:
    if tolerance is None:
        return DEFAULT_TOLERANCE
    try:
        value = float(tolerance)
    except (TypeError, ValueError) as error:
        raise DtypeError(f"tolerance={tolerance!r}: a number is accepted") from error
    if not LEAST_TOLERANCE <= value <= LARGEST_TOLERANCE:
        raise InvalidArgumentError(
            f"tolerance={tolerance!r}: {LEAST_TOLERANCE:g} to {LARGEST_TOLERANCE:g} are accepted"
        )
    return value
