"""Both searches beside the obvious one: numpy solves every d-subset of hyperplanes in floats.

The baseline is neither exact nor sparing (it holds all points at once and takes equal ones together
by rounding), but it is vectorised. ``--short`` takes small inputs and one round.
"""

import argparse
import functools
import itertools
import sys

import numpy as np
from rich.console import Console
from rich.table import Table
from timing import seconds

import hypercomp_rs as hc


def type_b(d, constants):
    """x_i = c and x_i ± x_j = c."""
    a, b = [], []
    for c in constants:
        for i in range(d):
            a.append([int(k == i) for k in range(d)])
            b.append(c)
        for i, j in itertools.combinations(range(d), 2):
            for sign in (1, -1):
                a.append([1 if k == i else sign if k == j else 0 for k in range(d)])
                b.append(c)
    return np.array(a), np.array(b)


def generic(n, d):
    rng = np.random.default_rng(0)
    return rng.integers(-100, 101, (n, d)), rng.integers(-100, 101, n)


def every_subset(a, b):
    """The distinct points of all non-singular d-subsets, to nine decimal places."""
    n, d = a.shape
    points = []
    subsets = itertools.combinations(range(n), d)
    while chunk := list(itertools.islice(subsets, 100_000)):
        index = np.array(chunk)
        normals = a[index].astype(float)
        regular = np.abs(np.linalg.det(normals)) > 1e-9
        sides = b[index[regular]][..., None]
        points.append(np.linalg.solve(normals[regular], sides)[..., 0].round(9) + 0.0)
    return np.unique(np.concatenate(points), axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="small inputs, one round")
    short = parser.parse_args().short
    inputs = {
        "60 random planes in R^4": generic(15 if short else 60, 4),
        "type B in R^4, c = -1..1": type_b(3 if short else 4, (-1, 0, 1)),
        "type B in R^5, c = -2..2": type_b(3 if short else 5, (-2, -1, 0, 1, 2)),
    }
    table = Table(title="vertices, one thread" + (", shortened inputs" if short else ""))
    for heading in ("input", "vertices", "cobases", "search", "ms", "ns/vertex", "x numpy"):
        table.add_column(heading, justify="left" if heading in ("input", "search") else "right")
    lost = []
    for name, (a, b) in inputs.items():
        find = functools.partial(hc.vertices, a, b, threads=1)
        calls = {"flats": find}
        # Cobases of the largest input: 79 million.
        if short or len(a) < 100:
            calls["zero"] = functools.partial(find, method="zero")
            calls["numpy"] = functools.partial(every_subset, a, b)
        taken = seconds(calls, 1 if short else 3)
        found = find()
        cobases = calls["zero"]().cobases if "zero" in calls else None
        for search, t in taken.items():
            ratio = taken["numpy"] / t if "numpy" in taken else None
            table.add_row(
                name,
                f"{len(found):,}",
                "-" if cobases is None else f"{cobases:,}",
                search,
                f"{1e3 * t:.1f}",
                f"{1e9 * t / len(found):.0f}",
                "-" if ratio is None else f"{ratio:.1f}",
            )
            # The Zero rule visits what numpy visits; only flats promises to beat it.
            if search == "flats" and ratio is not None and ratio < 1:
                lost.append(f"{search} on {name}")
    Console(width=None if Console().is_terminal else 120).print(table)
    if lost and not short:
        sys.exit("slower than the obvious search: " + ", ".join(lost))


if __name__ == "__main__":
    main()
