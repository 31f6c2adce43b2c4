"""vertices() against facts that nobody here made up, and on every input that it takes."""

import itertools
import math
import pickle
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import hypercomp_rs as hc

METHODS = ("flats", "zero")


def unit(d, i, value=1):
    row = [0] * d
    row[i] = value
    return row


def differences(n, constants):
    """The hyperplanes x_i - x_j = c, i < j, on the quotient by the diagonal (x_n = 0)."""
    a, b = [], []
    for i, j in itertools.combinations(range(n), 2):
        for c in constants:
            row = [0] * n
            row[i], row[j] = 1, -1
            a.append(row[:-1])
            b.append(c)
    return a, b


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "d"), [(1, 1), (9, 1), (12, 2), (10, 3), (9, 4), (8, 8), (9, 8)])
def test_generic_hyperplanes_meet_in_every_d_subset(method, n, d):
    # Rows (1, t, t², …) of a Vandermonde matrix: any d are independent, no d + 1 share a point.
    a = [[t**k for k in range(d)] for t in range(1, n + 1)]
    b = [t**d for t in range(1, n + 1)]
    assert len(hc.vertices(a, b, method=method)) == math.comb(n, d)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("k", "d"), [(1, 5), (5, 1), (4, 3), (3, 4), (2, 6)])
def test_a_grid_has_a_vertex_for_every_choice(method, k, d):
    a = [unit(d, i) for i in range(d) for _ in range(k)]
    b = [c for _ in range(d) for c in range(k)]
    found = hc.vertices(a, b, method=method)
    assert list(found) == list(itertools.product(map(Fraction, range(k)), repeat=d))


@pytest.mark.parametrize("method", METHODS)
def test_coordinate_planes_meet_in_the_origin(method):
    for d in range(1, 12):
        (vertex,) = hc.vertices(np.eye(d), np.zeros(d), method=method)
        assert vertex == (0,) * d


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "vertices"), [(2, 3), (3, 13), (4, 75), (5, 541), (6, 4683)])
def test_catalan_arrangements_have_fubini_many_vertices(method, n, vertices):
    # x_i - x_j = -1, 0, 1: a vertex is a way to rank n with ties.
    assert len(hc.vertices(*differences(n, (-1, 0, 1)), method=method)) == vertices


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_shi_arrangements_have_n_factorial_vertices(method, n):
    # x_i - x_j = 0, 1 for i < j.
    a, b = differences(n, (0, 1))
    found = hc.vertices(a, b, method=method)
    assert len(found) == math.factorial(n)
    assert set(found) == brute_force(a, b)


@pytest.mark.parametrize("method", METHODS)
def test_braid_arrangements_have_one_vertex_and_trees_as_cobases(method):
    # Cayley: the spanning trees of K_n are n^(n-2).
    for n in range(2, 8):
        found = hc.vertices(*differences(n, (0,)), method=method)
        assert len(found) == 1
        if method == "zero":
            assert found.cobases == n ** (n - 2)


def meet(rows, sides):
    """Where the hyperplanes meet, by elimination in fractions; None unless it is one point."""
    d = len(rows[0])
    matrix = [[*map(Fraction, row), Fraction(side)] for row, side in zip(rows, sides, strict=True)]
    for column in range(d):
        pivot = next((r for r in range(column, d) if matrix[r][column]), None)
        if pivot is None:
            return None
        matrix[column], matrix[pivot] = matrix[pivot], matrix[column]
        lead = matrix[column][column]
        matrix[column] = [x / lead for x in matrix[column]]
        for r in range(d):
            if r != column and matrix[r][column]:
                factor = matrix[r][column]
                matrix[r] = [x - factor * y for x, y in zip(matrix[r], matrix[column], strict=True)]
    return tuple(row[d] for row in matrix)


