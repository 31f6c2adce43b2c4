"""Paired timing: contestants take turns, so that a slow moment of the machine meets all of them."""

import statistics
import time
from collections.abc import Callable, Mapping


def seconds(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    rest: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The median time of each call over `rounds` rounds in which every contestant runs once.

    `rest` is a pause in seconds before each, for the threads of the one before to go to sleep.
    `clock` may be the process's own, where others share the machine and one thread is timed.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            time.sleep(rest)
            start = clock()
            call()
            times[name].append(clock() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}
