"""Files of the field: H-representations (``.ine``) and V-representations (``.ext``).

The formats are those of cddlib and lrslib; ``docs/files.md`` has them, and what is done where the
two differ.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..errors import DtypeError, FormatError, InvalidArgumentError, TooLargeError
from .approximate import ApproximateVertices
from .result import Vertices
from .rows import Ratio, Rows, Table

if TYPE_CHECKING:
    import numpy.typing as npt

# Where a file is: a path, or an open binary file.
Source = str | os.PathLike[str] | IO[bytes]


@dataclass(frozen=True, eq=False)
class HRepresentation:
    """Inequalities ``A @ x <= b``, some of them equations; made by :func:`read_ine`.

    Attributes
    ----------
    A
        Shape (n, d): int64 where every entry of the file is an integer of 64 bits, else
        :class:`fractions.Fraction` (``object``).
    b
        Shape (n,), of the same dtype.
    linearity
        The rows that hold with equality, counted from 0 (the file counts from 1).
    name
        The file's own name for the polyhedron.
    options
        The lines after ``end``, such as ``printcobasis 1``; nothing here acts on them.
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

        The boundary of an inequality is the hyperplane where it holds with equality; an equation is
        its own boundary. An inequality whose coefficients are all 0, as in the row ``1 0 0`` that
        lrs writes, has no boundary and is left out; an equation of that kind is kept, so that
        ``vertices`` refuses it.
        """
        bounded = (self.A != 0).any(axis=1)
        bounded[list(self.linearity)] = True
        return self.A[bounded], self.b[bounded]

    def __repr__(self) -> str:
        equations = f", {len(self.linearity)} of them equations" if self.linearity else ""
        named = f"{self.name!r}, " if self.name else ""
        return f"HRepresentation({named}{len(self.A)} rows in R^{self.dimension}{equations})"


class VRepresentation:
    """Vertices, rays and lines; made by :func:`read_ext`, written by :func:`write_ext`.

    Parameters
    ----------
    vertices
        Points, shape (v, d): numbers as :func:`vertices` takes them.
    rays
        Directions, shape (r, d); None for none.
    lines
        Directions of both senses, shape (l, d); None for none.
    name
        A name of the polyhedron.
    options
        Lines after ``end``.

    Examples
    --------
    >>> from hypercomp_rs import VRepresentation
    >>> cone = VRepresentation([["1/2", 0]], rays=[[1, 1]])
    >>> cone
    VRepresentation(1 vertices, 1 rays, 0 lines in R^2)
    >>> cone.vertices.tolist()
    [[Fraction(1, 2), Fraction(0, 1)]]
    """

    def __init__(
        self,
        vertices: npt.ArrayLike | Sequence[Sequence[Any]],
        rays: npt.ArrayLike | Sequence[Sequence[Any]] | None = None,
        lines: npt.ArrayLike | Sequence[Sequence[Any]] | None = None,
        name: str = "",
        options: tuple[str, ...] = (),
    ) -> None:
        self._vertices = Table.of(vertices, "vertices")
        empty = self._vertices.rows(np.zeros(self._vertices.shape[0], bool))
        self._rays = empty if rays is None else Table.of(rays, "rays")
        self._lines = empty if lines is None else Table.of(lines, "lines")
        for what, table in (("rays", self._rays), ("lines", self._lines)):
            if table.shape[1] != self.dimension:
                raise InvalidArgumentError(
                    f"{what} have {table.shape[1]} coordinates and vertices {self.dimension}: one "
                    "dimension is accepted"
                )
        self.name = name
        self.options = tuple(options)

    @classmethod
    def _of(
        cls, vertices: Table, rays: Table, lines: Table, name: str, options: tuple[str, ...]
    ) -> VRepresentation:
        made = cls.__new__(cls)
        made._vertices, made._rays, made._lines = vertices, rays, lines
        made.name, made.options = name, options
        return made

    @property
    def vertices(self) -> npt.NDArray[Any]:
        """Points, shape (v, d).

        int64 where every entry of the file is an integer of 64 bits, else
        :class:`fractions.Fraction` (``object``), which takes a microsecond each when it is first
        asked for.
        """
        return self._vertices.fractions

    @property
    def rays(self) -> npt.NDArray[Any]:
        """Directions, shape (r, d), of the same dtype."""
        return self._rays.fractions

    @property
    def lines(self) -> npt.NDArray[Any]:
        """Directions of both senses, shape (l, d), of the same dtype."""
        return self._lines.fractions

    @property
    def numerators(self) -> npt.NDArray[Any]:
        """Numerators of the vertices, shape (v, d), int64 where all fit; no Fraction is made.

        Each coordinate is ``numerators[i, j] / denominators[i, j]``, in lowest terms.
        """
        return self._vertices.numerators

    @property
    def denominators(self) -> npt.NDArray[Any]:
        """Denominators of the vertices, shape (v, d), positive."""
        return self._vertices.denominators

    @property
    def dimension(self) -> int:
        """Dimension d of the space."""
        return self._vertices.shape[1]

    def __repr__(self) -> str:
        named = f"{self.name!r}, " if self.name else ""
        vertices, rays, lines = (x.shape[0] for x in (self._vertices, self._rays, self._lines))
        return (
            f"VRepresentation({named}{vertices} vertices, {rays} rays, {lines} lines "
            f"in R^{self.dimension})"
        )


def read_ine(source: Source) -> HRepresentation:
    """The H-representation in a file of cddlib or lrslib, exactly.

    A row ``b -A`` of the file says ``b - A·x >= 0``. Numbers are integers and fractions of up to
    20,000 digits and, below a header that says ``real``, decimals, which are taken as the decimals
    that they are and not as floats. After ``nonnegative`` the rows of ``x >= 0`` follow those of
    the file.

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
    read, linearity, nonnegative, name, options = _read(source, points=False)
    table = read.fractions
    a, b = -table[:, 1:], table[:, 0].copy()
    if a.dtype == np.int64 and (table[:, 1:] == np.iinfo(np.int64).min).any():
        # Its negative is no integer of 64 bits.
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
        As :func:`vertices` takes them. A float is written as the fraction that it is.
    linearity
        The rows that hold with equality, counted from 0.
    name
        A line for the reader; empty for none.

    Raises
    ------
    InvalidArgumentError
        Shapes do not match, `linearity` names no row, or `name` is no single line or would be read
        as something else.
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
    lines = [*_named(name), "H-representation"]
    if equations:
        lines.append(
            " ".join(["linearity", *map(str, [len(equations), *(i + 1 for i in equations)])])
        )
    lines += ["begin", f"{len(entries)} {dimension + 1} {'integer' if integral else 'rational'}"]
    with _opened(target, "wb") as file:
        file.write("\n".join([*lines, ""]).encode())
        file.write(rows)
        file.write(b"end\n")