def brute_force(a, b):
    """The points in which d-subsets of independent hyperplanes meet."""
    d = len(a[0])
    points = set()
    for subset in itertools.combinations(range(len(a)), d):
        point = meet([a[i] for i in subset], [b[i] for i in subset])
        if point is not None:
            points.add(point)
    return points


def random_arrangement(rng):
    """Mostly degenerate: entries of -1, 0, 1, parallel classes, repeated and scaled rows."""
    d = int(rng.integers(1, 5))
    n = int(rng.integers(0, 14 if d < 4 else 10))
    largest = int(rng.choice([1, 1, 2, 9]))
    a = rng.integers(-largest, largest + 1, (n, d))
    b = rng.integers(-1, 2, n)
    for row in range(1, n):
        kind = rng.random()
        if kind < 0.15:
            a[row] = a[rng.integers(row)]
        elif kind < 0.25:
            factor, other = rng.choice([-2, 3]), rng.integers(row)
            a[row], b[row] = factor * a[other], factor * b[other]
    if rng.random() < 0.2:
        b[:] = 0
    if rng.random() < 0.1 and d > 1:
        a[:, -1] = a[:, 0]
    keep = a.any(axis=1)
    return a[keep], b[keep]


def test_two_thousand_random_arrangements_agree_with_brute_force():
    seed = 20240116
    print("seed", seed)
    rng = np.random.default_rng(seed)
    sizes = []
    for _ in range(2000):
        a, b = random_arrangement(rng)
        expected = brute_force(a.tolist(), b.tolist()) if len(a) else set()
        sizes.append(len(expected))
        for method in METHODS:
            found = hc.vertices(a, b, method=method)
            assert list(found) == sorted(expected), (a, b, method)
    assert np.mean(sizes) > 5


@pytest.mark.parametrize("method", METHODS)
def test_order_scale_and_threads_do_not_matter(method):
    a, b = differences(4, (-1, 0, 1, 2))
    reference = hc.vertices(a, b)
    rng = np.random.default_rng(1)
    for threads in (1, 2, 5, None):
        order = rng.permutation(len(a))
        factors = rng.choice([-3, -1, 2], len(a))
        shuffled = [[int(factors[i]) * x for x in a[i]] for i in order]
        sides = [int(factors[i]) * b[i] for i in order]
        found = hc.vertices(shuffled, sides, method=method, threads=threads)
        assert found == reference


NUMBERS = [
    (np.int8, int),
    (np.uint64, int),
    (np.float16, float),
    (np.float32, float),
    (np.float64, float),
    (np.longdouble, float),
    (object, int),
    (object, Fraction),
]


@pytest.mark.parametrize(("dtype", "kind"), NUMBERS)
def test_numpy_arrays_of_every_dtype(dtype, kind):
    a = np.array([[kind(2), kind(0)], [kind(0), kind(3)], [kind(1), kind(1)]], dtype)
    b = np.array([kind(1), kind(1), kind(1)], dtype)
    half, third = Fraction(1, 2), Fraction(1, 3)
    expected = [(half, third), (half, half), (1 - third, third)]
    assert list(hc.vertices(a, b)) == expected
    assert list(hc.vertices(np.asfortranarray(a)[::-1], b[::-1])) == expected


def test_every_kind_of_number_is_exact():
    a = [["1/3", Decimal("0.5")], [Fraction(2, 7), 0.1], (np.float32(0.1), 10**40)]
    b = ["-1e-3", 1, np.int64(-7)]
    rows = [
        [Fraction(1, 3), Fraction(1, 2)],
        [Fraction(2, 7), Fraction(0.1)],
        [Fraction(float(np.float32(0.1))), Fraction(10**40)],
    ]
    sides = [Fraction(-1, 1000), Fraction(1), Fraction(-7)]
    found = hc.vertices(a, b)
    assert set(found) == brute_force(rows, sides)
    assert found.numerators.dtype == object
    assert hc.vertices([[0.1]], [1]) != hc.vertices([["0.1"]], [1])


