"""Regions, faces, lattices and graphs, against brute force and published counts."""

import itertools
import math
import pickle
import threading
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hypercomp_rs as hc


def deformation(n, shifts):
    """x_i - x_j = c for i < j and each shift c, in R^n."""
    a, b = [], []
    for i, j in itertools.combinations(range(n), 2):
        for c in shifts:
            a.append([(k == i) - (k == j) for k in range(n)])
            b.append(c)
    return np.array(a), np.array(b)


def coordinate_type(n, signs, axes):
    """x_i = s·x_j for each sign s, and x_i = 0 where asked for: types A, B and D."""
    rows = [
        [1 if k == i else -s if k == j else 0 for k in range(n)]
        for i, j in itertools.combinations(range(n), 2)
        for s in signs
    ]
    rows += [[int(k == i) for k in range(n)] for i in range(n) if axes]
    return np.array(rows), np.zeros(len(rows), int)


def resonance(n):
    """Σ over S of x_i = 0 for every non-empty subset S of n coordinates."""
    rows = [[mask >> i & 1 for i in range(n)] for mask in range(1, 1 << n)]
    return np.array(rows), np.zeros(len(rows), int)


def threshold(n):
    """x_i + x_j = 0 for i < j."""
    rows = [[int(k in pair) for k in range(n)] for pair in itertools.combinations(range(n), 2)]
    return np.array(rows), np.zeros(len(rows), int)


def with_roots(*roots):
    """The coefficients of the product of t - r."""
    polynomial = [1]
    for root in roots:
        shifted = [0, *polynomial]
        scaled = [root * x for x in polynomial] + [0]
        polynomial = [x - y for x, y in zip(shifted, scaled, strict=True)]
    return polynomial


F4 = [
    *[[int(k == i) for k in range(4)] for i in range(4)],
    *[
        [1 if k == i else s if k == j else 0 for k in range(4)]
        for i, j in itertools.combinations(range(4), 2)
        for s in (1, -1)
    ],
    *[[1, *signs] for signs in itertools.product((1, -1), repeat=3)],
]

# C. A. Athanasiadis, 1996, and R. P. Stanley, An Introduction to Hyperplane Arrangements, 2004:
# braid and types B and D have the exponents of their groups; Shi and Catalan are theirs.
POLYNOMIALS = {
    "braid": (deformation(5, [0]), with_roots(0, 1, 2, 3, 4)),
    "type B": (coordinate_type(4, (1, -1), True), with_roots(1, 3, 5, 7)),
    "type D": (coordinate_type(4, (1, -1), False), with_roots(1, 3, 3, 5)),
    "F4": ((np.array(F4), np.zeros(24, int)), with_roots(1, 5, 7, 11)),
    "Shi": (deformation(4, [0, 1]), with_roots(0, 4, 4, 4)),
    "Catalan": (deformation(4, [-1, 0, 1]), with_roots(0, 5, 6, 7)),
}

# Numbers of regions: Linial and semiorder (Stanley, above, section 5), resonance (OEIS A034997),
# threshold (OEIS A005840).
COUNTS = {
    "Linial": (deformation(5, [1]), 246),
    "semiorder": (deformation(4, [-1, 1]), 183),
    "resonance 2": (resonance(2), 6),
    "resonance 3": (resonance(3), 32),
    "resonance 4": (resonance(4), 370),
    "threshold 3": (threshold(3), 8),
    "threshold 4": (threshold(4), 46),
}


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_published_polynomials(name):
    (a, b), expected = POLYNOMIALS[name]
    assert hc.characteristic_polynomial(a, b) == expected
    assert hc.intersection_lattice(a, b).characteristic_polynomial() == expected
    assert len(hc.regions(a, b)) == sum(map(abs, expected))


@pytest.mark.parametrize("name", COUNTS)
def test_published_counts(name):
    (a, b), expected = COUNTS[name]
    assert hc.count_regions(a, b) == expected
    if expected < 300:
        assert len(hc.regions(a, b)) == expected


def exact(x):
    """A number as a fraction; those of numpy would stay numpy's inside of it."""
    return Fraction(x.item() if isinstance(x, np.generic) else x)


def signs_at(a, b, point):
    """The sign of each row at a point, in fractions."""
    values = [
        sum((exact(x) * y for x, y in zip(row, point, strict=True)), -exact(c))
        for row, c in zip(a, b, strict=True)
    ]
    return tuple((v > 0) - (v < 0) for v in values)


@st.composite
def arrangements(draw):
    d = draw(st.integers(1, 3))
    row = st.lists(st.integers(-2, 2), min_size=d + 1, max_size=d + 1)
    rows = draw(st.lists(row, max_size=7))
    # A row 0·x = c with c not 0 is refused; 0·x = 0 is left in.
    rows = [r for r in rows if any(r[:d]) or not r[d]]
    return np.array([r[:d] for r in rows]).reshape(-1, d), np.array([r[d] for r in rows], int)


