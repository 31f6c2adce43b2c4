"""Searches that are killed and go on, and searches on executors whose workers are lost."""

import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from test_vertices_search import METHODS, generic, type_b

import hypercomp_rs as hc
from hypercomp_rs.arrangement.rows import Rows
from hypercomp_rs.arrangement.search import Problem

# Checkpoints


def test_a_finished_checkpoint_is_the_result(tmp_path):
    a, b = type_b(3, (-1, 0, 1))
    path = tmp_path / "search"
    found = hc.vertices(a, b, method="zero", checkpoint=path)
    assert path.exists()
    again = hc.vertices(a, b, method="zero", checkpoint=path)
    assert again == found
    assert again.cobases == found.cobases
    assert [p.name for p in tmp_path.iterdir()] == ["search"]


def test_a_checkpoint_takes_limits_in_turn(tmp_path):
    a, b = generic(20, 3)
    path = tmp_path / "search"
    for most in (100, 500, None):
        found = hc.vertices(a, b, checkpoint=path, max_vertices=most)
        assert found.complete == (most is None)
    assert found == hc.vertices(a, b)


def test_checkpoints_that_do_not_fit_are_named(tmp_path):
    path = tmp_path / "search"
    hc.vertices([[1, 0], [0, 1]], [1, 2], checkpoint=path)
    with pytest.raises(hc.InvalidArgumentError, match="another arrangement"):
        hc.vertices([[1, 0], [0, 1]], [1, 3], checkpoint=path)
    with pytest.raises(hc.InvalidArgumentError, match="another arrangement or method"):
        hc.vertices([[1, 0], [0, 1]], [1, 2], method="zero", checkpoint=path)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:40], b"", whole[:60] + b"?" + whole[61:]):
        path.write_bytes(damaged)
        with pytest.raises(hc.FormatError, match="no checkpoint"):
            hc.vertices([[1, 0], [0, 1]], [1, 2], checkpoint=path)
    with pytest.raises(FileNotFoundError):
        hc.vertices([[1]], [1], checkpoint=tmp_path / "no folder" / "search")