@pytest.mark.parametrize("method", METHODS)
def test_huge_and_tiny_numbers(method):
    big = 10**200
    cases = [
        [[big, 1], [1, big], [big + 1, big]],
        [[5e-324, 1.0], [1e300, -1.0], [1.0, 1e-300]],
        [[2**61 - 1, 1], [2**127 - 1, 1], [1, 2**61 - 1]],
        [[2**30, 1], [2**30 + 1, 1], [1, 2**30 - 1]],
    ]
    for a in cases:
        b = [1, -1, big]
        rows = [[Fraction(x) for x in row] for row in a]
        assert set(hc.vertices(a, b, method=method)) == brute_force(rows, b)


@pytest.mark.parametrize("method", METHODS)
def test_spaces_and_arrangements_without_much_in_them(method):
    def find(a, b):
        return hc.vertices(a, b, method=method)

    none = find(np.zeros((0, 3)), [])
    assert (len(none), none.dimension, none.numerators.shape) == (0, 3, (0, 3))
    assert len(find([[1, 0, 0], [0, 1, 0]], [1, 2])) == 0
    assert len(find([[1, 2], [2, 4], [3, 6]], [0, 1, 2])) == 0
    assert len(find([[1, 0, 0], [0, 1, 0], [1, 1, 0]], [0, 0, 0])) == 0
    assert list(find([[2], [-4], [3]], [1, -2, 0])) == [(0,), (Fraction(1, 2),)]
    # R^0 is one point.
    for a, b in ([[], []], [[[], []], [0, 0]], [np.zeros((4, 0)), np.zeros(4)]):
        point = find(a, b)
        assert (list(point), point.dimension) == ([()], 0)
        assert point.denominators.tolist() == [1]


@pytest.mark.parametrize("method", METHODS)
def test_zero_rows_are_everything_or_nothing(method):
    everything = hc.vertices([[1, 0], [0, 0], [0, 1]], [1, 0, 2], method=method)
    assert list(everything) == [(1, 2)]
    with pytest.raises(hc.EmptyHyperplaneError, match=r"row 2 reads 0·x = -1/3"):
        hc.vertices([[1, 0], [0, 0], ["0", 0.0]], [1, 0, "-1/3"], method=method)
    with pytest.raises(hc.EmptyHyperplaneError, match="row 0"):
        hc.vertices([[]], [1], method=method)
    assert issubclass(hc.EmptyHyperplaneError, ValueError)


@pytest.mark.parametrize(
    ("a", "b", "error", "says"),
    [
        ([[1, 2], [3]], [0, 0], hc.InvalidArgumentError, r"A\[1\] has 1 entries"),
        ([[1, 2]], [0, 0], hc.InvalidArgumentError, "A has 1 rows and b 2"),
        (np.zeros((2, 2, 2)), [0, 0], hc.InvalidArgumentError, r"\(2, 2, 2\)"),
        (np.zeros((2, 2)), np.zeros((2, 2)), hc.InvalidArgumentError, r"\(2, 2\)"),
        (np.float64(3), [0], hc.DtypeError, "A is a float64"),
        ([1, 2], [0, 0], hc.DtypeError, r"A\[0\] is a int"),
        ("ab", "cd", hc.DtypeError, "A is a str"),
        (None, [0], hc.DtypeError, "NoneType"),
        ([[1, float("nan")]], [0], hc.NonFiniteError, r"A\[0, 1\] is nan"),
        (np.array([[1, 2], [np.inf, 3]]), [0, 0], hc.NonFiniteError, r"A\[1, 0\] is inf"),
        ([[1]], [float("-inf")], hc.NonFiniteError, r"b\[0\] is -inf"),
        ([[1, "x"]], [0], hc.InvalidArgumentError, r"A\[0, 1\] is 'x'"),
        ([["1/0"]], [0], hc.InvalidArgumentError, "division by zero"),
        ([[1j]], [0], hc.DtypeError, r"A\[0, 0\] is a complex"),
        ([[True]], [0], hc.DtypeError, "bool"),
        (np.eye(2, dtype=bool), [0, 0], hc.DtypeError, "bool"),
        ([[None]], [0], hc.DtypeError, "NoneType"),
    ],
)
def test_bad_input_is_named(a, b, error, says):
    with pytest.raises(error, match=says):
        hc.vertices(a, b)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"exact": 1}, "exact=1"),
        ({"method": "simplex"}, "'auto', 'flats' and 'zero'"),
        ({"threads": 0}, "threads=0"),
        ({"threads": 1.5}, "threads=1.5"),
    ],
)
def test_bad_arguments_are_named(arguments, says):
    with pytest.raises(hc.InvalidArgumentError, match=says):
        hc.vertices([[1]], [1], **arguments)


