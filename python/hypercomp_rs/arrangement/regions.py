"""Regions and faces of arrangements, with exact points, and what Zaslavsky's theorem counts."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _core
from .._integers import checked, checked_threads
from ..errors import InvalidArgumentError
from .exact_points import ExactPoints
from .point_table import PointTable
from .rows import Rows
from .sides import sides_of_rows, unshuffled_search
from .stream import BlockStream

if TYPE_CHECKING:
    import numpy.typing as npt

    from .enumeration import Matrix, Vector


class Region(NamedTuple):
    """A region or another face of an arrangement."""

    signs: tuple[int, ...]
    """For each row of A the sign of ``A[i] · x - b[i]`` inside: -1, 0 or 1."""
    point: tuple[Fraction, ...]
    """A point inside."""
    bounded: bool
    """Whether the region is bounded."""


class Regions(ExactPoints[Region]):
    """Regions of an arrangement; made by :func:`regions`, :func:`iter_regions` and :func:`faces`.

    A sequence of :class:`Region`. A slice, a boolean mask or a sequence of positions selects
    some of them, as another :class:`Regions`. Immutable and picklable.
    """

    __slots__ = ("_bounded", "_complete", "_signs", "_table")

    _NOUNS = ("region", "regions")
    _signs: npt.NDArray[np.int8]
    _table: PointTable
    _bounded: npt.NDArray[np.bool_]
    _complete: bool

    def __init__(self) -> None:
        """Not for users: see :func:`regions`."""
        raise TypeError("Regions are made by hypercomp_rs.regions")

    @classmethod
    def _of(
        cls,
        signs: npt.NDArray[np.int8],
        table: PointTable,
        bounded: npt.NDArray[np.bool_],
        complete: bool,
    ) -> Regions:
        found = cls.__new__(cls)
        for array in (signs, bounded):
            array.flags.writeable = False
        found._signs, found._table, found._bounded = signs, table, bounded
        found._complete = complete
        return found

    def _homogeneous(self) -> npt.NDArray[Any]:
        return self._table.table()

    @property
    def dimension(self) -> int:
        """Dimension d of the space."""
        return int(self._table.words.shape[1]) - 1

    def _point(self, at: int) -> tuple[Fraction, ...]:
        *numerators, denominator = self._table[at]
        return tuple(Fraction(n, denominator) for n in numerators)

    def _points(self) -> Iterator[tuple[Fraction, ...]]:
        for *numerators, denominator in self._table:
            yield tuple(Fraction(n, denominator) for n in numerators)

    @property
    def complete(self) -> bool:
        """Whether these are all regions of the arrangement, or all faces of their dimension.

        A part of a result, such as ``found[found.bounded]`` or a block of a stream, is not
        complete.
        """
        return self._complete

    @property
    def signs(self) -> npt.NDArray[np.int8]:
        """For each region the sign of ``A[i] · x - b[i]`` for every row i of A; shape (r, n).

        A row ``0·x = 0`` has sign 0.
        """
        return self._signs

    @property
    def bounded(self) -> npt.NDArray[np.bool_]:
        """Whether each region is bounded, shape (r,)."""
        return self._bounded

    def __len__(self) -> int:
        return len(self._bounded)

    def _item(self, at: int) -> Region:
        return Region(tuple(self._signs[at].tolist()), self._point(at), bool(self._bounded[at]))

    def _part(self, index: slice | npt.NDArray[Any]) -> Regions:
        return self._of(
            self._signs[index].copy(),
            self._table.part(index),
            self._bounded[index].copy(),
            complete=False,
        )

    def __iter__(self) -> Iterator[Region]:
        items = zip(self._signs.tolist(), self._points(), self._bounded.tolist(), strict=True)
        return (Region(tuple(signs), point, bounded) for signs, point, bounded in items)

    def __eq__(self, other: object) -> bool:
        """Whether both are the same regions in the same order, with the same points."""
        if not isinstance(other, Regions):
            return NotImplemented
        return (
            np.array_equal(self._signs, other._signs)
            and self._table == other._table
            and np.array_equal(self._bounded, other._bounded)
        )

    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its arrays."""
        return Regions._of, (self._signs, self._table, self._bounded, self._complete)

    def __repr__(self) -> str:
        bounded = int(self._bounded.sum())
        partial = "" if self._complete else ", part of a result"
        return f"Regions({len(self)} in R^{self.dimension}, {bounded} bounded{partial})"


