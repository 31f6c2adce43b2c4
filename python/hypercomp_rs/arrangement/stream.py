"""Vertices as they are found, from a search in the background."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import numpy as np

from .. import _core
from .result import Vertices
from .search import SLICE, WHOLE, Found, Problem, Slices, run

# Blocks that wait: one to hand over, one to be ready when that is used up.
AHEAD = 2


class VertexStream(Iterator[Vertices]):
    """Blocks of vertices; made by :func:`iter_vertices`.

    The search stops when the stream is closed, dropped, or left as a context manager.
    """

    def __init__(self, problem: Problem, threads: int | None, block: int) -> None:
        # Built here, so that bad input raises here.
        self._limbs = problem.search.limbs
        self._problem = problem
        self._blocks: queue.Queue[Found | BaseException | None] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._control = _core.Control()
        # The thread has no reference to the stream, or it could never be dropped.
        self._thread = threading.Thread(
            target=_search,
            args=(problem, threads, block, self._blocks, self._stop, self._control),
            daemon=True,
        )
        self._thread.start()

    def __next__(self) -> Vertices:
        """The next block."""
        if self._stop.is_set():
            raise StopIteration
        found = self._blocks.get()
        if isinstance(found, Found):
            return Vertices._of(self._problem, found.numbers, None, None)
        self.close()
        if found is None:
            raise StopIteration
        raise found

    def close(self) -> None:
        """Stop the search; there are no more blocks."""
        self._stop.set()
        self._control.cancel()

    def __enter__(self) -> VertexStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Where the making of the stream failed there is nothing to stop.
        if hasattr(self, "_control"):
            self.close()


def _search(
    problem: Problem,
    threads: int | None,
    block: int,
    blocks: queue.Queue[Found | BaseException | None],
    stop: threading.Event,
    control: _core.Control,
) -> None:
    """Fill the queue until the search ends or is stopped."""
    jobs = [WHOLE]
    waiting: list[Found] = []
    count = 0
    slices = Slices()
    try:
        while jobs and not stop.is_set():
            start = time.monotonic()
            found = run(
                problem.search,
                jobs,
                threads=threads,
                most=block - count,
                seconds=slices.seconds,
                sort=True,
                control=control,
            )
            slices.took(time.monotonic() - start)
            jobs = found.left
            if found.vertices:
                waiting.append(found)
                count += found.vertices
            if count == block or (count and not jobs):
                _put(_joined(problem, waiting), blocks, stop)
                waiting, count = [], 0
        _put(None, blocks, stop)
    except BaseException as error:
        _put(error, blocks, stop)
    finally:
        problem.search.release()


def _joined(problem: Problem, parts: list[Found]) -> Found:
    """Parts of a block as one, sorted."""
    if len(parts) == 1:
        return parts[0]
    numbers = np.concatenate([part.numbers for part in parts])
    numbers = problem.search.sort(numbers, threads=1)
    return Found(numbers, sum(part.vertices for part in parts), 0, [], [])


def _put(
    item: Found | BaseException | None,
    blocks: queue.Queue[Found | BaseException | None],
    stop: threading.Event,
) -> None:
    """Wait for room, but not longer than anyone wants the item."""
    while not stop.is_set():
        try:
            blocks.put(item, timeout=SLICE)
        except queue.Full:
            continue
        return
