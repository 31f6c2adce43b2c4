"""Estimates of `estimate_vertices` beside what a search finds, on twenty families.

An interval is the estimate plus and minus two standard errors. Times are those of one thread by the
clock, for families whose search takes long enough to be timed. ``--short`` takes small members.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from arrangements import braid, catalan, generic, grid, type_b, unbalanced, with_long_entries

import hypercomp_rs as hc

# Faster searches are over before a prediction is of use.
TIMED_FROM = 0.1
# What was asked of a predicted time.
FACTOR = 3.0
# Of twenty right intervals of two standard errors, fewer have the number once in 400 runs.
INSIDE = 16


def cross_polytope(d: int) -> tuple[Any, Any]:
    """1 + s·x = 0 for all sign vectors s, in their natural order."""
    a = np.array(list(itertools.product((1, -1), repeat=d)))
    return a, -np.ones(len(a), int)


def resonance(d: int) -> tuple[Any, Any]:
    """The sums of all non-empty subsets of coordinates are 0 or 1."""
    a = np.array([x for x in itertools.product((0, 1), repeat=d) if any(x)])
    return np.concatenate([a, a]), np.repeat([0, 1], len(a))


def threshold(d: int) -> tuple[Any, Any]:
    """x_i + x_j = 0 and 1."""
    pairs = list(itertools.combinations(range(d), 2))
    a = np.array([[int(k in pair) for k in range(d)] for pair in pairs])
    return np.concatenate([a, a]), np.repeat([0, 1], len(a))


def shi(n: int) -> tuple[Any, Any]:
    """x_i - x_j = 0 and 1 in R^(n-1)."""
    a, b = catalan(n)
    return a[b >= 0], b[b >= 0]


def near_pencil(n: int, d: int) -> tuple[Any, Any]:
    """All but one hyperplane through one point."""
    a, _ = generic(n, d)
    return a, np.array([0] * (n - 1) + [1])


def families(short: bool) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Name and rows of each."""
    k = 0 if short else 1
    yield "random in R^3", generic(20 + 180 * k, 3)
    yield "random in R^4", generic(14 + 46 * k, 4)
    yield "random in R^5", generic(12 + 33 * k, 5)
    yield "random in R^8", generic(12 + 10 * k, 8)
    yield "random, hardly more rows", generic(14 + 6 * k, 12 + 5 * k)
    yield "random of one digit", generic(16 + 24 * k, 4, 2)
    yield "random of 18 digits", generic(14 + 26 * k, 4, 10**18)
    yield "seen from elsewhere", with_long_entries(*generic(14 + 36 * k, 4))
    yield "floats", tuple(x / 7 for x in generic(14 + 16 * k, 4))
    yield "type B", type_b(3 + 2 * k, (-1, 0, 1))
    yield "type B, five translates", type_b(3 + k, (-2, -1, 0, 1, 2))
    yield "braid", braid(5 + 2 * k)
    yield "Catalan", catalan(4 + 2 * k)
    yield "Shi", shi(4 + 2 * k)
    yield "threshold", threshold(4 + 2 * k)
    yield "resonance", resonance(3 + k)
    yield "cross-polytope", cross_polytope(3 + 2 * k)
    yield "grid", grid(3 + 4 * k, 4)
    yield "near pencil", near_pencil(12 + 28 * k, 4)
    yield "unbalanced", unbalanced(30 + 170 * k)


def main(short: bool) -> None:
    """Print a line for each family, and the totals; they are judged unless they are a glance."""
    covered = timed = right = 0
    for name, (a, b) in families(short):
        taken = math.inf
        # The least of some times: the first of a large result waits for new memory.
        for _ in range(1 if short else 3):
            start = time.perf_counter()
            found = len(hc.vertices(a, b, method="flats", threads=1))
            taken = min(taken, time.perf_counter() - start)
        estimate = hc.estimate_vertices(a, b, threads=1)
        margin = 2 * estimate.vertices_error + 1e-6 * found
        inside = abs(estimate.vertices - found) <= margin
        covered += inside
        line = f"{name:26s} {found:10,}  estimate {estimate.vertices:12.6g} ± {margin:8.3g}"
        line += "" if inside else "  outside"
        if taken >= TIMED_FROM:
            ratio = estimate.seconds / taken
            timed += 1
            good = 1 / FACTOR <= ratio <= FACTOR
            right += good
            line += f"  {taken:7.3f} s, predicted {estimate.seconds:7.3f} s, {ratio:.2f} x"
            line += "" if good else "  wrong"
        print(line, flush=True)
    print(
        f"{covered} of 20 intervals have the number; {right} of {timed} times within {FACTOR:g} x"
    )
    if not short and (covered < INSIDE or right < timed):
        sys.exit(f"missed: {INSIDE} intervals and all times wanted")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    main(parser.parse_args().short)
