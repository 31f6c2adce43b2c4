"""Jobs over tensors: on an executor, and within a limit of memory."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ..errors import HypercompError

T = TypeVar("T")

# Seconds between two calls of the function that follows the progress.
POLL_SECONDS = 0.2
# How often a job is tried before its error is raised. A worker that dies loses its jobs.
MAX_ATTEMPTS = 4


class MemoryLimit:
    """A limit of memory that threads share. A thread that needs memory waits until there is enough.

    A waiting thread may already hold memory, so all threads could wait for each other. Then the
    thread that asked first continues, beyond the limit. So a single tensor of any size can always
    be processed.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._held = 0
        self._inside = 0
        self._waiting: list[object] = []
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def share(self) -> Iterator[MemoryShare]:
        """The memory of one thread. All of it is given back at the end of the block."""
        share = MemoryShare(self)
        self._change(inside=1)
        try:
            yield share
        finally:
            self._change(held=-share.nbytes, inside=-1)

    def _change(self, *, held: int = 0, inside: int = 0) -> None:
        with self._changed:
            self._held += held
            self._inside += inside
            self._changed.notify_all()

    def _take(self, nbytes: int) -> None:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            # With this thread waiting, all threads may be waiting now, so the others check again.
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._may_go(ticket, nbytes))
            self._waiting.remove(ticket)
            self._held += nbytes
            self._changed.notify_all()

    def _may_go(self, ticket: object, nbytes: int) -> bool:
        first = self._waiting[0] is ticket
        stuck = len(self._waiting) == self._inside
        return first and (self._held + nbytes <= self.total or stuck)


class MemoryShare:
    """The memory that one thread holds of a :class:`MemoryLimit`."""

    def __init__(self, memory: MemoryLimit) -> None:
        self.nbytes = 0
        self._memory = memory

    def take(self, nbytes: int) -> None:
        """So many bytes more, once there is memory."""
        self._memory._take(nbytes)
        self.nbytes += nbytes

    def give(self, nbytes: int) -> None:
        """Give this number of bytes back."""
        self._memory._change(held=-nbytes)
        self.nbytes -= nbytes


def completed(
    executor: concurrent.futures.Executor,
    call: Callable[..., T],
    jobs: Iterable[tuple[Any, ...]],
    *,
    most: int,
    look: Callable[[], None],
) -> Iterator[T]:
    """Results of `call` for each tuple of arguments, in the order in which they are finished.

    At most `most` jobs are on the executor at a time, and they begin in the given order. A job is
    tried again if it fails with an error that is neither its own (``HypercompError``, ``OSError``)
    nor that of a broken executor. `look` is called several times a second.
    """
    waiting = deque((job, 1) for job in jobs)
    flying: dict[concurrent.futures.Future[T], tuple[tuple[Any, ...], int]] = {}
    try:
        while waiting or flying:
            while waiting and len(flying) < most:
                job, attempt = waiting.popleft()
                flying[executor.submit(call, *job)] = (job, attempt)
            done, _ = concurrent.futures.wait(
                flying, POLL_SECONDS, return_when=concurrent.futures.FIRST_COMPLETED
            )
            look()
            for future in done:
                job, attempt = flying.pop(future)
                try:
                    result = future.result()
                except (HypercompError, OSError, concurrent.futures.BrokenExecutor):
                    raise
                except Exception:
                    if attempt == MAX_ATTEMPTS:
                        raise
                    waiting.append((job, attempt + 1))
                    continue
                yield result
    finally:
        for future in flying:
            future.cancel()
