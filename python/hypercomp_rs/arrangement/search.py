"""Running the jobs of a search: in slices, on an executor, with whoever follows it.

A search is a list of jobs. A run of some of them gives vertices and the jobs that are left, so
limits, checkpoints, progress and executors need nothing of each other. A job is plain numbers:
(node, first position, last position), see ``rust/core/src/arrangement/jobs/job.rs``.
"""

from __future__ import annotations

import hashlib
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .. import _core
from ..errors import HypercompError
from . import choice
from .rows import Rows

if TYPE_CHECKING:
    import concurrent.futures

    import numpy.typing as npt

Method = Literal["flats", "zero"]
# What a caller may ask for.
Asked = Literal["auto", "flats", "zero"]
Job = tuple[list[int], int, int]

METHODS: dict[Method, _core.Method] = {"flats": _core.Method.FLATS, "zero": _core.Method.ZERO}
WHOLE: Job = ([], 0, 2**32 - 1)

# Seconds between two looks at limits, checkpoints and progress.
SLICE = 0.1
# A slice is at least so many times as long as what it needs beside its own time: the way back to
# where the search was, and a last step that goes on beyond the end.
SLICE_PER_OVERHEAD = 4
# Hyperplanes that are turned to bytes at a time, for a digest.
DIGESTED_TOGETHER = 1 << 12
# What a job on an executor may take before it hands back the rest: long beside its transfer, short
# beside a whole search.
JOB_SECONDS = 1.0
JOB_VERTICES = 200_000
# Jobs on an executor at one time; each comes back as several.
IN_FLIGHT = 32
# How often a job may fail before the search does: a worker that died loses its jobs.
ATTEMPTS = 4


