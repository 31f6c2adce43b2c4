"""Results in blocks, from a search in the background."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .. import _core
from .result import Vertices
from .search import SLICE, WHOLE, Found, Problem, Slices, run

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Self

# Blocks that wait: one to hand over, one to be ready when that is used up.
AHEAD = 2

Block = TypeVar("Block")


@dataclass
class _End:
    """The end of the blocks, and the error that made it, if one did."""

    error: BaseException | None = None


class BlockStream(Iterator[Block]):
    """Blocks of a result, which a thread in the background computes.

    `blocks` makes an iterator of them. Its search has to stop when the control is cancelled. The
    iterator must not refer to the stream, or the stream could never be dropped.
    """

    def __init__(self, blocks: Callable[[_core.Control], Iterator[Block]]) -> None:
        self._queue: queue.Queue[Block | _End] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._control = _core.Control()
        self._thread = threading.Thread(
            target=_fill, args=(blocks(self._control), self._queue, self._stop), daemon=True
        )
        self._thread.start()

    def __next__(self) -> Block:
        """The next block."""
        if self._stop.is_set():
            raise StopIteration
        item = self._queue.get()
        if not isinstance(item, _End):
            return item
        self.close()
        if item.error is None:
            raise StopIteration
        raise item.error

    def close(self) -> None:
        """Stop the search; there are no more blocks."""
        self._stop.set()
        self._control.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Where the making of the stream failed there is nothing to stop.
        if hasattr(self, "_control"):
            self.close()


def _fill(
    blocks: Iterator[Block], waiting: queue.Queue[Block | _End], stop: threading.Event
) -> None:
    """Fill the queue until the blocks end or the stream is closed."""
    try:
        for block in blocks:
            _put(block, waiting, stop)
            if stop.is_set():
                return
        _put(_End(), waiting, stop)
    except BaseException as error:
        _put(_End(error), waiting, stop)


def _put(item: Block | _End, waiting: queue.Queue[Block | _End], stop: threading.Event) -> None:
    """Wait for room, but not longer than anyone wants the item."""
    while not stop.is_set():
        try:
            waiting.put(item, timeout=SLICE)
        except queue.Full:
            continue
        return


class VertexStream(BlockStream[Vertices]):
    """Blocks of vertices; made by :func:`iter_vertices`.

    The search stops when the stream is closed, dropped, or left as a context manager.
    """

    def __init__(self, problem: Problem, threads: int | None, block: int) -> None:
        # Built here, so that bad input raises here.
        search = problem.search
        super().__init__(lambda control: _vertices(problem, search, threads, block, control))


def _vertices(
    problem: Problem,
    search: _core.Search,
    threads: int | None,
    block: int,
    control: _core.Control,
) -> Iterator[Vertices]:
    """All vertices in blocks of a size, each sorted."""
    jobs = [WHOLE]
    waiting: list[Found] = []
    count = 0
    slices = Slices()
    try:
        while jobs:
            start = time.monotonic()
            found = run(
                search,
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
                yield Vertices._of(problem, _joined(search, waiting), None, None)
                waiting, count = [], 0
    finally:
        search.release()


def _joined(search: _core.Search, parts: list[Found]) -> npt.NDArray[np.uint64]:
    """The coordinates of the parts of a block, sorted."""
    if len(parts) == 1:
        return parts[0].numbers
    numbers = np.concatenate([part.numbers for part in parts])
    return search.sort(numbers, threads=1)
