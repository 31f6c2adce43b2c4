"""H-representations: inequalities and equations, from ``.ine`` files and to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..errors import InvalidArgumentError
from .representation_file import Source, name_lines, opened, read_table
from .rows import Ratio, Rows

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class HRepresentation:
    """Inequalities ``A @ x <= b``, some of them equations; made by :func:`read_ine`.

    Attributes
    ----------
    A
        Shape (n, d): int64 if every entry of the file is an integer of 64 bits, and otherwise
        :class:`fractions.Fraction` (``object``).
    b
        Shape (n,), of the same dtype.
    linearity
        The rows that hold with equality, counted from 0 (the file counts from 1).
    name
        The name of the polyhedron in the file.
    options
        The lines after ``end``, such as ``printcobasis 1``. They have no effect here.
    """

    A: npt.NDArray[Any]
    b: npt.NDArray[Any]
    linearity: tuple[int, ...] = ()
    name: str = ""
    options: tuple[str, ...] = ()

    @property
    def dimension(self) -> int:
        """Dimension d of the space."""
        return int(self.A.shape[1])

    def hyperplanes(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """``(A, b)`` of the arrangement of the boundaries ``A[i] · x = b[i]``, for ``vertices``.

        The boundary of an inequality is the hyperplane on which it holds with equality. The
        boundary of an equation is its hyperplane. An inequality whose coefficients are all 0, such
        as the row ``1 0 0`` that lrs writes, has no boundary and is left out. An equation of that
        kind is kept, so that ``vertices`` raises an error for it.
        """
        rows = self.boundary_rows()
        return self.A[rows], self.b[rows]

    def boundary_rows(self) -> npt.NDArray[np.intp]:
        """The numbers of the rows whose boundaries :meth:`hyperplanes` has, counted from 0."""
        bounded = (self.A != 0).any(axis=1)
        bounded[list(self.linearity)] = True
        return np.flatnonzero(bounded)

    def inequalities(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """``(C, e)`` with ``C @ x <= e``, as `within` takes them: an equation is two of them."""
        equations = list(self.linearity)
        return (
            np.concatenate([self.A, -self.A[equations]]),
            np.concatenate([self.b, -self.b[equations]]),
        )

    def __repr__(self) -> str:
        equations = f", {len(self.linearity)} of them equations" if self.linearity else ""
        named = f"{self.name!r}, " if self.name else ""
        return f"HRepresentation({named}{len(self.A)} rows in R^{self.dimension}{equations})"


def read_ine(source: Source) -> HRepresentation:
    """The H-representation in a file of cddlib or lrslib, exactly.

    A row ``b -A`` of the file is the inequality ``b - A·x >= 0``. Numbers are integers and
    fractions of up to 20,000 digits. Below a header that says ``real`` they may be decimals, which
    are read exactly and not as floats. If the file says ``nonnegative``, the rows of ``x >= 0``
    follow those of the file.

    Parameters
    ----------
    source
        A path, or an open binary file.

    Raises
    ------
    FormatError
        The file is malformed or a V-representation; the message has line and column.
    TooLargeError
        A number has more digits or a larger exponent than is accepted.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import io
    >>> triangle = read_ine(io.BytesIO(b'''triangle
    ... H-representation
    ... begin
    ... 3 3 rational
    ... 0  1  0
    ... 0  0  1
    ... 1/3 -1 -1
    ... end
    ... '''))
    >>> triangle
    HRepresentation('triangle', 3 rows in R^2)
    >>> from hypercomp_rs import vertices
    >>> [tuple(map(str, vertex)) for vertex in vertices(*triangle.hyperplanes())]
    [('0', '0'), ('0', '1/3'), ('1/3', '0')]
    """
    read, linearity, nonnegative, name, options = read_table(source, points=False)
    table = read.fractions
    a, b = -table[:, 1:], table[:, 0].copy()
    if a.dtype == np.int64 and (table[:, 1:] == np.iinfo(np.int64).min).any():
        # The negative of this number does not fit 64 bits.
        a = -table[:, 1:].astype(object)
    if nonnegative:
        a = np.concatenate([a, -np.eye(a.shape[1], dtype=np.int64)])
        b = np.concatenate([b, np.zeros(a.shape[1], np.int64)])
    return HRepresentation(a, b, tuple(linearity), name, tuple(options))


def write_ine(
    target: Source,
    A: npt.ArrayLike | Sequence[Sequence[Any]],
    b: npt.ArrayLike | Sequence[Any],
    *,
    linearity: Iterable[int] = (),
    name: str = "",
) -> None:
    """Write ``A @ x <= b`` as an H-representation that cddlib and lrslib read, exactly.

    Parameters
    ----------
    target
        A path, or a binary file open for writing.
    A, b
        As for :func:`vertices`. A float is written as the fraction that it stores.
    linearity
        The rows that hold with equality, counted from 0.
    name
        A line with a name for the polyhedron. Empty for none.

    Raises
    ------
    InvalidArgumentError
        Shapes do not match, `linearity` has the number of no row, or `name` is not a single line
        or would be read as something else.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> write_ine(file, [[-1, 0], [0, -1], [1, 1]], [0, 0, "1/3"], name="triangle")
    >>> print(file.getvalue().decode(), end="")
    triangle
    H-representation
    begin
    3 3 rational
    0 1 0
    0 0 1
    1/3 -1 -1
    end
    """
    entries, dimension = Rows.of(A, b)
    rows, integral = _sides_first(entries)
    equations = sorted(set(linearity))
    if equations and not 0 <= equations[0] <= equations[-1] < len(entries):
        raise InvalidArgumentError(f"linearity={equations}: A has {len(entries)} rows, from 0")
    lines = [*name_lines(name), "H-representation"]
    if equations:
        lines.append(
            " ".join(["linearity", *map(str, [len(equations), *(i + 1 for i in equations)])])
        )
    lines += ["begin", f"{len(entries)} {dimension + 1} {'integer' if integral else 'rational'}"]
    with opened(target, "wb") as file:
        file.write("\n".join([*lines, ""]).encode())
        file.write(rows)
        file.write(b"end\n")


def _sides_first(entries: npt.NDArray[Any] | list[list[Ratio]]) -> tuple[bytes, bool]:
    """The rows ``b -A`` for rows [A | b] as text, and whether all numbers are integers.

    Rust writes the text. It is fast, and Python does not write integers of more than 4,300 digits.
    """
    if isinstance(entries, np.ndarray):
        if entries.dtype == np.int64 and not (entries == np.iinfo(np.int64).min).any():
            table = np.column_stack([entries[:, -1], -entries[:, :-1]])
            return _core.integer_rows(table.reshape(-1), table.shape[1]), True
        entries = [[x.as_integer_ratio() for x in row] for row in entries.tolist()]
    integral = all(denominator == 1 for row in entries for _, denominator in row)
    negated = [[side, *((-n, d) for n, d in normal)] for *normal, side in entries]
    return _core.rational_rows(negated), integral
