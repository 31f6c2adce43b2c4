"""Vertices of hyperplane arrangements, exactly."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np

from .. import _core
from .._integers import checked, checked_threads
from ..errors import InvalidArgumentError
from .approximate import DEFAULT_TOLERANCE, ApproximateVertices, approximate_vertices
from .progress import Bar
from .result import Vertices
from .rows import Rows
from .saved_search import SavedSearch
from .search import WHOLE, Asked, Job, Limits, Method, Problem, State, run, run_on, run_slices
from .stream import VertexStream

if TYPE_CHECKING:
    import concurrent.futures

    import numpy.typing as npt

    Matrix = npt.ArrayLike | Sequence[Sequence[Any]]
    Vector = npt.ArrayLike | Sequence[Any]
    Halfspaces = tuple[Matrix, Vector]

# Seconds of a search from which its time is predicted; and the most, until it finds a vertex.
TRIAL = 0.2
LONGEST_TRIAL = 5.0
# Random parts of a search from which its time is predicted, the time for all of them, and the
# longest part; and how they are drawn.
PARTS = 256
FEWEST_PARTS = 8
PARTS_SECONDS = 0.3
LONGEST_PART = 0.05
PARTS_SEED = 1
# Probes behind a progress bar's total: a glance, as they take time of the search.
GLANCE = 200


@overload
def vertices(
    A: Matrix,
    b: Vector,
    *,
    exact: Literal[True] = True,
    within: Halfspaces | None = None,
    method: Asked = "auto",
    threads: int | None = None,
    max_vertices: int | None = None,
    time_limit: float | None = None,
    resume: Vertices | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 10.0,
    executor: concurrent.futures.Executor | None = None,
) -> Vertices: ...
@overload
def vertices(
    A: Matrix,
    b: Vector,
    *,
    exact: Literal[False],
    tolerance: float = DEFAULT_TOLERANCE,
    threads: int | None = None,
) -> ApproximateVertices: ...
def vertices(
    A: Matrix,
    b: Vector,
    *,
    exact: bool = True,
    tolerance: float | None = None,
    within: Halfspaces | None = None,
    method: Asked = "auto",
    threads: int | None = None,
    max_vertices: int | None = None,
    time_limit: float | None = None,
    resume: Vertices | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 10.0,
    executor: concurrent.futures.Executor | None = None,
) -> Vertices | ApproximateVertices:
    """Every vertex of the arrangement of the hyperplanes ``A[i] · x = b[i]``, each exactly once.

    A vertex is a point in which d of the hyperplanes with independent normals meet.

    Parameters
    ----------
    A
        Normals, shape (n, d): a numpy array of any integer or float dtype, or nested sequences of
        integers of any size, floats, fractions and strings such as "1/3" or "0.1". A float is the
        dyadic rational that it is, so 0.1 is not "0.1". No normals at all are given as an array
        of shape (0, d); ``[]`` is taken as shape (0, 0).
    b
        Right-hand sides, shape (n,), of the same kinds.
    exact
        False searches in floats, with a tolerance and without a proof, and gives
        :class:`ApproximateVertices`. Of the arguments below, only `tolerance` and `threads` go
        with it.
    tolerance
        With ``exact=False`` only: what counts as 0 on the scale of 1; 1e-9 unless given.
    within
        A pair (C, e), of the kinds of A and b: only the vertices x with ``C @ x <= e`` are found. A
        search over flats does not enter flats that miss this polyhedron; a search over cobases
        visits all, and drops vertices.
    method
        "auto": the one of the two that an estimate from the input says is faster;
        :attr:`Vertices.method` says which that was.
        "flats": reverse search over flats, one visit a vertex however many hyperplanes meet there.
        "zero": the Zero rule's reverse search over cobases, which also counts them; an arrangement
        can have thousands of times as many cobases as vertices.
    threads
        Threads to search with; None for one a core. Not used with `executor`.
    max_vertices
        Stop after this many vertices. They are the first in the order of the search, and one
        thread finds them, so that they are the same every time; on an executor one job runs
        at a time, and which vertices come first depends on its speed.
    time_limit
        Stop after this many seconds. Which vertices are found by then depends on the machine.
    resume
        A partial result of the same A, b and method: the search goes on where that one stopped,
        and the new result has the vertices of both.
    progress
        Show a bar on standard error, with an estimate of the total. Needs rich, which
        the extra ``hypercomp-rs[cli]`` installs.
    checkpoint
        A file that keeps the state of the search. Where it exists the search goes on from it, with
        nothing found twice and nothing lost, whenever the last run was killed. It is replaced
        atomically, and at the end has the whole result; delete it when it is no longer needed.
    checkpoint_seconds
        Time between two writes; more where a write takes long.
    executor
        Where to search: any :class:`concurrent.futures.Executor`, of threads, processes, Dask
        (``client.get_executor()``) or others. Subtrees are sent out with a budget of about a
        second, and what is left of each comes back as new jobs. A job whose worker died is sent out
        again, up to three times, where the executor itself lives on.

    Returns
    -------
    Vertices
        Sorted lexicographically by coordinates. The same for either method, any number of threads
        and any order or scaling of the rows.

        Rows that are multiples of each other are one hyperplane. A row ``0·x = 0`` holds
        everywhere and is left out. Where the normals do not span the space (so where n < d) there
        is no vertex. In R^0, which is one point, that point is a vertex.

        Where a limit was reached, `complete` is False and the vertices are some of all.

    Raises
    ------
    EmptyHyperplaneError
        A row reads ``0·x = c`` with c not 0; the message names the row.
    NonFiniteError
        An entry is NaN or infinite; the message has its row and column.
    DtypeError
        An entry is not a number as above.
    InvalidArgumentError
        Shapes that do not fit, a string that is no number, an argument outside what is accepted,
        or a `checkpoint` or `resume` of another arrangement.
    TooLargeError
        A has more than 2^24 entries.
    FormatError
        The checkpoint is damaged.
    MissingExtraError
        ``progress=True`` without rich.

    Notes
    -----
    Exact means proved: numbers are integers, or residues modulo a prime larger than twice
    Hadamard's bound on every minor of [A | b], so that one is zero if and only if the number is.
    Coordinates of more than 64 bits are brought to lowest terms when they are first looked at.

    Memory O(n·d²) a thread beside the result. Time O(n·d) for each flat that has a vertex below
    it, or for each cobasis. Ctrl-C stops it. ``docs/vertices.md`` has the proofs.

    An Efficient Algorithm for Vertex Enumeration of Arrangement, arXiv 2401.16675, section 3, has
    the Zero rule; the search over flats is this package's.

    Examples
    --------
    The lines x = 0, y = 0 and x/3 + y = 1:

    >>> from hypercomp_rs import vertices
    >>> found = vertices([[1, 0], [0, 1], ["1/3", 1]], [0, 0, 1])
    >>> found
    Vertices(3 in R^2, int64)
    >>> found.numerators
    array([[0, 0],
           [0, 1],
           [3, 0]])
    >>> [tuple(map(str, vertex)) for vertex in found]
    [('0', '0'), ('0', '1'), ('3', '0')]

    Those of its vertices with x ≤ 1:

    >>> vertices([[1, 0], [0, 1], ["1/3", 1]], [0, 0, 1], within=([[1, 0]], [1]))
    Vertices(2 in R^2, int64)

    The lines x = c, y = c and x ± y = c for c = -1, 0, 1 cross in 54 pairs, but in 21 points:

    >>> A = [[1, 0], [0, 1], [1, 1], [1, -1]] * 3
    >>> b = [-1] * 4 + [0] * 4 + [1] * 4
    >>> vertices(A, b, method="zero")
    Vertices(21 in R^2, int64, 54 cobases)
    """
    if not isinstance(exact, bool):
        raise InvalidArgumentError(f"exact={exact!r}: True and False are accepted")
    if exact and tolerance is not None:
        raise InvalidArgumentError(f"tolerance={tolerance!r}: it belongs to exact=False")
    problem = _problem(A, b, "flats" if exact is False and method == "auto" else method, within)
    threads = checked_threads(threads)
    limits = _limits(max_vertices, time_limit)
    if not exact:
        exact_only = (within, max_vertices, time_limit, resume, checkpoint, executor)
        if method not in ("auto", "flats") or progress or any(x is not None for x in exact_only):
            raise InvalidArgumentError("exact=False goes with tolerance and threads only")
        return approximate_vertices(problem, tolerance, threads)
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise InvalidArgumentError(
            f"executor is a {type(executor).__name__}: a concurrent.futures.Executor is accepted"
        )
    watched = progress or checkpoint is not None or executor is not None or resume is not None
    if not watched and limits == Limits():
        found = run(problem.search, [WHOLE], threads=threads, sort=True)
        return _result(problem, found.numbers, found.cobases, State(jobs=[]))
    with ExitStack() as stack:
        state, followers = State(), []
        if checkpoint is not None:
            if not isinstance(checkpoint, str | os.PathLike):
                raise InvalidArgumentError(
                    f"checkpoint is a {type(checkpoint).__name__}: a path is accepted"
                )
            seconds = _checked_seconds("checkpoint_seconds", checkpoint_seconds)
            keeper = SavedSearch(checkpoint, seconds, problem)
            state = keeper.load()
            followers.append(keeper.follow)
            stack.callback(lambda: keeper.save(state))
        if resume is not None:
            _resumed(state, resume, problem)
        if progress:
            bar = Bar(_expected(problem) if state.jobs else 0)
            followers.append(stack.enter_context(bar).follow)

        def follow(state: State) -> None:
            for follower in followers:
                follower(state)

        if executor is None:
            run_slices(problem, state, limits, threads, follow)
        else:
            run_on(executor, problem, state, limits, follow)
        follow(state)
        numbers = problem.search.sort(state.numbers(), threads=threads)
    return _result(problem, numbers, state.cobases, state)


def iter_vertices(
    A: Matrix,
    b: Vector,
    *,
    within: Halfspaces | None = None,
    method: Asked = "auto",
    threads: int | None = None,
    block: int = 65_536,
) -> VertexStream:
    """The vertices as a stream of blocks, in bounded memory.

    A search in the background stays two blocks ahead. It stops when the stream is closed, dropped
    or left as a context manager.

    Parameters
    ----------
    A, b, within, method, threads
        As for :func:`vertices`.
    block
        Vertices in a block; the last may have fewer.

    Returns
    -------
    VertexStream
        An iterator of :class:`Vertices`, each sorted. Together they are those of :func:`vertices`,
        each once; which come first depends on the threads. Memory O(n·d²) a thread and about four
        blocks, whatever the number of vertices.

    Raises
    ------
    HypercompError
        As :func:`vertices`.

    Examples
    --------
    >>> from hypercomp_rs import iter_vertices
    >>> with iter_vertices([[1, 0], [0, 1], [1, 1]], [0, 0, 1], block=2) as stream:
    ...     [len(block) for block in stream]
    [2, 1]
    """
    return VertexStream(
        _problem(A, b, method, within),
        checked_threads(threads),
        checked("block", block, 1, 1 << 32),
    )


def count_vertices(
    A: Matrix,
    b: Vector,
    *,
    within: Halfspaces | None = None,
    method: Asked = "auto",
    threads: int | None = None,
) -> int:
    """The number of vertices, without their coordinates: faster, and in no memory to speak of.

    Parameters and errors are those of :func:`vertices`.

    Examples
    --------
    >>> from hypercomp_rs import count_vertices
    >>> count_vertices([[1, 0], [0, 1], [1, 1]], [0, 0, 1])
    3
    """
    problem = _problem(A, b, method, within)
    threads = checked_threads(threads)
    return run(problem.search, [WHOLE], threads=threads, coordinates=False).vertices


def flats(A: Matrix, b: Vector, *, threads: int | None = None) -> list[int]:
    """The number of flats of each dimension: element k counts those of dimension k, up to d.

    A flat is a non-empty intersection of hyperplanes; the whole space, the intersection of none,
    is the one of dimension d, and the vertices are those of dimension 0. Parameters and errors are
    those of :func:`vertices`. Time O(n·d) a flat, all of them counted.

    Examples
    --------
    Three lines in general position:

    >>> from hypercomp_rs import flats
    >>> flats([[1, 0], [0, 1], [1, 1]], [0, 0, 1])
    [3, 3, 1]
    """
    problem = _problem(A, b, "flats")
    threads = checked_threads(threads)
    found = run(problem.search, [WHOLE], threads=threads, coordinates=False, all_flats=True)
    if problem.dimension == 0:
        return [1]
    return [*found.flats[:-1], 1]


class Estimate(NamedTuple):
    """How large a search looks; made by :func:`estimate_vertices`.

    Errors are standard errors. Estimates have the true number as their mean, but where trees are
    uneven most are below it and a few far above.
    """

    vertices: float
    vertices_error: float
    cobases: float
    cobases_error: float
    seconds: float
    """Predicted time of ``vertices(..., method="flats")`` on these threads."""
    zero_seconds: float
    """Predicted time with ``method="zero"``."""


def estimate_vertices(
    A: Matrix,
    b: Vector,
    *,
    probes: int = 1000,
    seed: int = 0,
    threads: int | None = None,
) -> Estimate:
    """How many vertices and cobases there are, and how long a search would take, by random probes.

    Knuth's estimator: a probe walks from the root of a search tree to a leaf and counts each node
    as one over the probability of coming there, so that its mean is the number of nodes.
    Children are drawn as if all d-subsets of hyperplanes were independent; where they are, every
    probe gives the true number. (D. E. Knuth, Estimating the Efficiency of Backtrack Programs,
    Mathematics of Computation 29, 1975.) Times are predicted from a short run of each search, a
    fifth of a second, and up to five seconds until it finds a vertex.

    Parameters
    ----------
    A, b, threads
        As for :func:`vertices`.
    probes
        Number of probes, at least 2; each takes O(n·d²).
    seed
        Of the probes; the same seed gives the same numbers, but for times.

    Returns
    -------
    Estimate

    Raises
    ------
    HypercompError
        As :func:`vertices`.

    Examples
    --------
    >>> from hypercomp_rs import estimate_vertices
    >>> estimate = estimate_vertices([[1, 0], [0, 1], [1, 1]], [0, 0, 1])
    >>> round(estimate.vertices, 6), round(estimate.vertices_error, 6)
    (3.0, 0.0)
    """
    probes = checked("probes", probes, 2, 1 << 32)
    seed = checked("seed", seed, 0, (1 << 64) - 1)
    threads = checked_threads(threads)
    rows = Rows.of(A, b)
    results = []
    methods: tuple[Method, Method] = ("flats", "zero")
    for method in methods:
        search = Problem(rows, method).search
        counts = np.array(search.probes(probes, seed))
        mean, error = float(counts.mean()), float(counts.std(ddof=1) / math.sqrt(probes))
        seconds = _predicted(search, method, mean, threads)
        results.append((mean, error, seconds))
    (vertices, vertices_error, seconds), (cobases, cobases_error, zero_seconds) = results
    return Estimate(vertices, vertices_error, cobases, cobases_error, seconds, zero_seconds)


def _predicted(search: _core.Search, method: Method, size: float, threads: int | None) -> float:
    """The time of a search of this size, from short runs of parts of it."""
    start = time.monotonic()
    jobs, done, sorting = [WHOLE], 0, 0.0
    while jobs:
        found = run(search, jobs, threads=threads, seconds=TRIAL)
        found_at = time.monotonic()
        search.sort(found.numbers, threads)
        now = time.monotonic()
        sorting += now - found_at
        taken = now - start
        jobs = found.left
        done += found.vertices if method == "flats" else found.cobases
        # A search that is slow to begin gets more time.
        if jobs and (done or taken >= LONGEST_TRIAL):
            search.release()
            parts = _sampled(search) if method == "flats" else None
            if parts is not None:
                return parts / (threads or os.cpu_count() or 1) + sorting * size / max(done, 1)
            return taken * size / done if done else math.inf
    return time.monotonic() - start


def _sampled(search: _core.Search) -> float | None:
    """The time of a search over flats on one thread, from random parts; None where it has none.

    The time of a part and its weight are independent of where the search begins: there subtrees can
    have far fewer vertices than elsewhere, or take longer for each.
    """
    planes = search.dimension - 2
    overhead = min(_timed(search, []) for _ in range(4))
    for depth in range(1, planes + 1):
        start, total, count, fits = time.monotonic(), 0.0, 0, True
        for job, weight in search.random_jobs(PARTS, depth, PARTS_SEED):
            if weight:
                taken = _timed(search, [job])
                total += weight * max(taken - overhead, 0.0)
                # Smaller parts give a better mean in the same time.
                fits = taken <= LONGEST_PART or depth == planes
            count += 1
            if not fits or (count >= FEWEST_PARTS and time.monotonic() - start > PARTS_SECONDS):
                break
        if fits and count:
            search.release()
            return total / count
    return None


def _timed(search: _core.Search, jobs: list[Job]) -> float:
    """Seconds of processor time, which does not count what other processes take meanwhile."""
    start = time.process_time()
    run(search, jobs, threads=1, seconds=LONGEST_TRIAL)
    return time.process_time() - start


def _problem(a: Any, b: Any, method: Asked, within: Halfspaces | None = None) -> Problem:
    if method not in ("auto", "flats", "zero"):
        raise InvalidArgumentError(f"method={method!r}: 'auto', 'flats' and 'zero' are accepted")
    rows = Rows.of(a, b)
    problem = Problem(rows, method, None if within is None else _inequalities(within, rows))
    # Built now, so that bad input raises before anything starts.
    _ = problem.search
    return problem


def _inequalities(within: Any, rows: Rows) -> Rows:
    """The rows of (C, e), checked."""
    if not isinstance(within, tuple | list) or len(within) != 2:
        raise InvalidArgumentError("within: a pair (C, e) is accepted, for C @ x <= e")
    left, right = within
    found = Rows.of(left, right, names=("C", "e"))
    if found.dimension != rows.dimension:
        raise InvalidArgumentError(
            f"C has {found.dimension} columns and A {rows.dimension}: as many are accepted"
        )
    return found


def _expected(problem: Problem) -> float:
    """A rough estimate of the number of vertices; 0 where there is none."""
    if problem.within is not None:
        return 0.0
    return float(np.mean(problem.search.probes(GLANCE, 0)))


def _limits(max_vertices: int | None, time_limit: float | None) -> Limits:
    if max_vertices is not None:
        max_vertices = checked("max_vertices", max_vertices, 0, 1 << 62)
    if time_limit is None:
        return Limits(max_vertices)
    return Limits(max_vertices, time.monotonic() + _checked_seconds("time_limit", time_limit))


def _checked_seconds(name: str, seconds: object) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | np.number):
        raise InvalidArgumentError(f"{name}={seconds!r}: a number of seconds is accepted")
    number = float(seconds)
    if not 0 <= number < math.inf:
        raise InvalidArgumentError(f"{name}={number}: finite seconds from 0 are accepted")
    return number


def _resumed(state: State, partial: object, problem: Problem) -> None:
    """Let a new state be that of a partial result."""
    if not isinstance(partial, Vertices):
        raise InvalidArgumentError(f"resume is a {type(partial).__name__}: Vertices are accepted")
    if partial._jobs is None:
        raise InvalidArgumentError(
            "resume is a part of a result (a selection of vertices, or a block of a stream), which "
            "does not know what was left of its search: give the whole partial result"
        )
    problem.go_on_as(partial._problem.method, bool(partial._problem.shuffled))
    if partial._problem.digest != problem.digest:
        raise InvalidArgumentError(
            "resume is of another arrangement or method: give the same A, b and method"
        )
    if state.vertices:
        raise InvalidArgumentError("resume and an existing checkpoint: give one of them")
    state.jobs = list(partial._jobs)
    state.vertices = len(partial)
    state.cobases = partial._cobases or 0
    state.blocks = [partial._words.reshape(-1)]


def _result(
    problem: Problem, numbers: npt.NDArray[np.uint64], cobases: int, state: State
) -> Vertices:
    known = cobases if problem.method == "zero" else None
    return Vertices._of(problem, numbers, known, tuple(state.jobs))
