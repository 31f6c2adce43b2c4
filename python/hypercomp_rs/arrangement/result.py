"""What a search has found, as a sequence of exact points."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _core
from ..errors import InvalidArgumentError
from .exact_points import ExactPoints
from .search import Job, Method, Problem
from .sides import sides_of_rows

if TYPE_CHECKING:
    import numpy.typing as npt


class VertexGraph(NamedTuple):
    """The vertices and edges of an arrangement; made by :meth:`Vertices.graph`."""

    edges: npt.NDArray[np.int64]
    """Bounded edges, shape (e, 2): the numbers of two vertices, the smaller first; sorted."""
    rays: npt.NDArray[np.int64]
    """For each unbounded edge the number of its vertex, shape (r,)."""
    upwards: npt.NDArray[np.bool_]
    """Whether each unbounded edge runs towards larger points in lexicographic order."""


class Vertices(ExactPoints[tuple[Fraction, ...]]):
    """The vertices of an arrangement; made by :func:`vertices`.

    A sequence of points, each a tuple of :class:`fractions.Fraction`, sorted lexicographically.
    A slice, a boolean mask or a sequence of positions selects
    some of them, as another :class:`Vertices`. Immutable and picklable.
    """

    __slots__ = ("_cobases", "_jobs", "_problem", "_table", "_words")

    _NOUNS = ("vertex", "vertices")
    _problem: Problem
    # Homogeneous coordinates in 64-bit words, shape (v, (d + 1)·limbs).
    _words: npt.NDArray[np.uint64]
    _cobases: int | None
    # The jobs that are left of the search; None where these are not all that it has found.
    _jobs: tuple[Job, ...] | None
    # Numerators and denominator in lowest terms, shape (v, d + 1); made when first asked for where
    # they have more than one word.
    _table: npt.NDArray[Any] | None

    def __init__(self) -> None:
        """Not for users: see :func:`vertices`."""
        raise TypeError("Vertices are made by hypercomp_rs.vertices")

    @classmethod
    def _of(
        cls,
        problem: Problem,
        words: npt.NDArray[np.uint64],
        cobases: int | None,
        jobs: tuple[Job, ...] | None,
    ) -> Vertices:
        found = cls.__new__(cls)
        words.flags.writeable = False
        found._problem = problem
        found._words = words.reshape(-1, (problem.dimension + 1) * problem.search.limbs)
        found._cobases = cobases
        found._jobs = jobs
        found._table = None
        return found

    def _homogeneous(self) -> npt.NDArray[Any]:
        if self._table is None:
            limbs, dimension = self._problem.search.limbs, self.dimension
            if limbs == 1:
                table: npt.NDArray[Any] = self._words.view(np.int64)
            else:
                flat = np.ascontiguousarray(self._words).reshape(-1)
                numbers = _core.lowest_terms(flat, dimension, limbs, threads=None)
                table = np.array(numbers, None if isinstance(numbers, np.ndarray) else object)
                table = table.reshape(-1, dimension + 1)
                table.flags.writeable = False
            self._table = table
        return self._table

    @property
    def dimension(self) -> int:
        """Dimension d of the space."""
        return self._problem.dimension

    @property
    def method(self) -> Method:
        """How the vertices were searched for, "flats" or "zero": as asked, or as "auto" chose."""
        return self._problem.method

    @property
    def cobases(self) -> int | None:
        """Number of cobases of the arrangement, where the Zero rule has visited them.

        A cobasis is a set of d of its distinct hyperplanes with independent normals.
        """
        return self._cobases

    @property
    def complete(self) -> bool:
        """Whether these are all vertices of the arrangement, or all that are `within`.

        Where a limit stopped the search, ``vertices(..., resume=found)`` goes on where it stopped.
        A part of a result, such as ``found[:10]`` or a block of a stream, is not complete either,
        and cannot be resumed: it does not know what was left of the search.
        """
        return self._jobs is not None and not self._jobs

    def fractions(self) -> list[tuple[Fraction, ...]]:
        """All vertices as tuples of fractions."""
        return list(self)

    def incidence(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Which rows of A contain which vertices, as the two arrays of a CSR matrix.

        Vertex i lies on the rows ``indices[indptr[i]:indptr[i + 1]]``, which rise. All rows count:
        those that are multiples of each other are all listed, rows ``0·x = 0`` never. Time
        O(v·n·d).

        Returns
        -------
        indptr
            int64, shape (v + 1,).
        indices
            int64, shape (number of incidences,): row numbers of A.

        Examples
        --------
        >>> from hypercomp_rs import vertices
        >>> found = vertices([[1, 0], [0, 1], [2, 0]], [0, 0, 0])
        >>> indptr, indices = found.incidence()
        >>> indptr, indices
        (array([0, 3]), array([0, 1, 2]))
        """
        starts, hyperplanes = self._through()
        given = self._problem.search.hyperplanes
        # The rows of each hyperplane, one hyperplane after the other.
        rows = np.argsort(given, kind="stable")[np.count_nonzero(given < 0) :]
        counts = np.bincount(given[given >= 0], minlength=1)
        first = np.concatenate([[0], np.cumsum(counts)])
        each = counts[hyperplanes]
        ends = np.concatenate([[0], np.cumsum(each)])
        within = np.arange(ends[-1]) - np.repeat(ends[:-1], each)
        indptr = ends[starts]
        indices = rows[np.repeat(first[hyperplanes], each) + within]
        vertex = np.repeat(np.arange(len(self)), np.diff(indptr))
        return indptr, indices[np.lexsort((indices, vertex))]

    @property
    def simple(self) -> npt.NDArray[np.bool_]:
        """Whether exactly d distinct hyperplanes meet in each vertex; bool, shape (v,)."""
        starts, _ = self._through()
        simple: npt.NDArray[np.bool_] = np.diff(starts) == self.dimension
        return simple

    def sign_vectors(self) -> npt.NDArray[np.int8]:
        """The sign of ``A[i] · x - b[i]`` at each vertex for every row i of A; int8, shape (v, n).

        It is 0 for the rows through the vertex. Time O(v·n·d).

        Examples
        --------
        >>> from hypercomp_rs import vertices
        >>> vertices([[1, 0], [0, 1], [1, 1]], [0, 0, 1]).sign_vectors()
        array([[ 0,  0, -1],
               [ 0,  1,  0],
               [ 1,  0,  0]], dtype=int8)
        """
        search = self._problem.search
        flat = np.ascontiguousarray(self._words).reshape(-1)
        hyperplanes = search.hyperplanes
        distinct = int(hyperplanes.max(initial=-1)) + 1
        signs = _core.vertex_signs(search, flat, threads=None).reshape(len(self), distinct)
        return sides_of_rows(self._problem.rows, hyperplanes, signs)

    def graph(self) -> VertexGraph:
        """The vertices joined along the lines of the arrangement (its 1-skeleton).

        Two vertices are neighbours if they follow each other on a line in which hyperplanes meet.
        The first and the last vertex of each line has an unbounded edge. The result must be
        complete. Memory is that of the flats of dimension 1.

        Raises
        ------
        InvalidArgumentError
            The vertices are not all of the arrangement's.

        Examples
        --------
        >>> from hypercomp_rs import vertices
        >>> vertices([[1, 0], [0, 1], [1, 1]], [0, 0, 1]).graph().edges
        array([[0, 1],
               [0, 2],
               [1, 2]])
        """
        if not self.complete or self._problem.within is not None:
            raise InvalidArgumentError(
                "a graph needs every vertex, and this result has a part of them: give the whole "
                "result of a search without `within` that came to its end"
            )
        search = self._problem.search
        flat = np.ascontiguousarray(self._words).reshape(-1)
        starts, through = search.incidence(flat, threads=None)
        edges, rays, upwards = _core.skeleton(search, starts, through, threads=None)
        return VertexGraph(edges.astype(np.int64).reshape(-1, 2), rays.astype(np.int64), upwards)

    def _through(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The distinct hyperplanes through each vertex, as a CSR pair."""
        flat = np.ascontiguousarray(self._words).reshape(-1)
        starts, hyperplanes = self._problem.search.incidence(flat, threads=None)
        return starts.astype(np.int64), hyperplanes.astype(np.int64)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the vertices to a file in numpy's format ``.npz``, for :meth:`load`.

        The file also has the rows and what is left of the search, so that what is loaded can be
        resumed. It is complete or absent: it is written under another name first.

        Raises
        ------
        OSError
            The file cannot be written.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from hypercomp_rs import vertices
        >>> found = vertices([[1, 0], [0, 1], [1, 1]], [0, 0, 1], max_vertices=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found.save(pathlib.Path(folder, "found.npz"))
        ...     loaded = type(found).load(pathlib.Path(folder, "found.npz"))
        >>> vertices([[1, 0], [0, 1], [1, 1]], [0, 0, 1], resume=loaded)
        Vertices(3 in R^2, int64)
        """
        # Imported here: zipfile takes a sixth of the time that the import of the package takes.
        from .vertices_file import save

        save(path, self._problem, self._words, self._cobases, self._jobs)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vertices:
        """Read a file of :meth:`save`.

        Raises
        ------
        FormatError
            The file is no such file, or damaged.
        OSError
            The file cannot be read.
        """
        from .vertices_file import load

        return cls._of(*load(path))

    def __len__(self) -> int:
        return len(self._words)

    def _item(self, at: int) -> tuple[Fraction, ...]:
        return self._point(at)

    def _part(self, index: slice | npt.NDArray[Any]) -> Vertices:
        return self._of(self._problem, np.ascontiguousarray(self._words[index]), None, None)

    def __iter__(self) -> Iterator[tuple[Fraction, ...]]:
        return self._points()

    def __eq__(self, other: object) -> bool:
        """Whether both are the same points of the same space, however they were found."""
        if not isinstance(other, Vertices):
            return NotImplemented
        return np.array_equal(self._homogeneous(), other._homogeneous())

    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its coordinates and its problem."""
        return Vertices._of, (self._problem, self._words, self._cobases, self._jobs)

    def __repr__(self) -> str:
        kind = "int64" if self._homogeneous().dtype == np.int64 else "big integers"
        cobases = "" if self._cobases is None else f", {self._cobases} cobases"
        partial = ", part of a result" if self._jobs is None else ", partial" if self._jobs else ""
        return f"Vertices({len(self)} in R^{self.dimension}, {kind}{cobases}{partial})"
