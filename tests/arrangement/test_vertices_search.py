"""Searches that are streamed, limited, resumed, killed, shared out and estimated."""

import gc
import itertools
import math
import pickle
import random
import subprocess
import sys
import textwrap
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

import hypercomp_rs as hc

METHODS = ("flats", "zero")


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


def generic(n, d, largest=100):
    rng = np.random.default_rng(n)
    return rng.integers(-largest, largest + 1, (n, d)), rng.integers(-largest, largest + 1, n)


def united(parts):
    return sorted(point for part in parts for point in part)


# Streams


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_a_stream_has_every_vertex_once(method, block):
    a, b = type_b(3, (-1, 0, 1))
    with hc.iter_vertices(a, b, method=method, block=block) as stream:
        blocks = list(stream)
    assert all(len(part) == block for part in blocks[:-1])
    assert all(list(part) == sorted(part) for part in blocks)
    assert united(blocks) == list(hc.vertices(a, b))


@pytest.mark.parametrize("end", ["close", "drop", "with"])
def test_the_search_behind_a_stream_stops_with_it(end):
    a, b = generic(400, 5)
    before = threading.active_count()
    stream = hc.iter_vertices(a, b, block=1000)
    assert len(next(stream)) == 1000
    if end == "close":
        stream.close()
    elif end == "drop":
        del stream
        gc.collect()
    else:
        with stream:
            pass
        assert next(stream, None) is None
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() == before


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ru_maxrss is in other units")
def test_a_stream_takes_little_memory():
    code = """
        import resource, sys
        import numpy as np
        import hypercomp_rs as hc
        rng = np.random.default_rng(0)
        a, b = rng.integers(-99, 100, (60, 4)), rng.integers(-99, 100, 60)
        next(hc.iter_vertices(a[:12], b[:12]))
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        before = peak()
        count = sum(len(block) for block in hc.iter_vertices(a, b))
        print(count, peak() - before)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    count, grown = map(int, run.stdout.split())
    # Their coordinates alone would be 19 MB; two of those and some more would be held by a copy.
    assert count > 480_000
    assert grown <= 50


def test_bad_input_of_a_stream_is_named_at_once():
    with pytest.raises(hc.EmptyHyperplaneError):
        hc.iter_vertices([[0]], [1])
    with pytest.raises(hc.InvalidArgumentError, match="block=0"):
        hc.iter_vertices([[1]], [1], block=0)


# Counts


@pytest.mark.parametrize("method", METHODS)
def test_counting_is_finding_without_coordinates(method):
    for a, b in (type_b(3, (-1, 0, 1)), generic(12, 4), (np.zeros((0, 0)), np.zeros(0))):
        assert hc.count_vertices(a, b, method=method) == len(hc.vertices(a, b))


def test_flats_of_known_arrangements():
    # Generic: any k ≤ d hyperplanes meet in a flat of their own.
    a, b = [[t**k for k in range(4)] for t in range(1, 10)], [t**4 for t in range(1, 10)]
    assert hc.flats(a, b) == [math.comb(9, 4 - k) for k in range(5)]
    # Coordinate hyperplanes: Boolean lattice. Braid arrangement: Stirling numbers of partitions.
    assert hc.flats(np.eye(6), np.zeros(6)) == [math.comb(6, k) for k in range(7)]
    a, b = [], []
    for i, j in itertools.combinations(range(5), 2):
        row = [0] * 5
        row[i], row[j] = 1, -1
        a.append(row)
        b.append(0)
    assert hc.flats(a, b) == [0, 1, 15, 25, 10, 1]
    assert hc.flats(np.zeros((0, 3)), []) == [0, 0, 0, 1]
    assert hc.flats([[], []], [0, 0]) == [1]


# Limits


@pytest.mark.parametrize("method", METHODS)
def test_a_limited_search_says_so_and_goes_on(method):
    a, b = type_b(3, (-1, 0, 1))
    whole = hc.vertices(a, b, method=method)
    assert whole.complete
    part = hc.vertices(a, b, method=method, max_vertices=10)
    assert (len(part), part.complete) == (10, False)
    assert repr(part).endswith("partial)")
    assert part == hc.vertices(a, b, method=method, max_vertices=10, threads=2)
    assert set(part) <= set(whole)
    steps = 1
    while not part.complete:
        part = pickle.loads(pickle.dumps(part))
        part = hc.vertices(a, b, method=method, resume=part, max_vertices=len(part) + 50)
        steps += 1
    assert steps > 3
    assert part == whole
    assert part.cobases == whole.cobases
    none = hc.vertices(a, b, method=method, time_limit=0)
    assert (len(none), none.complete) == (0, False)
    assert hc.vertices(a, b, method=method, resume=none, time_limit=60) == whole


@pytest.mark.parametrize("method", METHODS)
def test_the_first_vertices_do_not_depend_on_how_a_search_is_cut(method, monkeypatch):
    a, b = generic(40, 4)
    first = hc.vertices(a, b, method=method, max_vertices=30_000)
    monkeypatch.setattr("hypercomp_rs.arrangement.search.SLICE", 0.001)
    assert hc.vertices(a, b, method=method, max_vertices=30_000) == first


@pytest.mark.parametrize("method", METHODS)
def test_a_part_of_a_result_is_not_complete(method):
    a, b = type_b(3, (-1, 0, 1))
    whole = hc.vertices(a, b, method=method)
    partial = hc.vertices(a, b, method=method, max_vertices=8)
    block = next(hc.iter_vertices(a, b, method=method, block=5))
    parts = [partial[:4], partial[::-1], whole[1:], whole[[0]], whole[whole.simple], block]
    for part in parts:
        assert not part.complete
        assert repr(part).endswith("part of a result)")
        assert not pickle.loads(pickle.dumps(part)).complete
        with pytest.raises(hc.InvalidArgumentError, match="give the whole partial result"):
            hc.vertices(a, b, method=method, resume=part)
    # All of it is what it was.
    assert whole[:].complete
    assert (whole[:].cobases, partial[:].complete) == (whole.cobases, False)
    for same in (partial[:], partial[0:8], partial[-8:None:1]):
        assert hc.vertices(a, b, method=method, resume=same) == whole


def test_a_mask_and_positions_select_vertices():
    a, b = type_b(3, (-1, 0, 1))
    found = hc.vertices(a, b)
    points = found.fractions()
    mask = ~found.simple
    assert found[mask].fractions() == [p for p, one in zip(points, mask, strict=True) if one]
    assert found[mask.tolist()] == found[mask]
    for index in ([2, 0, -1], (2, 0, -1), np.array([2, 0, -1], np.int8)):
        assert found[index].fractions() == [points[2], points[0], points[-1]]
    assert len(found[[]]) == 0
    assert found[np.int64(3)] == points[3]
    indptr, _ = found[[0, 1]].incidence()
    assert len(indptr) == 3
    for index, error in [
        ([len(found)], hc.OutOfBoundsError),
        ([-len(found) - 1], hc.OutOfBoundsError),
        ([True], hc.OutOfBoundsError),
        ([0.5], hc.DtypeError),
        ([[0]], hc.DtypeError),
        ("0", hc.DtypeError),
        (None, hc.DtypeError),
        (1.0, hc.DtypeError),
    ]:
        with pytest.raises(error):
            found[index]


def test_the_same_rows_are_the_same_arrangement_however_they_are_given():
    a, b = type_b(3, (-1, 0, 1))
    whole = hc.vertices(a, b)
    arrays = np.array(a), np.array(b)
    halves = [[Fraction(x, 2) for x in row] for row in a], [f"{x}/2" for x in b]
    ways = [(a, b), arrays, (arrays[0].astype(float), arrays[1]), halves]
    for one, other in itertools.permutations(ways, 2):
        part = hc.vertices(*one, max_vertices=7)
        assert hc.vertices(*other, resume=part) == whole
    # Another order is another arrangement to a search: jobs number the hyperplanes.
    with pytest.raises(hc.InvalidArgumentError, match="another arrangement"):
        hc.vertices(arrays[0][::-1], arrays[1][::-1], resume=part)


def test_what_older_versions_have_pickled_goes_on():
    a, b = type_b(3, (-1, 0, 1))
    part = hc.vertices(a, b, max_vertices=7)
    # Before the shuffle a problem was its rows and its method.
    state = {"rows": part._problem.rows, "method": "flats"}
    part._problem.__dict__.clear()
    part._problem.__setstate__(state)
    assert hc.vertices(a, b, resume=pickle.loads(pickle.dumps(part))) == hc.vertices(a, b)


def test_the_method_is_chosen_by_the_input():
    rng = np.random.default_rng(0)
    few = rng.integers(-9, 10, (22, 20)), rng.integers(-9, 10, 22)
    floats = rng.standard_normal((10, 8)), rng.standard_normal(10)
    many = generic(40, 4)
    # 3,000 times as many cobases as vertices.
    degenerate = type_b(6, (0,))
    # Long numbers are in the bases of flats only, but in every entry of a dictionary.
    long = [[Fraction(x, y) for x, y in row] for row in rng.integers(1, 10**9, (12, 3, 2)).tolist()]
    cases = [(few, "zero"), (floats, "flats"), (many, "flats"), (degenerate, "flats")]
    cases.append(((long, list(range(12))), "flats"))
    for (a, b), method in cases:
        found = hc.vertices(a, b)
        assert (found.method, found.complete) == (method, True)
        assert (found.cobases is None) == (method == "flats")
        assert hc.count_vertices(a, b) == len(found)
        assert pickle.loads(pickle.dumps(found)).method == method
    # A search goes on by the method that it began with; another one that is asked for is refused.
    part = hc.vertices(*many, method="zero", max_vertices=10)
    assert hc.vertices(*many, resume=part, max_vertices=20).method == "zero"
    with pytest.raises(hc.InvalidArgumentError, match="another arrangement or method"):
        hc.vertices(*many, method="flats", resume=part)


def test_a_predicted_time_does_not_depend_on_the_first_subtrees():
    # cross6: the first fifth of a second finds a tenth of the vertices for its time.
    a, b = sign_vectors(6), -np.ones(64, np.int64)
    start = time.process_time()
    hc.vertices(a, b, method="flats", threads=1)
    taken = time.process_time() - start
    predicted = hc.estimate_vertices(a, b, threads=1, probes=200).seconds
    assert taken / 6 < predicted < 6 * taken, (taken, predicted)


def sign_vectors(d):
    return np.array(list(itertools.product((1, -1), repeat=d)))


def test_first_vertices_come_at_once_in_any_order():
    # cross8: in their natural order the first 2^40 flats have no vertex below them.
    a, b = sign_vectors(8), -np.ones(256, np.int64)
    start = time.process_time()
    few = hc.vertices(a, b, max_vertices=50, time_limit=60)
    assert (len(few), few.complete) == (50, False)
    assert time.process_time() - start < 20
    more = hc.vertices(a, b, resume=pickle.loads(pickle.dumps(few)), max_vertices=80)
    assert len(more) == 80
    assert set(few) <= set(more)
    block = next(iter(hc.iter_vertices(a, b, block=100)))
    assert len(block) == 100
    # The rows through each vertex are those that were given.
    indptr, indices = few.incidence()
    for i, point in enumerate(few):
        rows = [
            r for r in range(256) if sum(int(s) * x for s, x in zip(a[r], point, strict=True)) == -1
        ]
        assert indices[indptr[i] : indptr[i + 1]].tolist() == rows


# Steps that are longer than the time between two looks


def long_numbers(digits, n, d):
    r = random.Random(0)

    def number():
        return Fraction(r.randrange(10**digits), r.randrange(1, 10**digits))

    return [[number() for _ in range(d)] for _ in range(n)], [number() for _ in range(n)]


@pytest.mark.parametrize("method", METHODS)
def test_slices_of_any_length_make_progress(method, monkeypatch):
    a, b = long_numbers(60, 6, 3)
    expected = hc.vertices(a, b, method=method)
    # Far too short for a single step, or for the way to it.
    for module in ("search", "stream"):
        monkeypatch.setattr(f"hypercomp_rs.arrangement.{module}.SLICE", 1e-9, raising=False)
    monkeypatch.setattr("hypercomp_rs.arrangement.search.SLICE_PER_OVERHEAD", 0)
    assert hc.vertices(a, b, method=method, time_limit=60) == expected
    assert hc.vertices(a, b, method=method, max_vertices=1000) == expected
    assert united(list(hc.iter_vertices(a, b, method=method, block=3))) == list(expected)


def test_a_time_limit_ends_a_step_in_its_middle_and_loses_nothing():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((60, 20)), rng.standard_normal(60)
    for method in METHODS:
        start = time.monotonic()
        found = hc.vertices(a, b, method=method, time_limit=0.5)
        assert time.monotonic() - start < 10
        assert not found.complete
    a, b = long_numbers(60, 7, 3)
    for method in METHODS:
        whole, found = hc.vertices(a, b, method=method), None
        for step in range(1, 10_000):
            found = hc.vertices(a, b, method=method, resume=found, time_limit=0.002 * step)
            if found.complete:
                break
        assert found == whole
        assert found.cobases == whole.cobases


def test_hardly_more_hyperplanes_than_dimensions():
    rng = np.random.default_rng(0)
    for d in (20, 30, 40):
        a, b = rng.integers(-9, 10, (d + 2, d)), rng.integers(-9, 10, d + 2)
        start = time.process_time()
        zero = hc.vertices(a, b, method="zero")
        assert len(zero) == math.comb(d + 2, 2)
        found = hc.vertices(a, b, method="flats", time_limit=1)
        assert time.process_time() - start < 30
        assert not found.complete or found == zero


NO_MEMORY = """
    import resource, sys, time
    import numpy as np
    import hypercomp_rs as hc
    rng = np.random.default_rng(0)
    a, b = rng.integers(-99, 100, (90, 4)), rng.integers(-99, 100, 90)
    hc.vertices(a[:9], b[:9])
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (60 << 20),) * 2)
    for arguments in ({}, {"time_limit": 600}, {"method": "zero"}):
        try:
            print(hc.vertices(a, b, **arguments))
        except MemoryError as error:
            print(type(error).__name__)
    print(len(hc.vertices(a[:9], b[:9])))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_no_memory_is_a_memory_error():
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(NO_MEMORY)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    *errors, count = run.stdout.split()
    assert (len(errors), count) == (3, "126")
    assert set(errors) <= {"OutOfMemoryError", "MemoryError", "_ArrayMemoryError"}