class RegionStream(BlockStream[Regions]):
    """Blocks of regions; made by :func:`iter_regions`.

    The search stops when the stream is closed, dropped, or left as a context manager.
    """

    def __init__(self, rows: Rows, threads: int | None, vertices: int) -> None:
        # Prepared here, so that bad input raises here.
        search = unshuffled_search(rows)
        prepared = _core.RegionSearch(search, threads=threads)
        super().__init__(
            lambda control: _blocks(rows, search, prepared, threads, vertices, control)
        )


def _blocks(
    rows: Rows,
    search: _core.Search,
    prepared: _core.RegionSearch,
    threads: int | None,
    vertices: int,
    control: _core.Control,
) -> Iterator[Regions]:
    while True:
        found = prepared.next_block(vertices, threads=threads, control=control)
        if found is None:
            return
        yield _regions(rows, search, found, complete=False)


def regions(A: Matrix, b: Vector, *, threads: int | None = None) -> Regions:
    """Every region of the arrangement of the hyperplanes ``A[i] · x = b[i]``, each exactly once.

    A region is a connected part of what is left of the space without the hyperplanes. Each comes
    with the signs of all hyperplanes, with an exact point inside, and with whether it is bounded.

    Parameters
    ----------
    A, b
        As for :func:`vertices`.
    threads
        Threads to search with; None for one a core.

    Returns
    -------
    Regions
        In an order that depends on the hyperplanes alone.

    Raises
    ------
    HypercompError
        As :func:`vertices`.

    Notes
    -----
    A linear function that is not constant on any line of the arrangement is least at one vertex of
    each region on which it is bounded below. Such regions are found vertex by vertex. The others
    meet a hyperplane beyond all vertices, and are found there in one dimension less.
    (T. Zaslavsky, Facing up to Arrangements, Memoirs of the AMS 154, 1975; ``docs/regions.md`` has
    the proof.) Every step is exact: signs are those of integers.

    Memory and time O(n·d) a region where the vertices are simple, beside O(d³) a vertex.

    Examples
    --------
    Three lines in general position have seven regions, of which one is bounded:

    >>> from hypercomp_rs import regions
    >>> found = regions([[1, 0], [0, 1], [1, 1]], [0, 0, 1])
    >>> found
    Regions(7 in R^2, 1 bounded)
    >>> triangle = found[found.bounded][0]
    >>> triangle.signs
    (1, 1, -1)
    >>> [str(x) for x in triangle.point]
    ['1/4', '1/2']
    """
    rows, threads = Rows.of(A, b), checked_threads(threads)
    search = unshuffled_search(rows)
    found = _core.RegionSearch(search, threads=threads).whole(threads=threads)
    return _regions(rows, search, found, complete=True)


def iter_regions(
    A: Matrix, b: Vector, *, threads: int | None = None, block: int = 65_536
) -> RegionStream:
    """The regions as a stream of blocks, in bounded memory.

    Before the first block all vertices are visited twice, and the regions of one dimension less are
    found: these tell which regions are bounded, and stay in memory.

    Parameters
    ----------
    A, b, threads
        As for :func:`regions`.
    block
        Vertices to a block. A block has one region for each where d hyperplanes meet, and more
        where more do.

    Returns
    -------
    RegionStream
        An iterator of :class:`Regions`. Together they are those of :func:`regions`, each once;
        which come first depends on the threads.

    Examples
    --------
    >>> from hypercomp_rs import iter_regions
    >>> sum(len(block) for block in iter_regions([[1, 0], [0, 1], [1, 1]], [0, 0, 1], block=2))
    7
    """
    threads = checked_threads(threads)
    return RegionStream(Rows.of(A, b), threads, checked("block", block, 1, 1 << 32))


def faces(A: Matrix, b: Vector, *, dimension: int, threads: int | None = None) -> Regions:
    """Every face of one dimension, with its sign vector (covector) and an exact point inside.

    A face of dimension k is a region of what the other hyperplanes cut out of a flat of dimension
    k. Those of dimension 0 are the vertices, those of dimension d the regions.

    Parameters
    ----------
    A, b, threads
        As for :func:`regions`.
    dimension
        From 0 to d.

    Returns
    -------
    Regions
        Signs are 0 for the hyperplanes that contain the face.

    Examples
    --------
    Three lines in general position are cut into nine edges, of which three are bounded:

    >>> from hypercomp_rs import faces
    >>> faces([[1, 0], [0, 1], [1, 1]], [0, 0, 1], dimension=1)
    Regions(9 in R^2, 3 bounded)
    """
    rows, threads = Rows.of(A, b), checked_threads(threads)
    search = unshuffled_search(rows)
    dimension = checked("dimension", dimension, 0, search.dimension)
    found = _core.faces(search, dimension, threads=threads)
    return _regions(rows, search, found, complete=True)


