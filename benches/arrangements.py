"""The arrangements that the benchmarks search, as (normals, right-hand sides)."""

import itertools

import numpy as np


def generic(n, d, largest=100):
    """Random hyperplanes, n in R^d, all but certainly in general position."""
    rng = np.random.default_rng(0)
    return rng.integers(-largest, largest + 1, (n, d)), rng.integers(-largest, largest + 1, n)


def type_b(d, constants):
    """x_i = c and x_i ± x_j = c: many hyperplanes through every vertex."""
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


def catalan(n):
    """x_i - x_j = -1, 0, 1 in R^(n-1): as many vertices as ways to rank n with ties."""
    a, b = [], []
    for i, j in itertools.combinations(range(n), 2):
        for c in (-1, 0, 1):
            a.append([(k == i) - (k == j) for k in range(n - 1)])
            b.append(c)
    return np.array(a), np.array(b)


def braid(n):
    """x_i = x_j in R^(n-1): one vertex, and n^(n-2) cobases."""
    a, b = catalan(n)
    return a[1::3], b[1::3]


def grid(k, d):
    """x_i = 0, ..., k - 1: k^d vertices, on d hyperplanes each."""
    return np.repeat(np.eye(d, dtype=np.int64), k, axis=0), np.tile(np.arange(k), d)


def with_long_entries(a, b, digits=18):
    """The same arrangement in other coordinates, in which entries have that many digits.

    A change of coordinates keeps which hyperplanes meet where.
    """
    d = a.shape[1]
    rng = np.random.default_rng(1)
    scale = 10**digits // int(np.abs(a).sum(axis=1).max())
    change = rng.integers(scale // 2, scale, (d, d)).astype(object)
    return a.astype(object) @ change, b.astype(object)


def unbalanced(n):
    """Random planes, n in R^3, as hyperplanes of R^5, with x_4 = 0 and x_5 = 0.

    Every vertex lies in both of those, so the search tree is a path at its top.
    """
    a, b = generic(n, 3)
    normals = np.zeros((n + 2, 5), np.int64)
    normals[:n, :3] = a
    normals[n, 3] = normals[n + 1, 4] = 1
    return normals, np.append(b, [0, 0])
