"""Vertices of hyperplane arrangements, exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from . import _core
from ._integers import checked_threads
from .approximate import ApproximateVertices, approximate_vertices
from .errors import DtypeError, InvalidArgumentError, NonFiniteError, TooLargeError

if TYPE_CHECKING:
    import numpy.typing as npt

Method = Literal["flats", "zero"]

ACCEPTED = "int, float, Fraction and strings such as '1/3' are accepted"

# An exact number as its numerator and positive denominator.
Ratio = tuple[int, int]


class Vertices(Sequence[tuple[Fraction, ...]]):
    """The vertices of an arrangement; made by :func:`vertices`.

    A sequence of points, each a tuple of :class:`fractions.Fraction`, sorted lexicographically.
    A slice is a :class:`Vertices` too. Immutable and picklable.
    """

    __slots__ = ("_cobases", "_denominators", "_numerators")

    _numerators: npt.NDArray[Any]
    _denominators: npt.NDArray[Any]
    _cobases: int | None

    def __init__(self) -> None:
        """Not for users: see :func:`vertices`."""
        raise TypeError("Vertices are made by hypercomp_rs.vertices")

    @classmethod
    def _of(
        cls,
        numerators: npt.NDArray[Any],
        denominators: npt.NDArray[Any],
        cobases: int | None,
    ) -> Vertices:
        found = cls.__new__(cls)
        numerators.flags.writeable = False
        denominators.flags.writeable = False
        found._numerators = numerators
        found._denominators = denominators
        found._cobases = cobases
        return found

    @property
    def numerators(self) -> npt.NDArray[Any]:
        """Numerators, shape (v, d); ``int64`` where all fit, else Python integers (``object``)."""
        return self._numerators

    @property
    def denominators(self) -> npt.NDArray[Any]:
        """The denominator of each vertex, shape (v,), positive; dtype as of :attr:`numerators`.

        It has no factor in common with all of the vertex's numerators.
        """
        return self._denominators

    @property
    def dimension(self) -> int:
        """Dimension d of the space."""
        return int(self._numerators.shape[1])

    @property
    def cobases(self) -> int | None:
        """Number of cobases of the arrangement, where ``method="zero"`` has visited them.

        A cobasis is a set of d of its distinct hyperplanes with independent normals.
        """
        return self._cobases

    def fractions(self) -> list[tuple[Fraction, ...]]:
        """All vertices as tuples of fractions."""
        return list(self)

    def to_numpy(self) -> npt.NDArray[np.float64]:
        """All vertices as float64, shape (v, d), each coordinate correctly rounded.

        Raises
        ------
        TooLargeError
            A coordinate is beyond the range of float64.
        """
        limit = 2**53
        numerators, denominators = self._numerators, self._denominators[:, None]
        if numerators.dtype == np.int64:
            # A quotient of two integers that float64 holds exactly is rounded once.
            exact = (np.abs(numerators) <= limit) & (denominators <= limit)
            rounded: npt.NDArray[np.float64] = numerators / denominators
            rows = np.flatnonzero(~exact.all(axis=1))
        else:
            rounded = np.empty(numerators.shape)
            rows = np.arange(len(self))
        for row in rows.tolist():
            denominator = int(self._denominators[row])
            for column, numerator in enumerate(numerators[row].tolist()):
                try:
                    rounded[row, column] = numerator / denominator
                except OverflowError as error:
                    raise TooLargeError(
                        f"coordinate {column} of vertex {row} is beyond the range of float64"
                    ) from error
        return rounded

    def __len__(self) -> int:
        return len(self._denominators)

    @overload
    def __getitem__(self, index: int) -> tuple[Fraction, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> Vertices: ...
    def __getitem__(self, index: int | slice) -> tuple[Fraction, ...] | Vertices:
        """One vertex, or those of a slice; a slice knows no number of cobases."""
        if isinstance(index, slice):
            return self._of(self._numerators[index], self._denominators[index], None)
        denominator = int(self._denominators[index])
        return tuple(Fraction(n, denominator) for n in self._numerators[index].tolist())

    def __iter__(self) -> Iterator[tuple[Fraction, ...]]:
        for row, denominator in zip(
            self._numerators.tolist(), self._denominators.tolist(), strict=True
        ):
            yield tuple(Fraction(n, denominator) for n in row)

    def __eq__(self, other: object) -> bool:
        """Whether both are the same points of the same space, however they were found."""
        if not isinstance(other, Vertices):
            return NotImplemented
        return np.array_equal(self._numerators, other._numerators) and np.array_equal(
            self._denominators, other._denominators
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its arrays."""
        return Vertices._of, (self._numerators, self._denominators, self._cobases)

    def __repr__(self) -> str:
        kind = "int64" if self._numerators.dtype == np.int64 else "big integers"
        cobases = "" if self._cobases is None else f", {self._cobases} cobases"
        return f"Vertices({len(self)} in R^{self.dimension}, {kind}{cobases})"