def read_ext(source: Source) -> VRepresentation:
    """The V-representation in a file of cddlib or lrslib, or in what lrs has printed, exactly.

    Parameters
    ----------
    source
        A path, or an open binary file.

    Raises
    ------
    FormatError
        The file is malformed or an H-representation; the message has line and column.
    TooLargeError
        A number has more digits or a larger exponent than is accepted.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import io
    >>> cone = read_ext(io.BytesIO(b'''V-representation
    ... begin
    ... ***** 3 rational
    ...  1 1/2 0
    ...  0  1  1
    ... end
    ... '''))
    >>> cone
    VRepresentation(1 vertices, 1 rays, 0 lines in R^2)
    >>> cone.rays.tolist()
    [[Fraction(1, 1), Fraction(1, 1)]]
    """
    table, linearity, _, name, options = _read(source, points=True)
    heads = table.columns(0, 1).numerators[:, 0]
    vertex = np.array(heads != 0, bool)
    line = np.zeros(len(heads), bool)
    line[linearity] = True
    if (vertex & line).any():
        row = int(np.flatnonzero(vertex & line)[0])
        raise FormatError(f"row {row + 1} is a vertex, and a linearity: only a ray can be a line")
    points = table.columns(1, table.shape[1])
    return VRepresentation._of(
        points.rows(vertex), points.rows(~vertex & ~line), points.rows(line), name, tuple(options)
    )


