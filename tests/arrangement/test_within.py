"""Vertices within a polyhedron: the same as filtering all vertices afterwards."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hypercomp_rs as hc


def filtered(a, b, c, e, **arguments):
    """All vertices that satisfy C·x ≤ e, in fractions."""
    rows = [([Fraction(x) for x in row], Fraction(side)) for row, side in zip(c, e, strict=True)]

    def satisfies(point):
        return all(
            sum(x * y for x, y in zip(row, point, strict=True)) <= side for row, side in rows
        )

    return [vertex for vertex in hc.vertices(a, b, **arguments) if satisfies(vertex)]


@st.composite
def problems(draw):
    d = draw(st.integers(1, 4))
    number = st.integers(-3, 3)
    # Beyond 64 and 128 bits, too.
    factor = draw(st.sampled_from([1, 1, 10**9, 10**30]))
    table = st.lists(st.lists(number, min_size=d, max_size=d), max_size=9)
    a = [[x * factor + i for x in row] for i, row in enumerate(draw(table))]
    a = [row for row in a if any(row)]
    c = draw(table)
    b = draw(st.lists(number, min_size=len(a), max_size=len(a)))
    e = draw(st.lists(number, min_size=len(c), max_size=len(c)))
    return np.array(a, object).reshape(-1, d), b, np.array(c, object).reshape(-1, d), e


@settings(max_examples=200, deadline=None)
@given(problems(), st.sampled_from(["auto", "flats", "zero"]), st.sampled_from([1, 2]))
def test_it_is_what_a_filter_keeps(problem, method, threads):
    a, b, c, e = problem
    found = hc.vertices(a, b, within=(c, e), method=method, threads=threads)
    expected = filtered(a, b, c, e)
    assert list(found) == expected
    assert found.complete
    assert hc.count_vertices(a, b, within=(c, e), method=method, threads=threads) == len(expected)


def box(d, size):
    """|x_i| ≤ size."""
    return np.concatenate([np.eye(d, dtype=int), -np.eye(d, dtype=int)]), [size] * (2 * d)


@pytest.fixture(scope="module")
def arrangement():
    rng = np.random.default_rng(3)
    a, b = rng.integers(-9, 10, (24, 4)), rng.integers(-9, 10, 24)
    return a, b, filtered(a, b, *box(4, 1))


def test_streams_limits_and_executors(arrangement, tmp_path):
    a, b, expected = arrangement
    within = box(4, 1)
    assert 100 < len(expected) < hc.count_vertices(a, b) / 2
    blocks = list(hc.iter_vertices(a, b, within=within, block=50))
    assert [len(block) for block in blocks[:-1]] == [50] * (len(blocks) - 1)
    assert sorted(vertex for block in blocks for vertex in block) == expected
    part = hc.vertices(a, b, within=within, max_vertices=60)
    assert len(part) == 60
    assert not part.complete
    assert set(part) <= set(expected)
    assert list(hc.vertices(a, b, within=within, resume=part)) == expected
    path = tmp_path / "state"
    hc.vertices(a, b, within=within, max_vertices=10, checkpoint=path)
    assert list(hc.vertices(a, b, within=within, checkpoint=path)) == expected
    with ThreadPoolExecutor(2) as pool:
        assert list(hc.vertices(a, b, within=within, executor=pool)) == expected
    assert list(hc.vertices(a, b, within=within, progress=True)) == expected


def test_another_polyhedron_is_another_problem(arrangement, tmp_path):
    a, b, _ = arrangement
    part = hc.vertices(a, b, within=box(4, 1), max_vertices=5)
    for other in (None, box(4, 2)):
        with pytest.raises(hc.InvalidArgumentError, match="another arrangement"):
            hc.vertices(a, b, within=other, resume=part)
    # The same inequalities in other multiples, and as fractions.
    c, e = box(4, 1)
    same = [[Fraction(int(x), 3) for x in row] for row in c], ["1/3"] * len(e)
    assert hc.vertices(a, b, within=same, resume=part).complete


def test_flats_that_miss_are_not_entered():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-99, 100, (40, 4)), rng.integers(-99, 100, 40)
    # Nothing is on both sides: no plane is looked at, so that one slice is the whole search.
    nothing = hc.vertices(a, b, within=([[1, 0, 0, 0], [-1, 0, 0, 0]], [0, -1]))
    assert len(nothing) == 0
    assert nothing.complete


def test_results_know_what_they_are_of(arrangement):
    a, b, expected = arrangement
    found = hc.vertices(a, b, within=box(4, 1))
    assert pickle.loads(pickle.dumps(found)) == found
    assert found.sign_vectors().shape == (len(expected), len(a))
    assert len(found.incidence()[0]) == len(expected) + 1
    with pytest.raises(hc.InvalidArgumentError, match="without `within`"):
        found.graph()


def test_points_on_the_boundary_count():
    grid = np.repeat(np.eye(2, dtype=int), 3, axis=0), [0, 1, 2] * 2
    found = hc.vertices(*grid, within=([[1, 1]], [2]))
    assert [tuple(map(int, x)) for x in found] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]
    # 0·x ≤ e holds everywhere, or nowhere.
    assert len(hc.vertices(*grid, within=([[0, 0]], [0]))) == 9
    assert len(hc.vertices(*grid, within=([[0, 0]], [-1]))) == 0
    assert len(hc.vertices(*grid, within=(np.empty((0, 2)), []))) == 9


@pytest.mark.parametrize(
    ("within", "error", "message"),
    [
        (([[1, 0, 0]], [0]), hc.InvalidArgumentError, "C has 3 columns and A 2"),
        (([[1, 0]], [0, 0]), hc.InvalidArgumentError, "C has 1 rows and e 2 entries"),
        (([[1, float("nan")]], [0]), hc.NonFiniteError, r"C\[0, 1\]"),
        (([[1, 0]], ["x"]), hc.InvalidArgumentError, r"e\[0\]"),
        ([[1, 0]], hc.InvalidArgumentError, "a pair"),
    ],
)
def test_what_is_refused(within, error, message):
    with pytest.raises(error, match=message):
        hc.vertices([[1, 0], [0, 1]], [0, 0], within=within)


def test_floats_have_no_polyhedron():
    with pytest.raises(hc.InvalidArgumentError, match="exact=False"):
        hc.vertices([[1]], [0], exact=False, within=([[1]], [0]))