@overload
def vertices(
    A: npt.ArrayLike | Sequence[Sequence[Any]],
    b: npt.ArrayLike | Sequence[Any],
    *,
    exact: Literal[True] = True,
    method: Method = "flats",
    threads: int | None = None,
) -> Vertices: ...
@overload
def vertices(
    A: npt.ArrayLike | Sequence[Sequence[Any]],
    b: npt.ArrayLike | Sequence[Any],
    *,
    exact: Literal[False],
    tolerance: float = 1e-9,
    method: Literal["flats"] = "flats",
    threads: int | None = None,
) -> ApproximateVertices: ...
def vertices(
    A: npt.ArrayLike | Sequence[Sequence[Any]],
    b: npt.ArrayLike | Sequence[Any],
    *,
    exact: bool = True,
    tolerance: float | None = None,
    method: Method = "flats",
    threads: int | None = None,
) -> Vertices | ApproximateVertices:
    """Every vertex of the arrangement of the hyperplanes ``A[i] · x = b[i]``, each exactly once.

    A vertex is a point in which d of the hyperplanes with independent normals meet.

    Parameters
    ----------
    A
        Normals, shape (n, d): a numpy array of any integer or float dtype, or nested sequences of
        integers of any size, floats, fractions and strings such as "1/3" or "0.1". A float is the
        dyadic rational that it is, so 0.1 is not "0.1". No normals at all are given as an array
        of shape (0, d); ``[]`` is taken as shape (0, 0).
    b
        Right-hand sides, shape (n,), of the same kinds.
    exact
        False searches in floats, with a tolerance and without a proof, and gives
        :class:`ApproximateVertices`.
    tolerance
        With ``exact=False`` only: what counts as 0 on the scale of 1; 1e-9 unless given.
    method
        "flats": reverse search over flats, one visit a vertex however many hyperplanes meet there.
        "zero": the Zero rule's reverse search over cobases, which also counts them; an arrangement
        can have thousands of times as many cobases as vertices.
    threads
        Threads to search with; None for one a core.

    Returns
    -------
    Vertices
        Sorted lexicographically by coordinates. The same for either method, any number of threads
        and any order or scaling of the rows.

        Rows that are multiples of each other are one hyperplane. A row ``0·x = 0`` holds
        everywhere and is left out. Where the normals do not span the space (so where n < d) there
        is no vertex. In R^0, which is one point, that point is a vertex.

    Raises
    ------
    EmptyHyperplaneError
        A row reads ``0·x = c`` with c not 0; the message names the row.
    NonFiniteError
        An entry is NaN or infinite; the message has its row and column.
    DtypeError
        An entry is not a number as above.
    InvalidArgumentError
        Shapes that do not fit, a string that is no number, or an argument outside what is accepted.

    Notes
    -----
    Exact means proved: the search runs modulo a prime larger than twice Hadamard's bound on every
    minor of [A | b], so that a residue is zero if and only if the number is, or else in fractions.
    Memory O(n·d²) a thread beside the result. Time O(n·d) for each flat that has a vertex below
    it, or for each cobasis. Ctrl-C stops it. ``docs/vertices.md`` has the proofs.

    An Efficient Algorithm for Vertex Enumeration of Arrangement, arXiv 2401.16675, section 3, has
    the Zero rule; the search over flats is this package's.

    Examples
    --------
    The lines x = 0, y = 0 and x/3 + y = 1:

    >>> from hypercomp_rs import vertices
    >>> found = vertices([[1, 0], [0, 1], ["1/3", 1]], [0, 0, 1])
    >>> found
    Vertices(3 in R^2, int64)
    >>> found.numerators
    array([[0, 0],
           [0, 1],
           [3, 0]])
    >>> [tuple(map(str, vertex)) for vertex in found]
    [('0', '0'), ('0', '1'), ('3', '0')]

    The lines x = c, y = c and x ± y = c for c = -1, 0, 1 cross in 54 pairs, but in 21 points:

    >>> A = [[1, 0], [0, 1], [1, 1], [1, -1]] * 3
    >>> b = [-1] * 4 + [0] * 4 + [1] * 4
    >>> vertices(A, b, method="zero")
    Vertices(21 in R^2, int64, 54 cobases)
    """
    if not isinstance(exact, bool):
        raise InvalidArgumentError(f"exact={exact!r}: True and False are accepted")
    if not exact:
        return approximate_vertices(*_rows(A, b), method, tolerance, threads)
    if tolerance is not None:
        raise InvalidArgumentError(f"tolerance={tolerance!r}: it belongs to exact=False")
    if method not in ("flats", "zero"):
        raise InvalidArgumentError(f"method={method!r}: 'flats' and 'zero' are accepted")
    rows, dimension = _rows(A, b)
    found, cobases = _core.vertices(
        rows, dimension, zero_rule=method == "zero", threads=checked_threads(threads)
    )
    table = found if isinstance(found, np.ndarray) else np.array(found, dtype=object)
    table = table.reshape(-1, dimension + 1)
    return Vertices._of(table[:, :-1], table[:, -1], cobases)