def test_a_time_limit_is_kept():
    a, b = generic(300, 5)
    start = time.monotonic()
    found = hc.vertices(a, b, time_limit=0.3)
    assert 0.2 < time.monotonic() - start < 3
    assert not found.complete
    assert len(found) > 1000


# Incidence


def lead(row):
    return next(int(x) for x in row if x)


def test_incidence_is_every_row_through_every_vertex():
    rng = np.random.default_rng(3)
    for scale in (1, 10**18):
        a = rng.integers(-1, 2, (12, 3)).astype(object) * scale + rng.integers(-1, 2)
        b = rng.integers(-1, 2, 12).astype(object)
        a[5], b[5] = 2 * a[4], 2 * b[4]
        a[7] = 0
        b[[not any(row) for row in a]] = 0
        found = hc.vertices(a, b)
        indptr, indices = found.incidence()
        assert indptr.dtype == indices.dtype == np.int64
        for i, point in enumerate(found):
            through = [
                row
                for row in range(12)
                if any(a[row])
                and sum(Fraction(int(x)) * y for x, y in zip(a[row], point, strict=True)) == b[row]
            ]
            assert indices[indptr[i] : indptr[i + 1]].tolist() == through
            distinct = {tuple(Fraction(int(x), lead(a[r])) for x in [*a[r], b[r]]) for r in through}
            assert found.simple[i] == (len(distinct) == 3)
        part = found[2:5]
        assert part.incidence()[1].tolist() == indices[indptr[2] : indptr[5]].tolist()


