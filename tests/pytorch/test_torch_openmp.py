"""Products by the threads that torch computes with."""

import ctypes
import os
import platform
import threading

import numpy as np
import pytest
import torch

import hypercomp_rs as hc
from hypercomp_rs import _core
from hypercomp_rs.torch import _openmp

# More than one thread's share of work.
ROWS, COLUMNS = 600, 1024


@pytest.fixture(scope="module")
def c():
    w = np.random.default_rng(0).standard_normal((ROWS, COLUMNS), np.float32)
    return hc.compress_tensor(w, bits=4, effort="fast")


@pytest.fixture
def own_threads():
    """What has the core share out work among its own threads, and torch's again in the end."""
    yield lambda: _core.use_openmp(0)
    _openmp.share_threads()


def named(monkeypatch):
    """The addresses that the core is told."""
    addresses = []
    monkeypatch.setattr(_openmp, "use_openmp", addresses.append)
    _openmp.share_threads()
    return addresses


@pytest.mark.skipif(not hasattr(os, "RTLD_NOLOAD"), reason="the system cannot tell")
def test_the_runtime_that_torch_has_loaded_is_found(monkeypatch):
    if "backend: OpenMP" not in torch.__config__.parallel_info():
        pytest.skip("torch has other threads")
    (address,) = named(monkeypatch)
    assert address > 0


def test_a_torch_without_openmp_is_left_alone(monkeypatch):
    monkeypatch.setattr(torch.__config__, "parallel_info", lambda: "backend: native thread pool")
    assert named(monkeypatch) == []


def test_any_team_gives_the_same_bits(c, own_threads):
    x = np.random.default_rng(1).standard_normal((3, COLUMNS), np.float32)
    shared = [hc.matmul(c, x[:batch], threads=threads) for batch in (1, 3) for threads in (2, 3, 7)]
    own_threads()
    own = [hc.matmul(c, x[:batch], threads=threads) for batch in (1, 3) for threads in (2, 3, 7)]
    for a, b in zip(shared, own, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="products go by a pool")
def test_the_runtime_that_was_named_is_the_one_that_works(c, own_threads):
    work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    asked = []

    @ctypes.CFUNCTYPE(None, work, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    def parallel(each, data, threads, flags):
        asked.append(threads)
        # As a runtime that has but one thread to give.
        each(data)

    x = np.random.default_rng(1).standard_normal(COLUMNS).astype(np.float32)
    expected = hc.matvec(c, x, threads=1)
    _core.use_openmp(ctypes.cast(parallel, ctypes.c_void_p).value)
    np.testing.assert_array_equal(hc.matvec(c, x, threads=2), expected)
    own_threads()
    np.testing.assert_array_equal(hc.matvec(c, x, threads=2), expected)
    assert asked == [2]


def test_python_s_threads_have_a_team_each(c):
    x = np.random.default_rng(1).standard_normal(COLUMNS).astype(np.float32)
    expected, right = hc.matvec(c, x, threads=1), []

    def run():
        right.extend(np.array_equal(hc.matvec(c, x, threads=2), expected) for _ in range(100))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(right) == 400
    assert all(right)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_has_threads_of_its_own(c):
    x = np.random.default_rng(1).standard_normal(COLUMNS).astype(np.float32)
    # The parent's team has been at work, so a child that used it would wait for ever.
    assert torch.ones(1 << 20).sum() == 1 << 20
    expected = hc.matvec(c, x, threads=2)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(hc.matvec(c, x, threads=2), expected) else 1)
    ended = []
    waiting = threading.Thread(target=lambda: ended.append(os.waitpid(child, 0)[1]))
    waiting.start()
    waiting.join(60)
    if not ended:
        os.kill(child, 9)
    waiting.join()
    assert ended == [0]