def test_vertices_are_a_sequence():
    found = hc.vertices([[2, 0], [0, 3], [1, 1]], [1, 1, 1], method="zero")
    points = found.fractions()
    assert points == list(found)
    assert points == [found[i] for i in range(3)]
    assert points == [found[i - 3] for i in range(3)]
    assert points[1:] == list(found[1:])
    assert points[::-1] == list(found[::-1])
    assert points[0] in found
    assert found.index(points[2]) == 2
    assert all(isinstance(x, Fraction) for point in points for x in point)
    with pytest.raises(IndexError):
        found[3]
    assert (found.cobases, hc.vertices([[1]], [1]).cobases) == (3, None)
    assert repr(found) == "Vertices(3 in R^2, int64, 3 cobases)"
    assert repr(hc.vertices([[1]], [10**30])) == "Vertices(1 in R^1, big integers)"


def test_vertices_are_equal_as_points_however_found():
    a, b = [[2, 0], [0, 3], [1, 1]], [1, 1, 1]
    found = hc.vertices(a, b)
    assert found == hc.vertices(a, b, method="zero")
    assert found != hc.vertices(a, [1, 1, 2])
    assert found != found[1:]
    assert found != list(found)
    assert hc.vertices(np.zeros((0, 2)), []) != hc.vertices(np.zeros((0, 3)), [])


def test_vertices_are_read_only_and_pickle():
    for found in (hc.vertices([[2]], [1], method="zero"), hc.vertices([[3]], [10**30])):
        with pytest.raises(ValueError, match="read-only"):
            found.numerators[0, 0] = 7
        with pytest.raises(ValueError, match="read-only"):
            found.denominators[0] = 7
        copy = pickle.loads(pickle.dumps(found))
        assert copy == found
        assert copy.cobases == found.cobases
        assert not copy.numerators.flags.writeable
    with pytest.raises(TypeError, match=r"hypercomp_rs\.vertices"):
        hc.Vertices()


def test_lowest_terms():
    found = hc.vertices([[6, 0], [0, 4]], [4, -6])
    assert (found.numerators.tolist(), found.denominators.tolist()) == ([[4, -9]], [6])
    assert found.numerators.dtype == found.denominators.dtype == np.int64


def test_to_numpy_is_correctly_rounded():
    # 1/3 and its neighbours; numerators beyond 2^53, whose conversion alone would round.
    cases = [[1, 3], [2**60 + 1, 3], [-(2**59) - 3, 7], [2**54 + 1, 2**54 - 1], [10**30, 7]]
    for numerator, denominator in cases:
        (value,) = hc.vertices([[denominator]], [numerator]).to_numpy()
        assert value[0] == numerator / denominator
    assert hc.vertices([[1]], [0]).to_numpy().dtype == np.float64
    with pytest.raises(hc.TooLargeError, match="coordinate 0 of vertex 0"):
        hc.vertices([[1]], [10**400]).to_numpy()
    assert issubclass(hc.TooLargeError, OverflowError)