def test_incidence_of_nothing():
    indptr, indices = hc.vertices([[1, 0]], [0]).incidence()
    assert (indptr.tolist(), indices.tolist()) == ([0], [])
    point = hc.vertices([[], []], [0, 0])
    assert [x.tolist() for x in point.incidence()] == [[0, 0], []]
    assert point.simple.tolist() == [True]


# Estimates


@pytest.mark.parametrize("d", [2, 3, 4])
def test_estimates_cover_the_truth(d):
    a, b = type_b(d, (-1, 0, 1))
    vertices = len(hc.vertices(a, b))
    cobases = hc.vertices(a, b, method="zero").cobases
    covered = np.zeros(2)
    means = np.zeros(2)
    for seed in range(40):
        estimate = hc.estimate_vertices(a, b, probes=400, seed=seed)
        pairs = [
            (estimate.vertices, estimate.vertices_error, vertices),
            (estimate.cobases, estimate.cobases_error, cobases),
        ]
        covered += [abs(mean - truth) <= 2 * error + 1e-9 * truth for mean, error, truth in pairs]
        means += [mean / 40 for mean, _, _ in pairs]
    # Two standard errors hold 95 % of a normal mean; the products' tails are long.
    assert (covered >= 30).all()
    assert np.allclose(means, [vertices, cobases], rtol=0.1)
    assert estimate == estimate._replace(seconds=estimate.seconds)
    assert 0 < estimate.seconds < 10


