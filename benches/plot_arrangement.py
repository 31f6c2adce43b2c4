"""Draw docs/arrangement.svg: a degenerate arrangement of lines, its vertices and their cobases."""

import pathlib
from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from hypercomp_rs import vertices

# The same bytes every time.
mpl.rcParams["svg.hashsalt"] = "arrangement"

# x = c, y = c and x ± y = c for c = -1, 0, 1.
A = [[1, 0], [0, 1], [1, 1], [1, -1]] * 3
b = [-1] * 4 + [0] * 4 + [1] * 4


def main() -> None:
    """Draw it."""
    found = vertices(A, b)
    indptr, indices = found.incidence()
    points = found.to_numpy()
    cobases = [
        sum(
            round(np.linalg.det([A[i], A[j]])) != 0
            for i, j in combinations(indices[indptr[v] : indptr[v + 1]].tolist(), 2)
        )
        for v in range(len(found))
    ]
    figure, axes = plt.subplots(figsize=(5, 5))
    span = np.array([-4.0, 4.0])
    for (x, y), side in zip(A, b, strict=True):
        if y:
            axes.plot(span, (side - x * span) / y, color="0.75", linewidth=1, zorder=1)
        else:
            axes.axvline(side / x, color="0.75", linewidth=1, zorder=1)
    simple = found.simple
    axes.scatter(*points[simple].T, s=36, color="tab:blue", zorder=2, label="on two lines")
    axes.scatter(*points[~simple].T, s=36, color="tab:red", zorder=2, label="on more")
    for (x, y), count in zip(points, cobases, strict=True):
        axes.annotate(str(count), (x, y), (4, 5), textcoords="offset points", fontsize=9)
    axes.set(xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), aspect="equal", xticks=(), yticks=())
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, frameon=False)
    figure.tight_layout()
    target = pathlib.Path(__file__).parents[1] / "docs/arrangement.svg"
    figure.savefig(target, metadata={"Date": None})
    assert sum(cobases) == vertices(A, b, method="zero").cobases


if __name__ == "__main__":
    main()
