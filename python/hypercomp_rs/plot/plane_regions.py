"""Figures of the regions of an arrangement in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arrangement
from .._extras import imported
from ..errors import InvalidArgumentError, TooLargeError
from . import style
from .hyperplanes import box_around, draw_lines, given_box, unit_rows

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..arrangement.enumeration import Matrix, Vector

# Up to so many regions have a black edge where they are bounded.
MOST_OUTLINED = 2000


def regions(
    A: Matrix, b: Vector, *, box: tuple[Sequence[float], Sequence[float]] | None = None
) -> Any:
    """The regions of an arrangement of lines, each in a colour.

    The colour of a region shows the number of lines that it lies on the positive side of, so that
    regions on both sides of a line differ. Bounded regions have a dark edge.

    Parameters
    ----------
    A, b
        As for :func:`hypercomp_rs.regions`, in R².
    box
        The lower and the upper corner of what is drawn; by default all vertices are inside.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InvalidArgumentError
        An arrangement in another dimension, or a `box` that is none.
    TooLargeError
        The arrangement is beyond the range of float64.
    MissingExtraError
        matplotlib is not installed.

    Notes
    -----
    Regions are exact; only drawing rounds them. O(r·n) for r regions of n lines.

    Examples
    --------
    >>> from hypercomp_rs import plot
    >>> figure = plot.regions([[1, 0], [0, 1], [1, 1]], [0, 0, 1])
    >>> figure.axes[0].get_title("left")
    '7 regions, 1 bounded'
    """
    found = arrangement.regions(A, b)
    if found.dimension != 2:
        raise InvalidArgumentError(
            f"the arrangement is in R^{found.dimension}: regions of R^2 can be drawn"
        )
    vertices = arrangement.vertices(A, b)
    normals, sides = unit_rows(vertices)
    points = vertices.to_numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = box_around(points, normals, sides) if box is None else given_box(box, 2)
        finite = np.isfinite(4 * (high - low)).all()
    if not finite:
        raise TooLargeError("the arrangement is too large for axes in float64")
    inside = found.to_numpy()
    polygons = [polygon_around(point, normals, sides, low, high) for point in inside]
    drawn = [at for at, polygon in enumerate(polygons) if len(polygon) >= 3]
    positive = (found.signs > 0).sum(1)
    with style.settings():
        mpl = imported("matplotlib", "plot", "hypercomp_rs.plot")
        collections = imported("matplotlib.collections", "plot", "hypercomp_rs.plot")
        figure = style.new_figure(6.4, 6.0)
        axes = figure.add_subplot()
        collection = collections.PolyCollection(
            [polygons[at] for at in drawn], array=positive[drawn], cmap=mpl.colormaps["cividis"]
        )
        collection.set(alpha=0.75, edgecolor="none", zorder=0)
        axes.add_collection(collection)
        draw_lines(axes, normals, sides, low, high)
        outlined = [polygons[at] for at in drawn if found.bounded[at]]
        if len(outlined) <= MOST_OUTLINED:
            edges = collections.PolyCollection(outlined, facecolor="none", edgecolor=style.TEXT)
            edges.set(linewidth=1.0, zorder=2)
            axes.add_collection(edges)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        ratio = (high[1] - low[1]) / (high[0] - low[0])
        axes.set_aspect("equal" if 1 / 8 < ratio < 8 else "auto")
        axes.set_xlabel("$x_1$", parse_math=True)
        axes.set_ylabel("$x_2$", parse_math=True)
        if len(normals):
            figure.colorbar(collection, ax=axes, label="lines with a positive sign", shrink=0.7)
        count, bounded = len(found), int(found.bounded.sum())
        noun = "region" if count == 1 else "regions"
        axes.set_title(f"{count} {noun}, {bounded} bounded", loc="left")
        return figure


def polygon_around(
    point: npt.NDArray[np.float64],
    normals: npt.NDArray[np.float64],
    sides: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """The part of a box on a point's side of every line, its corners in order; shape (corners, 2).

    Source: I. E. Sutherland and G. W. Hodgman, Reentrant Polygon Clipping, 1974.
    """
    polygon = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]])
    for normal, side in zip(normals, sides, strict=True):
        towards = 1.0 if point @ normal >= side else -1.0
        heights = towards * (polygon @ normal - side)
        if (heights >= 0).all():
            continue
        corners = []
        for at, height in enumerate(heights):
            before = heights[at - 1]
            if height * before < 0:
                share = before / (before - height)
                corners.append(polygon[at - 1] + share * (polygon[at] - polygon[at - 1]))
            if height >= 0:
                corners.append(polygon[at])
        if len(corners) < 3:
            return np.empty((0, 2))
        polygon = np.array(corners)
    return polygon