def test_estimates_are_exact_where_every_subset_is_independent():
    a, b = [[t**k for k in range(5)] for t in range(1, 30)], [t**5 for t in range(1, 30)]
    estimate = hc.estimate_vertices(a, b, probes=10)
    truth = math.comb(29, 5)
    assert np.allclose([estimate.vertices, estimate.cobases], truth, rtol=1e-9)
    assert np.allclose([estimate.vertices_error, estimate.cobases_error], 0, atol=1e-6 * truth)


def test_a_hopeless_search_says_how_large_it_looks():
    a, b = generic(300, 12)
    estimate = hc.estimate_vertices(a, b, probes=20)
    assert estimate.vertices > 1e15
    assert estimate.seconds > 1e6
    assert estimate.zero_seconds > 1e6
    with pytest.raises(hc.InvalidArgumentError, match="probes=1"):
        hc.estimate_vertices(a, b, probes=1)


# Progress


def test_progress_needs_rich_and_shows_the_estimate(capfd):
    pytest.importorskip("rich")
    a, b = type_b(3, (-1, 0, 1))
    assert hc.vertices(a, b, progress=True) == hc.vertices(a, b)
    out, err = capfd.readouterr()
    assert ("vertices" in err, out) == (True, "")


def test_progress_without_rich_is_a_named_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(hc.MissingExtraError, match=r"hypercomp-rs\[cli\]"):
        hc.vertices([[1]], [1], progress=True)


# Hostile input


def test_too_many_entries_are_a_named_error():
    a = np.ones((1_000_000, 60), np.int8)
    with pytest.raises(hc.TooLargeError, match="16777216 are accepted"):
        hc.vertices(a, np.ones(1_000_000, np.int8))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"max_vertices": -1}, "max_vertices=-1"),
        ({"max_vertices": 1.5}, "max_vertices=1.5"),
        ({"time_limit": -1}, "time_limit=-1"),
        ({"time_limit": float("nan")}, "time_limit=nan"),
        ({"time_limit": "1"}, "time_limit='1'"),
        ({"checkpoint": "x", "checkpoint_seconds": True}, "checkpoint_seconds=True"),
        ({"resume": [1]}, "resume is a list"),
        ({"resume": hc.vertices([[1]], [2])}, "another arrangement"),
    ],
)
def test_bad_limits_are_named(arguments, says):
    with pytest.raises(hc.InvalidArgumentError, match=says):
        hc.vertices([[1]], [1], **arguments)