def _rows(a: Any, b: Any) -> tuple[list[list[Ratio]], int]:
    """The rows [a | b] as exact ratios, and the dimension."""
    normals = a.tolist() if isinstance(a, np.ndarray) else _listed(a, "A")
    sides = b.tolist() if isinstance(b, np.ndarray) else _listed(b, "b")
    if isinstance(a, np.ndarray) and a.ndim != 2:
        raise InvalidArgumentError(f"A has shape {a.shape}: (n, d) is accepted")
    if isinstance(b, np.ndarray) and b.ndim != 1:
        raise InvalidArgumentError(f"b has shape {b.shape}: (n,) is accepted")
    if len(normals) != len(sides):
        raise InvalidArgumentError(
            f"A has {len(normals)} rows and b {len(sides)} entries: one for each row is accepted"
        )
    lists = [_listed(row, f"A[{i}]") for i, row in enumerate(normals)]
    # An array without rows still has columns.
    dimension = a.shape[1] if isinstance(a, np.ndarray) else len(lists[0]) if lists else 0
    for i, row in enumerate(lists):
        if len(row) != dimension:
            raise InvalidArgumentError(
                f"A[{i}] has {len(row)} entries and A[0] has {dimension}: rows of one length are "
                "accepted"
            )
    return [
        [*(_ratio(x, f"A[{i}, {j}]") for j, x in enumerate(row)), _ratio(side, f"b[{i}]")]
        for i, (row, side) in enumerate(zip(lists, sides, strict=True))
    ], dimension


def _listed(x: Any, name: str) -> list[Any]:
    """`x` as a list, if it is a sequence and no string."""
    if isinstance(x, np.ndarray):
        if x.ndim != 1:
            raise InvalidArgumentError(f"{name} has shape {x.shape}: one axis is accepted")
        listed: list[Any] = x.tolist()
        return listed
    if isinstance(x, str | bytes) or not isinstance(x, Sequence):
        raise DtypeError(f"{name} is a {type(x).__name__}: a numpy array or a list is accepted")
    return list(x)


def _ratio(x: Any, name: str) -> Ratio:
    """A number as the exact ratio that it is."""
    if isinstance(x, str):
        try:
            return Fraction(x).as_integer_ratio()
        except ValueError as error:
            raise InvalidArgumentError(f"{name} is {x!r}: {ACCEPTED}") from error
        except ZeroDivisionError as error:
            raise InvalidArgumentError(f"{name} is {x!r}, a division by zero") from error
    if isinstance(x, np.integer):
        return int(x), 1
    if isinstance(x, bool | np.bool_) or not hasattr(x, "as_integer_ratio"):
        raise DtypeError(f"{name} is a {type(x).__name__}: {ACCEPTED}")
    try:
        numerator, denominator = x.as_integer_ratio()
    except (ValueError, OverflowError) as error:
        raise NonFiniteError(f"{name} is {x}: every entry must be finite") from error
    return int(numerator), int(denominator)