def write_ext(
    target: Source,
    vertices: Vertices
    | VRepresentation
    | ApproximateVertices
    | Iterable[Vertices]
    | npt.ArrayLike
    | Sequence[Sequence[Any]],
    *,
    dimension: int | None = None,
    name: str | None = None,
) -> None:
    """Write a V-representation: each vertex as a row ``1 x_1 … x_d`` of exact fractions.

    Parameters
    ----------
    target
        A path, or a binary file open for writing.
    vertices
        What :func:`vertices` or :func:`read_ext` gives, a table of points of shape (v, d) whose
        numbers are of any kind that :func:`vertices` takes, or a stream of blocks of
        :func:`iter_vertices`. The number of rows of a stream is written as ``*****``, as lrs does;
        cddlib wants to know it. A float is written as the fraction that it is.
    dimension
        Of the space; needed for a stream only, which may be empty.
    name
        A line for the reader; empty for none. None takes that of a :class:`VRepresentation`.

    Raises
    ------
    InvalidArgumentError
        A stream without `dimension`, a block of another dimension, or a `name` that would be read
        as something else.
    DtypeError
        `vertices` is none of these.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import io
    >>> from hypercomp_rs import vertices
    >>> file = io.BytesIO()
    >>> write_ext(file, vertices([[2, 0], [0, 3]], [1, 1]))
    >>> print(file.getvalue().decode(), end="")
    V-representation
    begin
    1 3 rational
     1 1/2 1/3
    end
    """
    lines: list[str] = []
    if isinstance(vertices, Vertices):
        count, space, rows = str(len(vertices)), vertices.dimension, vertex_rows(vertices)
    elif isinstance(vertices, Iterator) or _is_blocks(vertices):
        if dimension is None:
            raise InvalidArgumentError(
                "dimension=None: a stream of vertices does not say in which space"
            )
        blocks: Iterable[Vertices] = vertices  # type: ignore[assignment]
        count, space, rows = "*****", dimension, _rows_of_blocks(blocks, dimension)
    else:
        if not isinstance(vertices, VRepresentation):
            points = vertices.to_numpy() if isinstance(vertices, ApproximateVertices) else vertices
            vertices = VRepresentation(points)  # type: ignore[arg-type]
        if name is None:
            name = vertices.name
        space = vertices.dimension
        parts = vertices._vertices, vertices._rays, vertices._lines
        sizes = [part.shape[0] for part in parts]
        count, rows = str(sum(sizes)), _rows_of_tables(parts)
        if sizes[2]:
            first = sizes[0] + sizes[1] + 1
            numbers = range(first, first + sizes[2])
            lines = [" ".join(map(str, ["linearity", sizes[2], *numbers]))]
    if dimension is not None and dimension != space:
        raise InvalidArgumentError(f"dimension={dimension}, but the vertices are in R^{space}")
    head = [*_named(name or ""), "V-representation", *lines]
    head += ["begin", f"{count} {space + 1} rational", ""]
    with _opened(target, "wb") as file:
        file.write("\n".join(head).encode())
        for text in rows:
            file.write(text)
        file.write(b"end\n")


def _is_blocks(vertices: object) -> bool:
    """Whether these are blocks of vertices in a list or a like container; an empty one may be."""
    return isinstance(vertices, Sequence) and all(isinstance(block, Vertices) for block in vertices)


def _rows_of_blocks(blocks: Iterable[Vertices], space: int) -> Iterator[bytes]:
    for block in blocks:
        if not isinstance(block, Vertices):
            raise DtypeError(f"a block is a {type(block).__name__}: Vertices are accepted")
        if block.dimension != space:
            raise InvalidArgumentError(
                f"a block of vertices in R^{block.dimension}: R^{space} is what the file holds"
            )
        yield from vertex_rows(block)


