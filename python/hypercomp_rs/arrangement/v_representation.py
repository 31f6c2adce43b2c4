"""V-representations: vertices, rays and lines, from ``.ext`` files and to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..errors import DtypeError, FormatError, InvalidArgumentError
from .approximate import ApproximateVertices
from .representation_file import Source, name_lines, opened, read_table
from .result import Vertices
from .rows import Table

if TYPE_CHECKING:
    import numpy.typing as npt


class VRepresentation:
    """Vertices, rays and lines; made by :func:`read_ext`, written by :func:`write_ext`.

    Parameters
    ----------
    vertices
        Points, shape (v, d), of numbers that :func:`vertices` accepts.
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

        int64 if every entry of the file is an integer of 64 bits, and otherwise
        :class:`fractions.Fraction` (``object``). The fractions are made at the first access, which
        takes about a microsecond for each.
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
        """Numerators of the vertices, shape (v, d), int64 if all fit. No Fraction is made.

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
    table, linearity, _, name, options = read_table(source, points=True)
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
        A result of :func:`vertices` or :func:`read_ext`; a table of points of shape (v, d) with
        numbers that :func:`vertices` accepts; or a stream of :func:`iter_vertices`. For a stream,
        the number of rows is written as ``*****``, as lrs does; cddlib needs the number.
        A float is written as the fraction that it stores.
    dimension
        Dimension of the space. Only a stream needs it, because it may be empty.
    name
        A line with a name for the polyhedron. Empty for none; None for the name of a
        :class:`VRepresentation`.

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
    head = [*name_lines(name or ""), "V-representation", *lines]
    head += ["begin", f"{count} {space + 1} rational", ""]
    with opened(target, "wb") as file:
        file.write("\n".join(head).encode())
        for text in rows:
            file.write(text)
        file.write(b"end\n")


def _is_blocks(vertices: object) -> bool:
    """Whether this is a sequence of blocks of vertices. An empty sequence counts as one."""
    return isinstance(vertices, Sequence) and all(isinstance(block, Vertices) for block in vertices)


def _rows_of_blocks(blocks: Iterable[Vertices], space: int) -> Iterator[bytes]:
    for block in blocks:
        if not isinstance(block, Vertices):
            raise DtypeError(f"a block is a {type(block).__name__}: Vertices are accepted")
        if block.dimension != space:
            raise InvalidArgumentError(
                f"a block of vertices in R^{block.dimension}: R^{space} is the space of the file"
            )
        yield from vertex_rows(block)


def _rows_of_tables(parts: tuple[Table, Table, Table]) -> Iterator[bytes]:
    """The rows of vertices, rays and lines."""
    for head, table in zip("100", parts, strict=True):
        yield from table.written(head)


# The number of vertices that are converted to text together: some megabytes.
_ROWS_AT_ONCE = 1 << 16


def vertex_rows(vertices: Vertices) -> Iterator[bytes]:
    """The rows of a V-representation, some thousands at a time."""
    for start in range(0, len(vertices), _ROWS_AT_ONCE):
        block = vertices[start : start + _ROWS_AT_ONCE]
        numbers = np.ascontiguousarray(block._homogeneous()).reshape(-1)
        if numbers.dtype == np.int64:
            yield _core.vertex_rows(numbers, block.dimension)
        else:
            yield _core.big_vertex_rows(numbers.tolist(), block.dimension)
