"""Layers decoded while the one before them computes.

The idea of arXiv 2409.00592: layers run in an order, so the next one's weights can be decoded
meanwhile. The order is learned: the weight that followed on the last two is expected to follow on
them again (on two, so that going forward and going backward through a model are told apart). One
layer is decoded ahead, on one thread, and handed out once: beside the layer in use there is never
more than one dense one, and a wrong guess costs one decoding.

Only convolutions and ``decode`` need dense weights. By default this is done where torch's threads
leave a core free, and not where they take all: then the decoder takes from the layer what it gives
(on two cores, nets of six convolutions took 1.0 to 1.15 times as long with it). A process that
torch may use but one thread in gets no second one either, unless it asks.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from ._codes import Weight

Decode = Callable[[Weight, torch.dtype, int], torch.Tensor]

_enabled: bool | None = None


def decode_ahead(enabled: bool | None) -> None:
    """Whether the next layer is decoded, on one thread, while one computes.

    None, the default: where torch uses several threads and they leave a core free
    (``torch.set_num_threads``). Off, no thread and no memory is used for it.

    Examples
    --------
    >>> import hypercomp_rs.torch as hct
    >>> hct.decode_ahead(True)
    >>> hct.decode_ahead(None)
    """
    global _enabled
    _enabled = enabled


def _wanted(threads: int) -> bool:
    return 2 <= threads < _cores() if _enabled is None else _enabled


def _cores() -> int:
    """Those that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Thread(threading.local):
    """What a thread that runs a model knows of its order."""

    def __init__(self) -> None:
        self.last: tuple[weakref.ref[Weight], ...] = ()
        # By the last weight and the one before it, both by reference only.
        self.following: weakref.WeakKeyDictionary[Weight, dict[int, weakref.ref[Weight]]]
        self.following = weakref.WeakKeyDictionary()
        # At most one entry; it goes when its weight does.
        self.ahead: weakref.WeakKeyDictionary[Weight, tuple[torch.dtype, Future[torch.Tensor]]]
        self.ahead = weakref.WeakKeyDictionary()


_thread = _Thread()
_worker: ThreadPoolExecutor | None = None


def _in_child() -> None:
    # Threads do not survive a fork, and what they were to do is not done.
    global _worker, _thread
    _worker, _thread = None, _Thread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def taken(weight: Weight, dtype: torch.dtype, decode: Decode) -> torch.Tensor:
    """A dense weight, decoded ahead or now; and the next one is begun."""
    threads = torch.get_num_threads()
    if not _wanted(threads):
        return decode(weight, dtype, threads)
    ready = _thread.ahead.pop(weight, None)
    # Guessed wrong, or of another dtype: whoever decodes it drops it.
    _thread.ahead.clear()
    following = _learn(weight)
    if ready is not None and ready[0] == dtype:
        dense = ready[1].result()
    else:
        dense = decode(weight, dtype, threads)
    if following is not None and following is not weight:
        _thread.ahead[following] = dtype, _begin(weakref.ref(following), dtype, decode)
    return dense


def _learn(weight: Weight) -> Weight | None:
    """Note that this weight is in use now, and say which is expected to follow."""
    last = tuple(used for ref in _thread.last if (used := ref()) is not None)
    this = weakref.ref(weight)
    _thread.last = (*_thread.last[-1:], this)
    if len(last) == 2:
        _thread.following.setdefault(last[1], {})[id(last[0])] = this
    if not last:
        return None
    expected = _thread.following.get(weight, {}).get(id(last[-1]))
    return None if expected is None else expected()


def _begin(weight: weakref.ref[Weight], dtype: torch.dtype, decode: Decode) -> Future[torch.Tensor]:
    global _worker
    if _worker is None:
        _worker = ThreadPoolExecutor(1, "hypercomp-ahead")
    return _worker.submit(_decode, weight, dtype, decode)


def _decode(ref: weakref.ref[Weight], dtype: torch.dtype, decode: Decode) -> torch.Tensor:
    weight = ref()
    if weight is None:
        # Its model is gone, and nobody will ask.
        return torch.empty(0)
    with torch.profiler.record_function("hypercomp::decode_ahead"):
        return decode(weight, dtype, 1)
