"""The method that `vertices` chooses beside both methods and brute force, on a grid of shapes.

Prints a line for each case, and the worst: the time of the choice over that of the better method.
Cases that do not end in time are judged by the vertices that each method finds. ``--short`` takes a
few shapes and little time.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import sys
import time
from fractions import Fraction
from typing import Any

import numpy as np

from hypercomp_rs import vertices

# What was asked of the ratio in every case.
WORST = 1.5
SHAPES = [
    *((4, 3), (5, 3), (8, 3), (16, 3), (40, 3), (6, 4), (10, 4), (20, 4), (8, 6), (12, 6), (18, 6)),
    *((10, 8), (14, 8), (12, 10), (16, 10), (14, 12), (20, 12), (17, 15), (22, 20), (32, 30)),
]
KINDS = ["int1", "int4", "int9", "int18", "float", "q20", "q100", "q300", "q1000", "degenerate"]
# Brute force beyond so many subsets takes longer than anybody waits.
MOST_SUBSETS = 400


def case(kind: str, n: int, d: int) -> tuple[Any, Any]:
    """Rows of a kind: integers or rationals of so many digits, floats, or small integers."""
    rng, r = np.random.default_rng(n * d), random.Random(n * d)
    if kind == "float":
        return rng.standard_normal((n, d)), rng.standard_normal(n)
    if kind == "degenerate":
        return rng.integers(-1, 2, (n, d)), rng.integers(-1, 2, n) * (np.arange(n) > n // 2)
    if kind.startswith("int"):
        most = 10 ** int(kind[3:])
        return rng.integers(-most, most, (n, d)), rng.integers(-most, most, n)
    most = 10 ** int(kind[1:])

    def number() -> Fraction:
        return Fraction(r.randrange(-most, most), r.randrange(1, most))

    return [[number() for _ in range(d)] for _ in range(n)], [number() for _ in range(n)]


def brute_force(a: Any, b: Any) -> int:
    """Every subset of d rows solved in fractions; the number of points."""
    rows = [[*map(Fraction, row), Fraction(side)] for row, side in zip(a, b, strict=True)]
    d, points = len(rows[0]) - 1, set()
    for subset in itertools.combinations(rows, d):
        matrix = [list(row) for row in subset]
        for c in range(d):
            at = next((r for r in range(c, d) if matrix[r][c]), None)
            if at is None:
                break
            matrix[c], matrix[at] = matrix[at], matrix[c]
            lead = matrix[c][c]
            matrix[c] = [x / lead for x in matrix[c]]
            for r in range(d):
                if r != c and (by := matrix[r][c]):
                    matrix[r] = [x - by * y for x, y in zip(matrix[r], matrix[c], strict=True)]
        else:
            points.add(tuple(row[d] for row in matrix))
    return len(points)


def main(limit: float, shapes: list[tuple[int, int]]) -> float:
    """Print the table; the worst ratio."""
    worst = (0.0, "")
    for kind, (n, d) in itertools.product(KINDS, shapes):
        if kind.startswith("q") and d > 6:
            continue
        a, b = case(kind, n, d)
        rows = a.tolist() if isinstance(a, np.ndarray) else a
        if any(not any(row) for row in rows):
            continue
        paces, line = {}, f"{kind:10s} n={n:3d} d={d:3d}"
        for method in ("auto", "flats", "zero"):
            start = time.process_time()
            found = vertices(a, b, method=method, threads=1, time_limit=limit)  # type: ignore[arg-type]
            taken = time.process_time() - start
            paces[method] = taken / (len(found) or 0.5)
            mark = " " if found.complete else "+"
            line += f"  {method} {taken:8.4f}{mark}({len(found)})"
            if method == "auto":
                line += f" took {found.method}"
        better = min(paces["flats"], paces["zero"])
        if math.comb(n, d) <= MOST_SUBSETS:
            start = time.process_time()
            points = brute_force(rows, b.tolist() if isinstance(b, np.ndarray) else b)
            taken = time.process_time() - start
            line += f"  brute force {taken:8.4f}"
            if points:
                better = min(better, taken / points)
        ratio = paces["auto"] / better
        print(f"{line}  choice / best {ratio:6.2f}", flush=True)
        if n * paces["auto"] > 1e-3:
            worst = max(worst, (ratio, line))
    print(f"worst: {worst[0]:.2f}, {worst[1]}")
    return worst[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seconds", type=float, default=1.0, help="for a case")
    options = parser.parse_args()
    ratio = main(
        0.05 if options.short else options.seconds, SHAPES[:6] if options.short else SHAPES
    )
    # A glance is too short to judge by.
    if ratio > WORST and not options.short:
        sys.exit(f"missed: the choice takes {ratio:.2f} times the best, {WORST} wanted")
