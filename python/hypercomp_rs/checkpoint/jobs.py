"""Jobs over tensors on an executor, as many at a time as there is memory for."""

from __future__ import annotations

import concurrent.futures
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from ..errors import HypercompError

T = TypeVar("T")

# Jobs on a foreign executor at one time: enough for the workers of a cluster.
IN_FLIGHT = 64
# How often a job may fail before all do: a worker that died loses its jobs.
ATTEMPTS = 4


class Job(NamedTuple):
    """Arguments of a call, and the most memory that it takes, in bytes."""

    arguments: tuple[Any, ...]
    memory: int


def completed(
    executor: concurrent.futures.Executor,
    call: Callable[..., T],
    jobs: Iterable[Job],
    *,
    room: int | None,
    most: int = IN_FLIGHT,
) -> Iterator[T]:
    """Results in the order in which they come.

    Jobs begin in their order. Those that run take `room` bytes together, or one takes more; None
    is for workers that have memory of their own. A job that fails by other than its own fault is
    tried again.
    """
    waiting = deque((job, 1) for job in jobs)
    flying: dict[concurrent.futures.Future[T], tuple[Job, int]] = {}
    try:
        while waiting or flying:
            while waiting and len(flying) < most and _fits(waiting[0][0], flying.values(), room):
                job, attempt = waiting.popleft()
                flying[executor.submit(call, *job.arguments)] = (job, attempt)
            done, _ = concurrent.futures.wait(
                flying, return_when=concurrent.futures.FIRST_COMPLETED
            )
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


def _fits(job: Job, flying: Iterable[tuple[Job, int]], room: int | None) -> bool:
    held = [other.memory for other, _ in flying]
    return room is None or not held or sum(held) + job.memory <= room