def test_a_checkpoint_that_cannot_be_written_loses_nothing(tmp_path, monkeypatch):
    a, b = type_b(3, (-1, 0, 1))
    expected = hc.vertices(a, b)
    with pytest.raises(hc.InvalidArgumentError, match="checkpoint is a bool"):
        hc.vertices(a, b, checkpoint=True)
    with pytest.raises(IsADirectoryError):
        hc.vertices(a, b, checkpoint=tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    # The disk is full from the second write on, and at the end.
    path = tmp_path / "search"
    hc.vertices(a, b, checkpoint=path, max_vertices=5)
    monkeypatch.setattr("hypercomp_rs.arrangement.saved_search.written", full)
    with pytest.warns(hc.CheckpointWarning, match="No space left"):
        found = hc.vertices(a, b, checkpoint=path, checkpoint_seconds=0)
    assert found == expected
    monkeypatch.undo()
    # What was there is there.
    assert hc.vertices(a, b, checkpoint=path) == expected


def test_a_checkpoint_of_an_older_version_goes_on(tmp_path, monkeypatch):
    a, b = type_b(3, (-1, 0, 1))
    path = tmp_path / "search"
    arrays = np.array(a), np.array(b)
    for older, newer in (((a, b), arrays), (arrays, (a, b))):
        # Before the shuffle the name was of the rows as they were given.
        for which in (0, -1):
            with monkeypatch.context() as patch:
                names = sorted(Problem(Rows.of(*older), "flats").older_digests("flats"))
                patch.setattr(Problem, "digest", names[which])
                hc.vertices(*older, checkpoint=path, max_vertices=7)
            assert hc.vertices(*newer, checkpoint=path) == hc.vertices(a, b)
            path.unlink()


def test_a_checkpoint_goes_on_by_its_method(tmp_path):
    a, b = type_b(3, (-1, 0, 1))
    for method in METHODS:
        path = tmp_path / method
        hc.vertices(a, b, method=method, checkpoint=path, max_vertices=5)
        found = hc.vertices(a, b, checkpoint=path)
        assert (found.method, found.complete) == (method, True)
        assert found == hc.vertices(a, b)


def test_what_a_killed_write_leaves_behind_is_removed(tmp_path):
    path = tmp_path / "search"
    left = tmp_path / ".search.0123abcd.tmp"
    fresh = tmp_path / ".search.89abcdef.tmp"
    other = tmp_path / ".search.x.0123abcd.tmp"
    for file in (left, fresh, other):
        file.write_bytes(b"half")
    for file in (left, other):
        os.utime(file, (0, 0))
    hc.vertices([[1, 0], [0, 1]], [1, 2], checkpoint=path)
    # A fresh one may belong to a process that is at it.
    assert {p.name for p in tmp_path.iterdir()} == {other.name, fresh.name, path.name}


def test_an_executor_is_named():
    with pytest.raises(hc.InvalidArgumentError, match="executor is a int"):
        hc.vertices([[1]], [1], executor=4)


KILLED = """
    import sys
    import numpy as np
    import hypercomp_rs as hc
    _, problem, path, method = sys.argv
    a, b = np.load(problem)["a"], np.load(problem)["b"]
    print("ready", flush=True)
    found = hc.vertices(a, b, method=method, threads=1, checkpoint=path, checkpoint_seconds=0)
    print(len(found), found.cobases)
"""


@pytest.mark.skipif(os.name != "posix", reason="this system has no SIGKILL")
@pytest.mark.parametrize(("method", "d"), [("flats", 6), ("zero", 5)])
def test_a_search_killed_at_any_moment_ends_with_the_same_result(tmp_path, method, d):
    a, b = type_b(d, (-1, 0, 1))
    expected = hc.vertices(a, b, method=method)
    problem, path = tmp_path / "problem.npz", tmp_path / "search"
    np.savez(problem, a=a, b=b)
    arguments = [sys.executable, "-c", textwrap.dedent(KILLED), problem, path, method]
    rng = np.random.default_rng()
    seed = int(rng.integers(1 << 32))
    print("seed", seed)
    rng = np.random.default_rng(seed)
    kills = 0
    while True:
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        try:
            out, _ = process.communicate(timeout=rng.uniform(0.05, 0.6) if kills < 5 else 120)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
    assert kills >= 1
    assert out.split() == [str(len(expected)), str(expected.cobases)]
    assert hc.vertices(a, b, method=method, checkpoint=path) == expected


# Executors


@pytest.fixture(scope="module")
def problem():
    a, b = type_b(4, (-1, 0, 1))
    return a, b, {method: hc.vertices(a, b, method=method) for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_an_executor_of_threads(problem, method):
    a, b, expected = problem
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        found = hc.vertices(a, b, method=method, executor=executor)
        few = hc.vertices(a, b, method=method, executor=executor, max_vertices=100)
        assert (len(few), few.complete) == (100, False)
        part = hc.vertices(a, b, method=method, executor=executor, time_limit=0.01)
        assert hc.vertices(a, b, method=method, executor=executor, resume=part) == found
    assert found == expected[method]
    assert found.cobases == expected[method].cobases


def test_an_executor_of_processes(problem, tmp_path):
    a, b, expected = problem
    context = __import__("multiprocessing").get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        for method in METHODS:
            found = hc.vertices(
                a, b, method=method, executor=executor, checkpoint=tmp_path / method
            )
            assert found == expected[method]
            assert found.cobases == expected[method].cobases


class Unlucky(concurrent.futures.ThreadPoolExecutor):
    """Every third job is lost with its worker."""

    count = 0

    def submit(self, work, /, *arguments, **named):
        self.count += 1
        if self.count % 3 == 0:
            return super().submit(self.lose)
        return super().submit(work, *arguments, **named)

    def lose(self):
        raise OSError("the worker is gone")


def test_lost_jobs_are_sent_again(problem):
    a, b, expected = problem
    with Unlucky(2) as executor:
        found = hc.vertices(a, b, method="zero", executor=executor)
    assert found == expected["zero"]
    assert found.cobases == expected["zero"].cobases


def test_an_executor_that_always_fails_raises(problem):
    a, b, _ = problem

    class Broken(Unlucky):
        def submit(self, work, /, *arguments, **named):
            return concurrent.futures.ThreadPoolExecutor.submit(self, self.lose)

    with Broken(1) as executor, pytest.raises(OSError, match="gone"):
        hc.vertices(a, b, executor=executor)


DASK = """
    import os, signal, sys, threading, time
    import numpy as np
    import hypercomp_rs as hc

    def main():
        from dask.distributed import Client, LocalCluster
        a, b = np.load(sys.argv[1])["a"], np.load(sys.argv[1])["b"]
        expected = hc.vertices(a, b, method="zero")
        ended = []
        with LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster, Client(cluster) as client:
            victim = next(iter(client.run(os.getpid).values()))

            def kill():
                os.kill(victim, signal.SIGKILL)
                ended.append("worker")

            threading.Timer(0.4, kill).start()
            found = hc.vertices(a, b, method="zero", executor=client.get_executor())
            ended.append("search")
            assert ended == ["worker", "search"]
            assert found == expected and found.cobases == expected.cobases
            assert hc.vertices(a, b, executor=client.get_executor()) == expected
        print("equal")

    if __name__ == "__main__":
        main()
"""


@pytest.mark.skipif(os.name != "posix", reason="this system has no SIGKILL")
def test_a_dask_cluster_that_loses_a_worker(tmp_path):
    pytest.importorskip("distributed")
    script = pathlib.Path(tmp_path / "search.py")
    script.write_text(textwrap.dedent(DASK))
    # Few vertices and some millions of cobases: long to search, short to send.
    a, b = type_b(5, (-1, 0, 1))
    np.savez(tmp_path / "problem.npz", a=a, b=b)
    run = subprocess.run(
        [sys.executable, script, tmp_path / "problem.npz"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.stdout.endswith("equal\n"), run.stderr