def _rows_of_tables(parts: tuple[Table, Table, Table]) -> Iterator[bytes]:
    """The rows of vertices, rays and lines."""
    for head, table in zip("100", parts, strict=True):
        yield from table.written(head)


# Vertices that are turned to text at once: some megabytes.
_ROWS_AT_ONCE = 1 << 16


def vertex_rows(vertices: Vertices) -> Iterator[bytes]:
    """The rows of a V-representation, some thousands at a time."""
    for start in range(0, len(vertices), _ROWS_AT_ONCE):
        block = vertices[start : start + _ROWS_AT_ONCE]
        numbers = np.ascontiguousarray(block._integers()).reshape(-1)
        if numbers.dtype == np.int64:
            yield _core.vertex_rows(numbers, block.dimension)
        else:
            yield _core.big_vertex_rows(numbers.tolist(), block.dimension)


def _read(source: Source, *, points: bool) -> tuple[Table, list[int], bool, str, list[str]]:
    """The rows of a file as one table, and what else it says."""
    with _opened(source, "rb") as file:
        data = file.read()
        where = getattr(file, "name", None)
    if not isinstance(data, bytes):
        raise InvalidArgumentError(f"source gives {type(data).__name__}: open it in binary mode")
    try:
        columns, entries, linearity, nonnegative, name, options = _core.read_representation(
            data, points=points
        )
    except (FormatError, TooLargeError) as error:
        if not isinstance(where, str):
            raise
        raise type(error)(f"{where}: {error}") from None
    if isinstance(entries, np.ndarray):
        table = Table(entries.reshape(-1, columns), None)
    elif isinstance(entries, tuple):
        numerators, denominators = entries
        table = Table(numerators.reshape(-1, columns), denominators.reshape(-1, columns))
    else:
        pairs = np.empty((len(entries), 2), object)
        pairs[:] = entries
        table = Table(pairs[:, 0].reshape(-1, columns), pairs[:, 1].reshape(-1, columns))
    return table, linearity, nonnegative, name, options


def _sides_first(entries: npt.NDArray[Any] | list[list[Ratio]]) -> tuple[bytes, bool]:
    """The rows ``b -A`` for rows [A | b], and whether all of them are integers.

    Rust writes them: it is fast, and Python refuses to write integers of more than 4,300 digits.
    """
    if isinstance(entries, np.ndarray):
        if entries.dtype == np.int64 and not (entries == np.iinfo(np.int64).min).any():
            table = np.column_stack([entries[:, -1], -entries[:, :-1]])
            return _core.integer_rows(table.reshape(-1), table.shape[1]), True
        entries = [[x.as_integer_ratio() for x in row] for row in entries.tolist()]
    integral = all(denominator == 1 for row in entries for _, denominator in row)
    negated = [[side, *((-n, d) for n, d in normal)] for *normal, side in entries]
    return _core.rational_rows(negated), integral


def _named(name: str) -> list[str]:
    """The line of a name, if it is read back as one."""
    if not name:
        return []
    # A name is what the reader takes for one.
    header = f"{name}\nH-representation\nbegin\n0 1 rational\nend\n".encode(errors="replace")
    try:
        read = _core.read_representation(header, points=False)[4]
    except FormatError:
        read = ""
    if read != name or len(name.splitlines()) > 1:
        raise InvalidArgumentError(
            f"name={name!r}: one line is accepted that begins with no option, * or #"
        )
    return [name]


@contextmanager
def _opened(source: Source, mode: str) -> Iterator[IO[bytes]]:
    """The file at a path, closed again; or the open file that it is, left open."""
    if isinstance(source, str | os.PathLike):
        with open(source, mode) as file:
            yield file
    elif hasattr(source, "read" if "r" in mode else "write"):
        yield source
    else:
        raise InvalidArgumentError(f"{type(source).__name__}: a path or a binary file is accepted")