@settings(max_examples=60, deadline=None)
@given(arrangements())
def test_regions_and_faces_prove_themselves(arrangement):
    a, b = arrangement
    d = a.shape[1]
    found = hc.regions(a, b)
    assert len(found) == hc.count_regions(a, b)
    assert found.bounded.sum() == hc.count_regions(a, b, bounded=True)
    seen = {}
    for k in range(d + 1):
        of_dimension = hc.faces(a, b, dimension=k)
        for face in of_dimension:
            assert face.signs == signs_at(a, b, face.point)
            if len(a):
                assert face.signs not in seen, "a covector comes twice"
            seen[face.signs] = k
    # The Euler characteristic of R^d with compact support.
    counts = [len(hc.faces(a, b, dimension=k)) for k in range(d + 1)]
    assert sum((-1) ** k * count for k, count in enumerate(counts)) == (-1) ** d
    assert counts[d] == len(found)


@settings(max_examples=40, deadline=None)
@given(arrangements())
def test_every_sign_vector_of_a_sampled_point_is_a_face(arrangement):
    a, b = arrangement
    d = a.shape[1]
    covectors = {f.signs for k in range(d + 1) for f in hc.faces(a, b, dimension=k)}
    rng = np.random.default_rng(0)
    for point in rng.integers(-6, 7, (200, d)):
        assert signs_at(a, b, [Fraction(int(x), 2) for x in point]) in covectors


@settings(max_examples=40, deadline=None)
@given(arrangements())
def test_the_graph_joins_neighbours_on_lines(arrangement):
    a, b = arrangement
    found = hc.vertices(a, b)
    graph = found.graph()
    signs = found.sign_vectors()
    for vertex, row in zip(found, signs, strict=True):
        assert signs_at(a, b, vertex) == tuple(row)
    bounded = [f for f in hc.faces(a, b, dimension=1) if f.bounded] if len(found) else []
    rays = [f for f in hc.faces(a, b, dimension=1) if not f.bounded] if len(found) else []
    assert (len(graph.edges), len(graph.rays)) == (len(bounded), len(rays))
    # The middle of an edge is a face whose signs vanish where those of both ends do.
    edges = {f.signs for f in bounded}
    for u, v in graph.edges:
        middle = [(x + y) / 2 for x, y in zip(found[int(u)], found[int(v)], strict=True)]
        assert signs_at(a, b, middle) in edges


def test_a_stream_is_the_whole_in_blocks():
    a, b = deformation(4, [-1, 0, 1])
    whole = hc.regions(a, b)
    blocks = list(hc.iter_regions(a, b, block=5))
    assert len(blocks) > 3
    streamed = sorted(tuple(s) for block in blocks for s in block.signs.tolist())
    assert streamed == sorted(map(tuple, whole.signs.tolist()))


def test_a_stream_ends_when_it_is_closed():
    a, b = deformation(4, [-1, 0, 1])
    before = threading.active_count()
    with hc.iter_regions(a, b, block=1) as stream:
        first = next(stream)
        assert len(first) > 0
        assert not first.complete
    assert next(stream, None) is None
    stream = hc.iter_regions(a, b, block=1)
    next(stream)
    del stream
    deadline = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_same_for_any_number_of_threads_and_scaling():
    rng = np.random.default_rng(1)
    a, b = rng.integers(-9, 10, (9, 3)), rng.integers(-9, 10, 9)
    one = hc.regions(a, b, threads=1)
    assert one == hc.regions(a, b, threads=2)
    turned = hc.regions(-3 * a, -3 * b)
    assert np.array_equal(turned.signs, -one.signs)
    fractions = hc.regions(
        [[Fraction(int(x), 7) for x in row] for row in a], [Fraction(int(x), 7) for x in b]
    )
    assert np.array_equal(fractions.signs, one.signs)


def test_rows_that_are_one_hyperplane_and_rows_of_zeros():
    found = hc.regions([[2, 0], [0, 0], [-1, 0], [0, 3]], [2, 0, -1, 0])
    assert len(found) == 4
    assert (found.signs[:, 0] == -found.signs[:, 2]).all()
    assert (found.signs[:, 1] == 0).all()


def test_the_smallest():
    empty = hc.regions(np.empty((0, 2)), [])
    assert [r.bounded for r in empty] == [False]
    assert hc.regions([], []).bounded.tolist() == [True]
    assert hc.characteristic_polynomial(np.empty((0, 2)), []) == [0, 0, 1]
    assert hc.zonotope_vertices(np.empty((0, 2))) == [(0, 0)]
    assert len(hc.vertices([[1, 0]], [0]).graph().edges) == 0


