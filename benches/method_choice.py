"""The method that `vertices` chooses beside both methods and brute force, on a grid of shapes.

Prints a line for each case, and the worst: the time of the choice over that of the better method.
Times are the least of several, for all methods in turn. Cases that do not end in time are judged by
the vertices that each method finds. ``--short`` takes a few shapes and little time.
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
    *((4, 1), (60, 1), (5, 2), (60, 2), (4, 3), (5, 3), (8, 3), (16, 3), (40, 3), (60, 3), (6, 4)),
    *((10, 4), (20, 4), (40, 4), (7, 5), (12, 5), (25, 5), (8, 6), (12, 6), (18, 6), (60, 6)),
    *((10, 8), (14, 8), (30, 8), (12, 10), (16, 10), (14, 12), (20, 12), (17, 15), (22, 20)),
    *((40, 20), (32, 30), (42, 40), (60, 40)),
]
KINDS = ["int1", "int4", "int9", "int18", "float", "q20", "q100", "q300", "q1000", "degenerate"]
KINDS += ["sparse"]
# Rows of a case with long rationals have at most so many digits: a file of some megabytes.
MOST_DIGITS = 2_000_000
# Cases that take less are over before the choice is of use.
JUDGED_FROM = 1e-3
# Short cases are repeated, up to so many times and for so long.
ROUNDS = 7
ROUNDS_SECONDS = 0.05
# Brute force beyond so many subsets takes longer than anybody waits.
MOST_SUBSETS = 400
# Nor in so many dimensions.
MOST_DIMENSIONS = 12


def case(kind: str, n: int, d: int) -> tuple[Any, Any]:
    """Rows of a kind: integers or rationals of so many digits, floats, or small integers.

    Sparse rows have two entries that are not 0, of one digit.
    """
    rng, r = np.random.default_rng(n * d), random.Random(n * d)
    if kind == "float":
        return rng.standard_normal((n, d)), rng.standard_normal(n)
    if kind == "degenerate":
        return rng.integers(-1, 2, (n, d)), rng.integers(-1, 2, n) * (np.arange(n) > n // 2)
    if kind == "sparse":
        rows = np.zeros((n, d), int)
        for row in rows:
            row[rng.choice(d, min(d, 2), replace=False)] = rng.choice([-2, -1, 1, 2], min(d, 2))
        return rows, rng.integers(-2, 3, n)
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


def paces_of(a: Any, b: Any, limit: float) -> tuple[dict[str, float], float, str]:
    """Seconds a vertex of each method, those of the choice in all, and what was found."""
    least: dict[str, float] = {}
    lines: dict[str, str] = {}
    start, rounds = time.process_time(), 0
    while not rounds or (rounds < ROUNDS and time.process_time() - start < ROUNDS_SECONDS):
        rounds += 1
        for method in ("auto", "flats", "zero"):
            begun = time.process_time()
            found = vertices(a, b, method=method, threads=1, time_limit=limit)  # type: ignore[arg-type]
            taken = time.process_time() - begun
            if taken / (len(found) or 0.5) < least.get(method, math.inf):
                least[method] = taken / (len(found) or 0.5)
                mark = " " if found.complete else "+"
                lines[method] = f"  {method} {taken:8.4f}{mark}({len(found)})"
                if method == "auto":
                    lines[method] += f" took {found.method}"
                    whole = taken
    return least, whole, "".join(lines.values())


def main(limit: float, shapes: list[tuple[int, int]], kinds: list[str]) -> float:
    """Print the table; the worst ratio."""
    worst = (0.0, "")
    for kind, (n, d) in itertools.product(kinds, shapes):
        if kind.startswith("q") and n * (d + 1) ** 2 * int(kind[1:]) > MOST_DIGITS:
            continue
        a, b = case(kind, n, d)
        rows = a.tolist() if isinstance(a, np.ndarray) else a
        if any(not any(row) for row in rows):
            continue
        paces, whole, line = paces_of(a, b, limit)
        line = f"{kind:10s} n={n:3d} d={d:3d}{line}"
        better = min(paces["flats"], paces["zero"])
        if math.comb(n, d) <= MOST_SUBSETS and d <= MOST_DIMENSIONS:
            start = time.process_time()
            points = brute_force(rows, b.tolist() if isinstance(b, np.ndarray) else b)
            taken = time.process_time() - start
            line += f"  brute force {taken:8.4f}"
            if points:
                better = min(better, taken / points)
        ratio = paces["auto"] / better
        print(f"{line}  choice / best {ratio:6.2f}", flush=True)
        if whole > JUDGED_FROM:
            worst = max(worst, (ratio, line))
    print(f"worst: {worst[0]:.2f}, {worst[1]}")
    return worst[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seconds", type=float, default=0.5, help="for a case")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    options = parser.parse_args()
    ratio = main(
        0.05 if options.short else options.seconds,
        SHAPES[4:10] if options.short else SHAPES,
        options.kinds,
    )
    # A glance is too short to judge by.
    if ratio > WORST and not options.short:
        sys.exit(f"missed: the choice takes {ratio:.2f} times the best, {WORST} wanted")
