"""Paired timing: contestants take turns, so that a slow moment of the machine meets all of them."""

import statistics
import time
from collections.abc import Callable, Mapping


def seconds(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The median time of each call over `rounds` rounds in which every contestant runs once.

    ``time.process_time`` as the clock leaves out what other programs take of a core.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            start = clock()
            call()
            times[name].append(clock() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}