def test_long_numbers():
    a = [[10**30 + i * j for j in range(1, 3)] for i in range(4)]
    found = hc.regions(a, [10**40, 1, 2, 3])
    assert found.numerators.dtype == object
    assert len(found) == hc.count_regions(a, [10**40, 1, 2, 3])
    for region in found:
        assert region.signs == signs_at(a, [10**40, 1, 2, 3], region.point)


def plain(found):
    """The same regions with every number as a Python integer."""
    return [
        (region.signs, region.point, region.bounded)
        for region in (found[i] for i in range(len(found)))
    ]


def test_a_few_long_points_among_short_ones():
    # Two lines that meet far away, and a grid.
    a = [[1, 0], [1, 0], [0, 1], [0, 1], [10**19, 1], [10**19 + 1, 1]]
    b = [0, 1, 0, 1, 5, 10**25]
    found = hc.regions(a, b)
    numbers = np.column_stack([found.numerators, found.denominators])
    long = [any(abs(x) >= 2**63 for x in row) for row in numbers.tolist()]
    assert 0 < sum(long) < len(found)
    assert found.numerators.dtype == object
    for region in found:
        assert region.signs == signs_at(a, b, region.point)
    assert plain(found) == [tuple(region) for region in found]
    order = np.arange(len(found))[::-1]
    assert plain(found[order]) == plain(found)[::-1]
    assert plain(found[::-1]) == plain(found)[::-1]
    assert plain(found[long]) == [r for r, x in zip(plain(found), long, strict=True) if x]
    short = found[[not x for x in long]]
    assert short.numerators.dtype == np.int64
    assert found[-1] == list(found)[-1]
    copy = pickle.loads(pickle.dumps(found))
    assert copy == found
    assert plain(copy) == plain(found)
    assert found[order] != found


def test_selections_and_pickles():
    found = hc.regions([[1, 0], [0, 1], [1, 1]], [0, 0, 1])
    assert len(found[found.bounded]) == 1
    assert len(found[::2]) == 4
    assert found[[0, 3]][1] == found[3]
    assert pickle.loads(pickle.dumps(found)) == found
    assert found[-1] == list(found)[-1]
    with pytest.raises(IndexError):
        found[7]
    with pytest.raises(hc.OutOfBoundsError, match="a mask of 2 entries for 7 regions"):
        found[[True, False]]
    with pytest.raises(hc.OutOfBoundsError, match="index 7: there are 7 regions"):
        found[[0, 7]]
    with pytest.raises(hc.DtypeError, match="dtype float64"):
        found[[0.5]]


def test_parts_are_not_complete():
    a, b = [[1, 0], [0, 1], [1, 1]], [0, 0, 1]
    found = hc.regions(a, b)
    assert found.complete
    assert found[:].complete
    assert hc.faces(a, b, dimension=1).complete
    assert pickle.loads(pickle.dumps(found)).complete
    assert repr(found[:2]) == "Regions(2 in R^2, 1 bounded, part of a result)"
    for part in (found[1:], found[[0]], found[found.bounded], *hc.iter_regions(a, b)):
        assert not part.complete


def test_points_as_floats():
    found = hc.regions([[1, 0], [0, 1], [1, 1]], [0, 0, 1])
    rounded = [tuple(map(float, region.point)) for region in found]
    assert list(map(tuple, found.to_numpy().tolist())) == rounded
    assert found.dimension == 2


def test_zonotopes():
    # The permutohedron: n! vertices.
    a, _ = deformation(4, [0])
    assert len(hc.zonotope_vertices(a)) == math.factorial(4)
    halves = hc.zonotope_vertices([["1/2", 0], [0, "1/3"]])
    assert halves == [
        (0, 0),
        (0, Fraction(1, 3)),
        (Fraction(1, 2), 0),
        (Fraction(1, 2), Fraction(1, 3)),
    ]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: hc.faces([[1]], [0], dimension=2), "dimension"),
        (lambda: hc.count_regions([[1]], [0], bounded=1), "bounded"),
        (lambda: hc.regions([[1]], [0], threads=0), "threads"),
        (lambda: hc.vertices([[1, 0], [0, 1], [1, 1]], [0, 0, 1], max_vertices=1).graph(), "graph"),
        (lambda: hc.intersection_lattice([[1]], [0]).flats(5), "dimension"),
    ],
)
def test_what_is_refused(call, error):
    with pytest.raises(hc.InvalidArgumentError, match=error):
        call()


def test_regions_are_not_made_by_users():
    with pytest.raises(TypeError, match="regions"):
        hc.arrangement.Regions()
