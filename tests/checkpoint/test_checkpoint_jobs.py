"""Jobs over tensors: the memory that they share, and workers that fail."""

import concurrent.futures
import random
import threading
import time

import pytest

from hypercomp_rs.checkpoint.jobs import MAX_ATTEMPTS, MemoryLimit, completed
from hypercomp_rs.errors import NonFiniteError


def run_threads(work, count):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_no_more_is_held_than_there_is_room_for():
    memory, held, most, lock = MemoryLimit(100), 0, 0, threading.Lock()

    def hold(share, nbytes):
        nonlocal held, most
        share.take(nbytes)
        with lock:
            held += nbytes
            most = max(most, held)

    def work():
        nonlocal held
        for _ in range(50):
            with memory.share() as share:
                nbytes = random.randrange(1, 101)
                hold(share, nbytes)
                time.sleep(0)
                with lock:
                    held -= nbytes

    run_threads(work, 6)
    assert 50 < most <= 100


def test_those_who_wait_for_each_other_go_on():
    """Everyone holds a part and wants more than is left: one at a time gets it."""
    memory, together, most, lock = MemoryLimit(100), 0, 0, threading.Lock()
    barrier = threading.Barrier(4)

    def work():
        nonlocal together, most
        for _ in range(20):
            with memory.share() as share:
                share.take(25)
                barrier.wait(30)
                share.take(30)
                with lock:
                    together += 1
                    most = max(most, together)
                time.sleep(0.001)
                with lock:
                    together -= 1
                share.give(25)

    run_threads(work, 4)
    assert most <= 3


def test_one_that_never_fits_is_let_in_alone():
    memory = MemoryLimit(10)
    with memory.share() as share:
        share.take(10**12)
    done = []

    def work():
        with memory.share() as share:
            share.take(10**12)
            done.append(None)

    run_threads(work, 3)
    assert len(done) == 3


def test_a_job_that_fails_is_tried_again():
    left = {"a": 0, "b": MAX_ATTEMPTS - 1}

    def call(name):
        if left[name]:
            left[name] -= 1
            raise RuntimeError("the worker was lost")
        return name

    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        jobs = [("a",), ("b",)]
        found = completed(executor, call, jobs, most=2, look=lambda: None)
        assert sorted(found) == ["a", "b"]
        left["a"] = MAX_ATTEMPTS
        with pytest.raises(RuntimeError, match="lost"):
            list(completed(executor, call, jobs, most=2, look=lambda: None))
        assert left["a"] == 0


@pytest.mark.parametrize("error", [NonFiniteError("a weight"), OSError(28, "the disk is full")])
def test_what_is_wrong_with_a_job_is_raised_at_once(error):
    calls = []

    def call(name):
        calls.append(name)
        raise error

    with (
        concurrent.futures.ThreadPoolExecutor(1) as executor,
        pytest.raises(type(error)),
    ):
        list(completed(executor, call, [(i,) for i in range(50)], most=2, look=lambda: None))
    assert len(calls) <= 2
