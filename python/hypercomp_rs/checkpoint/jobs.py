"""Jobs over tensors on an executor, as many at a time as there is memory for."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ..errors import HypercompError

T = TypeVar("T")

# Seconds between two looks at whoever follows.
LOOK_SECONDS = 0.2
# How often a job may fail before all do: a worker that died loses its jobs.
ATTEMPTS = 4


class Room:
    """Memory that threads share: who wants some waits until there is enough.

    Whoever waits may hold some already, so all could wait for each other. Then the one who asked
    first goes on all the same: one tensor must fit, whatever its size.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._held = 0
        self._inside = 0
        self._waiting: list[object] = []
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def share(self) -> Iterator[Share]:
        """A thread's part, which is given back when the block is left."""
        share = Share(self)
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
            # The others may be stuck only since this one waits too.
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._may_go(ticket, nbytes))
            self._waiting.remove(ticket)
            self._held += nbytes
            self._changed.notify_all()

    def _may_go(self, ticket: object, nbytes: int) -> bool:
        first = self._waiting[0] is ticket
        stuck = len(self._waiting) == self._inside
        return first and (self._held + nbytes <= self.total or stuck)


class Share:
    """What a thread has of a :class:`Room`."""

    def __init__(self, room: Room) -> None:
        self.nbytes = 0
        self._room = room

    def take(self, nbytes: int) -> None:
        """So many bytes more, once there is room."""
        self._room._take(nbytes)
        self.nbytes += nbytes

    def give(self, nbytes: int) -> None:
        """So many bytes less."""
        self._room._change(held=-nbytes)
        self.nbytes -= nbytes


def completed(
    executor: concurrent.futures.Executor,
    call: Callable[..., T],
    jobs: Iterable[tuple[Any, ...]],
    *,
    most: int,
    look: Callable[[], None],
) -> Iterator[T]:
    """Results of `call` with each of these arguments, in the order in which they come.

    `most` are on the executor at one time, and begin in their order. A job that fails by other than
    its own fault is tried again. While none is finished, `look` is called several times a second.
    """
    waiting = deque((job, 1) for job in jobs)
    flying: dict[concurrent.futures.Future[T], tuple[tuple[Any, ...], int]] = {}
    try:
        while waiting or flying:
            while waiting and len(flying) < most:
                job, attempt = waiting.popleft()
                flying[executor.submit(call, *job)] = (job, attempt)
            done, _ = concurrent.futures.wait(
                flying, LOOK_SECONDS, return_when=concurrent.futures.FIRST_COMPLETED
            )
            look()
            for future in done:
                job, attempt = flying.pop(future)
                try:
                    result = future.result()
                except (HypercompError, OSError, concurrent.futures.BrokenExecutor):
                    raise
                except Exception:
                    if attempt == ATTEMPTS:
                        raise
                    waiting.append((job, attempt + 1))
                    continue
                yield result
    finally:
        for future in flying:
            future.cancel()