class Problem:
    """An arrangement and how to search it; picklable, and built where it is first used."""

    def __init__(self, rows: Rows, asked: Asked, within: Rows | None = None) -> None:
        self.rows = rows
        self.asked = asked
        # Inequalities c·x ≤ e, which the vertices that are searched for satisfy.
        self.within = within
        self._method: Method | None = None if asked == "auto" else asked
        # Whether the search numbers the hyperplanes in a shuffled order, and not as they were
        # given; None until it is decided. Jobs name hyperplanes by these numbers, so it is decided
        # once.
        self.shuffled: bool | None = None

    @property
    def dimension(self) -> int:
        """Dimension d of the space."""
        return self.rows.dimension

    @property
    def method(self) -> Method:
        """The method that was asked for or, for "auto", chosen."""
        if self._method is None:
            # Built to be looked at; kept if it is the one.
            entries = self.rows.entries
            short = isinstance(entries, np.ndarray) and entries.dtype.kind == "i"
            crowded = len(entries) < choice.CROWDED * self.dimension
            guess: Method = "zero" if short and crowded and self.dimension > 5 else "flats"
            search = self._built(guess, False)
            self._method = self._chosen(search)
            if self._method == guess and not self.shuffled:
                self.__dict__["_first"] = search
        return self._method

    def _chosen(self, search: _core.Search) -> Method:
        n, bits = search.shape
        sizes = choice.Sizes(n, self.dimension, bits)
        if self.within is not None and bits <= choice.MACHINE_BITS:
            # Only a search over flats leaves out what lies beyond the inequalities.
            return "flats"
        ratio = choice.flats_over_zero(sizes)
        few = math.comb(n, self.dimension) <= choice.FEW_COBASES
        affordable = n * self.dimension**2 <= choice.MOST_PRODUCTS
        if choice.method_of(ratio) == "zero" and not few and affordable:
            # A vertex of many cobases is one to flats.
            vertices, cobases = search.sizes(choice.PROBES, choice.SEED)
            if vertices and cobases:
                ratio *= min(1.0, vertices / cobases)
        return choice.method_of(ratio)

    @cached_property
    def search(self) -> _core.Search:
        """The search, built once in this process."""
        method = self.method
        search = self.__dict__.pop("_first", None) or self._built(method, bool(self.shuffled))
        if self.shuffled is None:
            self.shuffled = method == "flats" and not search.finds_soon()
            if self.shuffled:
                return self._built(method, True)
        return search

    def _built(self, method: Method, shuffled: bool) -> _core.Search:
        search = _core.Search(
            self.rows.entries,
            self.rows.dimension,
            method=METHODS[method],
            shuffled=shuffled,
        )
        return search if self.within is None else search.within(self.within.entries)

    @cached_property
    def digest(self) -> str:
        """A name of the problem that other processes and later runs agree on.

        It depends on the hyperplanes and their order alone: the same rows as lists and as arrays,
        as fractions and as decimals, and in other multiples have one name.
        """
        search = self.search
        order = "shuffled" if self.shuffled else "as given"
        start = f"{self.method} {order} {self.rows.dimension} ".encode()
        named = hashlib.sha256(start)
        for inequalities in (False, True):
            if inequalities and self.within is not None:
                named.update(b" within ")
            first = 0
            while block := search.canonical(first, DIGESTED_TOGETHER, inequalities=inequalities):
                named.update(block)
                first += DIGESTED_TOGETHER
        return named.hexdigest()

    def older_digests(self, method: Method) -> set[str]:
        """The names that versions before the shuffle gave to the same rows, as array or lists."""
        entries = self.rows.entries
        contents = []
        if isinstance(entries, np.ndarray):
            contents.append(entries.dtype.str.encode() + entries.tobytes())
            entries = [[x.as_integer_ratio() for x in row] for row in entries.tolist()]
        contents.append(repr(entries).encode())
        start = f"{method} {self.rows.dimension} {len(entries)} ".encode()
        return {hashlib.sha256(start + content).hexdigest() for content in contents}

    def go_on_as(self, method: Method, shuffled: bool) -> None:
        """Search by the method, and number the hyperplanes, as a search did that is to go on.

        The method stays that which was asked for, if one was.
        """
        method = method if self.asked == "auto" else self.method
        if (self._method, self.shuffled) != (method, shuffled):
            self._method, self.shuffled = method, shuffled
            for made in ("search", "digest", "_first"):
                self.__dict__.pop(made, None)

    def __getstate__(self) -> dict[str, Any]:
        """All but the search, which does not leave the process."""
        return {
            "rows": self.rows,
            "within": self.within,
            "asked": self.asked,
            "_method": self._method,
            "shuffled": self.shuffled,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of an older version too, which had no choice of the method and no shuffle."""
        if "method" in state:
            method = state["method"]
            state = {"rows": state["rows"], "asked": method, "_method": method, "shuffled": False}
        self.__dict__.update({"within": None, **state})


@dataclass
class State:
    """How far a search has come."""

    jobs: list[Job] = field(default_factory=lambda: [WHOLE])
    vertices: int = 0
    cobases: int = 0
    blocks: list[npt.NDArray[np.uint64]] = field(default_factory=list)

    def add(self, found: Found) -> None:
        """Take in what a run has found; its jobs are not touched."""
        if len(found.numbers):
            self.blocks.append(found.numbers)
        self.vertices += found.vertices
        self.cobases += found.cobases

    def numbers(self) -> npt.NDArray[np.uint64]:
        """The coordinates of all vertices so far."""
        if len(self.blocks) != 1:
            self.blocks = [np.concatenate([np.empty(0, np.uint64), *self.blocks])]
        return self.blocks[0]


@dataclass
class Found:
    """What a run has found."""

    numbers: npt.NDArray[np.uint64]
    vertices: int
    cobases: int
    flats: list[int]
    left: list[Job]


def run(
    search: _core.Search,
    jobs: list[Job],
    *,
    threads: int | None,
    coordinates: bool = True,
    all_flats: bool = False,
    most: int | None = None,
    seconds: float | None = None,
    end: float | None = None,
    sort: bool = False,
    control: _core.Control | None = None,
) -> Found:
    """Run jobs until none is left or a limit is reached.

    `seconds` count from the first step, which is always made; `end` counts from now, and ends a
    step in its middle.
    """
    return Found(
        *search.run(
            jobs,
            threads=threads,
            coordinates=coordinates,
            all_flats=all_flats,
            most=most,
            seconds=seconds,
            end=end,
            sort=sort,
            control=control,
        )
    )


@dataclass(frozen=True)
class Limits:
    """When to stop, if not at the end."""

    max_vertices: int | None = None
    deadline: float | None = None

    def reached(self, state: State) -> bool:
        """Whether to stop now."""
        return (self.max_vertices is not None and state.vertices >= self.max_vertices) or (
            self.deadline is not None and time.monotonic() >= self.deadline
        )

    def room(self, state: State) -> int | None:
        """Vertices that may still be found."""
        return None if self.max_vertices is None else self.max_vertices - state.vertices

    def left(self) -> float | None:
        """Seconds to the end."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


class Slices:
    """How long slices are: short, but long beside what each needs apart from its time."""

    def __init__(self) -> None:
        self.seconds = SLICE

    def took(self, taken: float) -> None:
        """Learn from how long a slice took."""
        overhead = max(0.0, taken - self.seconds)
        self.seconds = max(SLICE, SLICE_PER_OVERHEAD * overhead)


def run_slices(
    problem: Problem,
    state: State,
    limits: Limits,
    threads: int | None,
    follow: Callable[[State], None],
) -> None:
    """Run a search on threads, slice by slice, and let `follow` see each state."""
    # Which vertices come first depends on the threads, so a limit on their number takes one.
    threads = threads if limits.max_vertices is None else 1
    slices = Slices()
    try:
        while state.jobs and not limits.reached(state):
            start = time.monotonic()
            found = run(
                problem.search,
                state.jobs,
                threads=threads,
                most=limits.room(state),
                seconds=slices.seconds,
                end=limits.left(),
            )
            slices.took(time.monotonic() - start)
            state.add(found)
            state.jobs = found.left
            follow(state)
    finally:
        problem.search.release()


@lru_cache(maxsize=4)
def _search_of(digest: str, pickled: bytes) -> _core.Search:
    problem: Problem = pickle.loads(pickled)
    return problem.search


def run_remote(digest: str, pickled: bytes, job: Job, seconds: float, most: int) -> Found:
    """Run one job for a while; what an executor's worker does."""
    return run(_search_of(digest, pickled), [job], threads=1, seconds=seconds, most=most)


def run_on(
    executor: concurrent.futures.Executor,
    problem: Problem,
    state: State,
    limits: Limits,
    follow: Callable[[State], None],
) -> None:
    """Run a search on an executor. `state` has every job that is not done, also those in flight."""
    # Imported here: few searches need it, and it is a tenth of the import of the package.
    import concurrent.futures

    pickled = pickle.dumps(problem)
    # The first jobs are short, so that there soon are enough for all workers.
    seconds = JOB_SECONDS / 20
    # Several jobs at a time would together find more than the limit.
    in_flight = IN_FLIGHT if limits.max_vertices is None else 1
    flying: dict[concurrent.futures.Future[Found], tuple[Job, int]] = {}
    waiting = [(job, 1) for job in state.jobs]
    try:
        while (waiting or flying) and not limits.reached(state):
            while waiting and len(flying) < in_flight:
                job, attempt = waiting.pop()
                future = executor.submit(
                    run_remote, problem.digest, pickled, job, seconds, _most(limits, state)
                )
                flying[future] = job, attempt
            done, _ = concurrent.futures.wait(
                flying, SLICE, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                job, attempt = flying.pop(future)
                try:
                    found = future.result()
                except (HypercompError, concurrent.futures.BrokenExecutor):
                    raise
                except Exception:
                    if attempt == ATTEMPTS:
                        raise
                    waiting.append((job, attempt + 1))
                    continue
                state.add(found)
                waiting += [(left, 1) for left in found.left]
                if len(waiting) >= IN_FLIGHT:
                    seconds = JOB_SECONDS
            state.jobs = [job for job, _ in waiting] + [job for job, _ in flying.values()]
            if done:
                follow(state)
    finally:
        for future in flying:
            future.cancel()


def _most(limits: Limits, state: State) -> int:
    if limits.max_vertices is None:
        return JOB_VERTICES
    return min(JOB_VERTICES, max(1, limits.max_vertices - state.vertices))