def characteristic_polynomial(A: Matrix, b: Vector, *, threads: int | None = None) -> list[int]:
    """The coefficients of the characteristic polynomial χ(t); that of t^k is element k.

    χ(t) is the sum of μ(F)·t^dim(F) over all flats F, where μ is the Möbius function of the
    lattice of flats. (-1)^d·χ(-1) is the number of regions.

    Parameters and errors are those of :func:`regions`; `TooLargeError` too if a Möbius value has
    more than 128 bits. Memory is that of the flats of dimension 1.

    Examples
    --------
    The braid arrangement x_i = x_j in R^3: t·(t - 1)·(t - 2).

    >>> from hypercomp_rs import characteristic_polynomial
    >>> characteristic_polynomial([[1, -1, 0], [1, 0, -1], [0, 1, -1]], [0, 0, 0])
    [0, 2, -3, 1]
    """
    rows, threads = Rows.of(A, b), checked_threads(threads)
    return _core.characteristic_polynomial(unshuffled_search(rows), threads=threads)


def count_regions(
    A: Matrix, b: Vector, *, bounded: bool = False, threads: int | None = None
) -> int:
    """The number of regions, or of bounded regions, without finding them (Zaslavsky's theorem).

    Parameters and errors are those of :func:`characteristic_polynomial`. Where the normals do not
    span the space no region is bounded.

    Examples
    --------
    >>> from hypercomp_rs import count_regions
    >>> A, b = [[1, 0], [0, 1], [1, 1]], [0, 0, 1]
    >>> count_regions(A, b), count_regions(A, b, bounded=True)
    (7, 1)
    """
    if not isinstance(bounded, bool):
        raise InvalidArgumentError(f"bounded={bounded!r}: True and False are accepted")
    polynomial = characteristic_polynomial(A, b, threads=threads)
    if not bounded:
        return sum(abs(coefficient) for coefficient in polynomial)
    # Without a vertex every region contains a line.
    return abs(sum(polynomial)) if polynomial[0] else 0


def zonotope_vertices(generators: Matrix, *, threads: int | None = None) -> list[tuple[Any, ...]]:
    """The vertices of a zonotope: the sum of the segments from 0 to each generator.

    They are the sums of the generators on the positive side, one for each region of the central
    arrangement of the hyperplanes orthogonal to the generators.

    Parameters
    ----------
    generators
        Shape (n, d), of numbers as :func:`vertices` takes them.
    threads
        As for :func:`regions`.

    Returns
    -------
    list of tuple
        Sorted, each vertex once: tuples of :class:`int`, or of :class:`fractions.Fraction` where
        the generators are no integers.

    Examples
    --------
    A hexagon:

    >>> from hypercomp_rs import zonotope_vertices
    >>> zonotope_vertices([[1, 0], [0, 1], [1, 1]])
    [(0, 0), (0, 1), (1, 0), (1, 2), (2, 1), (2, 2)]
    """
    # What has no length is no table: it is refused as A.
    count = len(generators) if isinstance(generators, Sized) else 0
    rows = Rows.of(generators, [0] * count)
    search = unshuffled_search(rows)
    threads = checked_threads(threads)
    found = _core.RegionSearch(search, threads=threads).whole(threads=threads)
    signs = _regions(rows, search, found, complete=True).signs > 0
    entries = rows.entries
    if isinstance(entries, np.ndarray) and entries.dtype == np.int64:
        table = entries[:, :-1].astype(object)
    elif isinstance(entries, np.ndarray):
        exact = [[Fraction(x) for x in row] for row in entries[:, :-1].tolist()]
        table = np.array(exact, object).reshape(len(entries), rows.dimension)
    else:
        exact = [[Fraction(*x) for x in row[:-1]] for row in entries]
        table = np.array(exact, object).reshape(len(entries), rows.dimension)
    if signs.shape[1] == 0:
        return [(0,) * rows.dimension]
    return sorted(map(tuple, (signs.astype(object) @ table).tolist()))


def _regions(rows: Rows, search: _core.Search, found: _core._Regions, *, complete: bool) -> Regions:
    signs, words, long, bounded = found
    hyperplanes = search.hyperplanes
    distinct = int(hyperplanes.max(initial=-1)) + 1
    return Regions._of(
        sides_of_rows(rows, hyperplanes, signs.reshape(len(bounded), distinct)),
        PointTable(words.reshape(len(bounded), search.dimension + 1), long),
        bounded,
        complete,
    )
