"""Figures of arrangements: hyperplanes in the plane or in space, and their vertices."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np

from .._extras import imported
from ..arrangement import Vertices
from ..errors import DtypeError, InvalidArgumentError, TooLargeError
from . import style

if TYPE_CHECKING:
    import numpy.typing as npt

# Up to so many planes are drawn in space: more hide each other.
PLANES = 12
# Up to so many different degeneracies have an entry in the legend; more have a bar of colours.
_ENTRIES = 8


def arrangement(
    found: Vertices,
    *,
    box: tuple[Sequence[float], Sequence[float]] | None = None,
    planes: int = PLANES,
) -> Any:
    """An arrangement in R² or R³ with its vertices, and how degenerate each of them is.

    The size and the colour of a vertex show the number of distinct hyperplanes through it: 2 lines
    or 3 planes through a simple vertex, more through a degenerate one.

    Parameters
    ----------
    found
        What :func:`hypercomp_rs.vertices` gives: vertices of an arrangement in R² or R³. It may be
        partial, or a slice; hyperplanes are all drawn.
    box
        The lower and the upper corner of what is drawn, for instance ``((-1, -1), (1, 1))``. By
        default all vertices are inside, with a margin; a few that are far away make the rest small.
    planes
        Most planes that are drawn in R³. Of an arrangement with more, only vertices are drawn.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    DtypeError
        `found` is something else, for instance vertices in floats.
    InvalidArgumentError
        An arrangement in another dimension, or a `box` that is none.
    TooLargeError
        A vertex, or all of a hyperplane, is beyond the range of float64.
    MissingExtraError
        matplotlib is not installed.

    Notes
    -----
    Coordinates and degeneracies are exact; only drawing rounds them. O(v·n·d) for the degeneracies.

    Examples
    --------
    >>> from hypercomp_rs import plot, vertices
    >>> figure = plot.arrangement(vertices([[1, 0], [0, 1], [1, 1]], [0, 0, 0]))
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['3 lines: 1 vertex']
    """
    if not isinstance(found, Vertices):
        raise DtypeError(
            f"found is of type {type(found).__name__}: exact vertices of hypercomp_rs.vertices are "
            "accepted"
        )
    if found.dimension not in (2, 3):
        raise InvalidArgumentError(
            f"the arrangement is in R^{found.dimension}: R^2 and R^3 can be drawn"
        )
    points = found.to_numpy()
    through = degeneracies(found)
    normals, sides = unit_rows(found)
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = (
            box_around(points, normals, sides) if box is None else given_box(box, found.dimension)
        )
        # Limits of axes are further out by their margins, and have to be numbers too.
        finite = np.isfinite(4 * (high - low)).all()
    if not finite:
        raise TooLargeError("the arrangement is too large for axes in float64")
    inside = ((points >= low) & (points <= high)).all(1)
    in_space = found.dimension == 3
    with style.settings():
        figure = style.new_figure(6.4, 6.0)
        axes = figure.add_subplot(projection="3d") if in_space else figure.add_subplot()
        if not in_space:
            draw_lines(axes, normals, sides, low, high)
            axes.set_xlim(low[0], high[0])
            axes.set_ylim(low[1], high[1])
            ratio = (high[1] - low[1]) / (high[0] - low[0])
            axes.set_aspect("equal" if 1 / 8 < ratio < 8 else "auto")
        else:
            # By default matplotlib puts whole planes in front of whole sets of vertices.
            axes.computed_zorder = False
            if len(normals) <= planes:
                _draw_planes(axes, normals, sides, low, high)
            axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
            axes.set_zlabel("$x_3$", parse_math=True)
        axes.set_xlabel("$x_1$", parse_math=True)
        axes.set_ylabel("$x_2$", parse_math=True)
        noun = "plane" if in_space else "line"
        _draw_vertices(figure, axes, points[inside], through[inside], noun)
        count = len(normals)
        title = f"{_counted(count, noun)}, {_counted(len(points), 'vertex')}"
        if not inside.all():
            title += f" ({int(inside.sum())} in this box)"
        if in_space and count > planes:
            title += "; planes are not drawn"
        axes.set_title(title if found.complete else f"{title} so far", loc="left")
        return figure


def degeneracies(found: Vertices) -> npt.NDArray[np.int64]:
    """The number of distinct hyperplanes through each vertex, shape (v,)."""
    starts, _ = found._through()
    return np.diff(starts)


def _counted(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    return f"{count} {'vertices' if noun == 'vertex' else noun + 's'}"


def unit_rows(found: Vertices) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The distinct hyperplanes of an arrangement: normals whose largest entry is 1, right sides."""
    entries = found._problem.rows.entries
    rows: Sequence[Sequence[Any]] = entries.tolist() if isinstance(entries, np.ndarray) else entries
    exact = dict.fromkeys(filter(None, map(_scaled, rows)))
    try:
        made = np.array([[float(x) for x in row] for row in exact], float)
    except OverflowError as error:
        raise TooLargeError("a hyperplane is beyond the range of float64") from error
    made = made.reshape(-1, found.dimension + 1)
    return made[:, :-1], made[:, -1]


