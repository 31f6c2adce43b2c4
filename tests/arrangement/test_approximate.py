"""vertices(exact=False): near the exact vertices where it can be, honest where it may not be."""

import pickle
import warnings

import numpy as np
import pytest

import hypercomp_rs as hc


def test_clear_input_gives_the_exact_vertices_rounded():
    rng = np.random.default_rng(5)
    for d in range(1, 5):
        a = rng.integers(-3, 4, (11, d))
        a = a[a.any(axis=1)]
        b = rng.integers(-3, 4, len(a))
        exact = hc.vertices(a, b).to_numpy()
        found = hc.vertices(a, b, exact=False)
        assert (len(found), found.dimension, found.near_decisions) == (len(exact), d, 0)
        # Sorting may differ where coordinates are equal but for rounding.
        order = np.lexsort(exact.round(9).T[::-1])
        mine = found.to_numpy()[np.lexsort(found.to_numpy().round(9).T[::-1])]
        np.testing.assert_allclose(mine, exact[order], rtol=1e-12, atol=1e-12)


def test_floats_of_many_digits_are_welcome():
    rng = np.random.default_rng(6)
    a, b = rng.standard_normal((20, 3)), rng.standard_normal(20)
    found = hc.vertices(a, b, exact=False, tolerance=1e-11)
    exact = hc.vertices(a, b).to_numpy()
    np.testing.assert_allclose(found.to_numpy(), exact, rtol=1e-9, atol=1e-12)


def test_a_point_that_rounding_has_split_is_one_again():
    # Three lines through (0.1, 0.3), which as floats meet in three points.
    a = np.array([[1, 1], [1, 2], [1, 3]]) * np.array([0.7, 1.1, 1.3])[:, None]
    b = a @ [0.1, 0.3]
    assert len(hc.vertices(a, b)) == 3
    (point,) = hc.vertices(a, b, exact=False)
    assert point == pytest.approx((0.1, 0.3))


def test_decisions_near_the_tolerance_warn():
    a, b = [[1, 0], [0, 1], [1, 0]], [0, 1, "2e-9"]
    with pytest.warns(hc.NearToleranceWarning, match="within a factor of 10"):
        found = hc.vertices(a, b, exact=False)
    assert found.near_decisions > 0
    assert "near decisions" in repr(found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(hc.vertices(a, b, exact=False, tolerance=1e-12)) == 2
        assert len(hc.vertices(a, b, exact=False, tolerance=1e-6)) == 1


def test_nothing_depends_on_the_threads():
    rng = np.random.default_rng(7)
    a, b = rng.integers(-9, 10, (25, 4)), rng.integers(-9, 10, 25)
    one = hc.vertices(a, b, exact=False, threads=1)
    for threads in (2, 5, None):
        found = hc.vertices(a, b, exact=False, threads=threads)
        assert np.array_equal(one.to_numpy(), found.to_numpy())


def test_approximate_vertices_are_read_only_and_pickle():
    found = hc.vertices([[2]], [1], exact=False)
    with pytest.raises(ValueError, match="read-only"):
        found.to_numpy()[0, 0] = 7
    copy = pickle.loads(pickle.dumps(found))
    assert (list(copy), copy.tolerance, copy.near_decisions) == ([(0.5,)], 1e-9, 0)
    assert list(hc.vertices([], [], exact=False)) == [()]
    assert len(hc.vertices(np.zeros((0, 3)), [], exact=False)) == 0
    with pytest.raises(TypeError, match="exact=False"):
        hc.ApproximateVertices()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"exact": 0}, hc.InvalidArgumentError, "exact=0"),
        ({"exact": True, "tolerance": 1e-9}, hc.InvalidArgumentError, "belongs to exact=False"),
        ({"method": "zero"}, hc.InvalidArgumentError, "tolerance and threads only"),
        ({"time_limit": 1}, hc.InvalidArgumentError, "tolerance and threads only"),
        ({"tolerance": 0}, hc.InvalidArgumentError, "1e-15 to 0.01"),
        ({"tolerance": float("nan")}, hc.InvalidArgumentError, "nan"),
        ({"tolerance": "small"}, hc.DtypeError, "'small'"),
        ({"threads": 0}, hc.InvalidArgumentError, "threads=0"),
    ],
)
def test_bad_arguments_are_named(arguments, error, says):
    with pytest.raises(error, match=says):
        hc.vertices([[1]], [1], **{"exact": False, **arguments})


def test_what_floats_cannot_hold_is_named():
    with pytest.raises(hc.TooLargeError, match="float64"):
        hc.vertices([[1]], [10**400], exact=False)
    with pytest.raises(hc.EmptyHyperplaneError, match="row 0"):
        hc.vertices([[0]], [1], exact=False)