def _scaled(row: Sequence[Any]) -> tuple[Fraction, ...] | None:
    """A row with 1 as the first of its largest entries; None for one without a normal."""
    numbers = [Fraction(*x) if isinstance(x, tuple) else Fraction(x) for x in row]
    largest = max(map(abs, numbers[:-1]), default=Fraction(0))
    if not largest:
        return None
    by = next(x for x in numbers[:-1] if abs(x) == largest)
    return tuple(x / by for x in numbers)


def box_around(
    points: npt.NDArray[np.float64],
    normals: npt.NDArray[np.float64],
    sides: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The lower and the upper corner of what is drawn."""
    if not len(points):
        # The points of the hyperplanes that are nearest to the origin; without any, the unit box.
        squares = np.square(normals).sum(1)
        points = (
            normals * (sides / squares)[:, None]
            if len(normals)
            else np.zeros((1, normals.shape[1]))
        )
    low, high = points.min(0), points.max(0)
    # Halves first: the difference of two floats may be too large for one.
    reach = high / 2 - low / 2
    widest = float(reach.max()) or max(0.5, float(np.abs(points).max()) / 8)
    # A flat axis is made as long as half of the widest one.
    margin = np.where(reach == 0, widest / 2, np.maximum(0.3 * reach, widest / 20))
    return low - margin, high + margin


def given_box(
    box: tuple[Sequence[float], Sequence[float]], dimension: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The corners that a caller gave, checked."""
    try:
        corners = np.array(box, np.float64)
    except (TypeError, ValueError):
        corners = np.empty(0)
    if (
        corners.shape != (2, dimension)
        or not np.isfinite(corners).all()
        or not (corners[0] < corners[1]).all()
    ):
        raise InvalidArgumentError(
            f"box={box!r}: a lower and an upper corner of {dimension} numbers each are accepted"
        )
    return corners[0], corners[1]


def draw_lines(
    axes: Any,
    normals: npt.NDArray[np.float64],
    sides: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
) -> None:
    """Draw lines as far as they lie in a box."""
    collections = imported("matplotlib.collections", "plot", "hypercomp_rs.plot")
    segments = []
    for normal, side in zip(normals, sides, strict=True):
        # Where the line meets the four sides of the box, by the coordinate that is the steeper one.
        along = int(np.argmin(np.abs(normal)))
        across = 1 - along
        ends = np.empty((2, 2))
        ends[:, along] = low[along], high[along]
        ends[:, across] = (side - normal[along] * ends[:, along]) / normal[across]
        segments.append(ends)
    width = 1.0 if len(segments) <= 40 else 0.5
    axes.add_collection(
        collections.LineCollection(segments, colors="#8c8c8c", linewidths=width, zorder=1)
    )


def _draw_planes(
    axes: Any,
    normals: npt.NDArray[np.float64],
    sides: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
) -> None:
    art3d = imported("mpl_toolkits.mplot3d.art3d", "plot", "hypercomp_rs.plot")
    faces = [
        face
        for normal, side in zip(normals, sides, strict=True)
        if len(face := plane_in_box(normal, float(side), low, high)) >= 3
    ]
    if faces:
        collection = art3d.Poly3DCollection(
            faces,
            facecolors=style.SKY,
            alpha=min(0.12, 0.6 / len(faces)),
            edgecolors="#7a7a7a",
            linewidths=0.6,
            zorder=1,
        )
        axes.add_collection3d(collection)


def plane_in_box(
    normal: npt.NDArray[np.float64],
    side: float,
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """The polygon in which a plane cuts a box, its corners in order, shape (corners, 3).

    It has no corners where the plane misses the box.
    """
    corners = np.array(list(product(*zip(low, high, strict=True))))
    height = corners @ normal - side
    found = []
    for i, j in combinations(range(8), 2):
        # Corners are numbered by bits: an edge changes one.
        if (i ^ j) not in (1, 2, 4) or height[i] == height[j] or height[i] * height[j] > 0:
            continue
        share = height[i] / (height[i] - height[j])
        found.append(corners[i] + share * (corners[j] - corners[i]))
    if len(found) < 3:
        return np.empty((0, 3))
    points = np.array(found)
    centre = points.mean(0)
    # Around the centre, in two axes of the plane itself.
    scaled = (points - centre) / (high - low)
    tilted = normal * (high - low)
    first = np.cross(tilted, np.eye(3)[int(np.argmin(np.abs(tilted)))])
    second = np.cross(tilted, first)
    order = np.argsort(
        np.arctan2(scaled @ second * np.linalg.norm(first), scaled @ first * np.linalg.norm(second))
    )
    return points[order]


def _draw_vertices(
    figure: Any,
    axes: Any,
    points: npt.NDArray[np.float64],
    through: npt.NDArray[np.int64],
    noun: str,
) -> None:
    if not len(points):
        write = axes.text2D if noun == "plane" else axes.text
        write(0.5, 0.5, "no vertices", transform=axes.transAxes, ha="center")
        return
    mpl = imported("matplotlib", "plot", "hypercomp_rs.plot")
    # From a dark blue to a yellow, both ends at a distance from white; made for any colour vision.
    colours = mpl.colormaps["cividis"]
    values = np.unique(through)
    least, most = int(values[0]), int(values[-1])
    crowd = 1.0 if len(points) <= 300 else 0.5 if len(points) <= 3000 else 0.25
    many = len(points) > style.MANY_POINTS

    def share(value: int) -> float:
        return (value - least) / max(1, most - least)

    drawn = None
    for value in values.tolist():
        chosen = through == value
        count = int(chosen.sum())
        drawn = axes.scatter(
            *points[chosen].T,
            s=(22.0 + 110.0 * share(value)) * crowd,
            c=np.full(count, value),
            cmap=colours,
            vmin=least,
            vmax=max(most, least + 1),
            edgecolor=style.TEXT,
            linewidth=0.5 * crowd,
            zorder=2 + share(value),
            label=f"{_counted(value, noun)}: {_counted(count, 'vertex')}",
            rasterized=many,
            # In space, points would fade with their distance, and colours would mislead.
            **({"depthshade": False} if noun == "plane" else {}),
        )
    if len(values) <= _ENTRIES:
        handles, labels = axes.get_legend_handles_labels()
        made = figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=min(3, len(labels)),
            title=f"{noun}s through a vertex",
        )
        # As large as where there are few vertices, so that colours can be seen.
        for handle, value in zip(made.legend_handles, values.tolist(), strict=True):
            handle.set_sizes([22.0 + 110.0 * share(value)])
    else:
        figure.colorbar(drawn, ax=axes, label=f"{noun}s through a vertex", shrink=0.7)
