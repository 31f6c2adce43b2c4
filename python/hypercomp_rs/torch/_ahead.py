"""Weights decoded while what came before them computes.

The idea of arXiv 2409.00592: layers run in an order, so the next one's weights can be decoded
meanwhile. The order is learned: the weight that followed on the last two is expected to follow on
them again (on two, so that going forward and going backward through a model are told apart). Large
weights that many vectors are multiplied by go block by block, and after a weight's last block comes
the first of the next weight. One block, or one convolution's filters, is decoded ahead and handed
out once: beside the one in use there is never more than one, and a wrong guess costs one decoding.

Only convolutions, products of many vectors and ``decode`` need dense weights. By default this is
done where torch's threads leave a core free, and not where they take all: then the decoder takes
from the layer what it gives (on two cores, nets of six convolutions took 1.0 to 1.15 times as long
with it). A process that torch may use but one thread in gets no second one either, unless it asks.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch

from . import _scratch
from ._codes import DTYPES, Weight

_enabled: bool | None = None


def decode_ahead(enabled: bool | None) -> None:
    """Whether the next layer is decoded, by threads of its own, while one computes.

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


class Part(NamedTuple):
    """Rows of a weight, and what they are decoded to."""

    rows: range
    dtype: torch.dtype


def decode(weight: Weight, part: Part, threads: int) -> torch.Tensor:
    """Rows of a weight, in memory that is to be given back."""
    axes = weight.shape[1:]
    out = _scratch.take((len(part.rows), *axes), part.dtype)
    flat = out.view(-1)
    # numpy has no bfloat16, and the core takes the bits of both 16-bit floats.
    elements = flat.view(torch.uint16) if flat.element_size() == 2 else flat
    first = part.rows.start * math.prod(axes)
    weight.code.decompress_into(first, elements.numpy(), DTYPES[part.dtype], threads)
    return out


def wanted(threads: int) -> bool:
    """Whether to decode ahead while so many threads compute."""
    return 2 <= threads < _cores() if _enabled is None else _enabled


def spare(threads: int) -> int:
    """The threads that decode meanwhile."""
    return max(1, _cores() - threads)


def _cores() -> int:
    """Those that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Thread(threading.local):
    """What a thread that runs a model knows of its order."""

    def __init__(self) -> None:
        self.last: tuple[weakref.ref[Weight], ...] = ()
        # By the last weight and the one before it, both by reference only: what comes then.
        self.following: weakref.WeakKeyDictionary[Weight, dict[int, _Next]]
        self.following = weakref.WeakKeyDictionary()
        # At most one entry; it goes when its weight does.
        self.ahead: weakref.WeakKeyDictionary[Weight, tuple[Part, Future[torch.Tensor]]]
        self.ahead = weakref.WeakKeyDictionary()


# A weight, and what of it is wanted first.
_Next = tuple[weakref.ref[Weight], Part]

_thread = _Thread()
_worker: ThreadPoolExecutor | None = None


def _in_child() -> None:
    # Threads do not survive a fork, and what they were to do is not done.
    global _worker, _thread
    _worker, _thread = None, _Thread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def taken(weight: Weight, part: Part, then: Part | None = None) -> torch.Tensor:
    """A part of a weight, decoded ahead or now; and the next one is begun.

    That is `then` of the same weight, or, without one, what is expected of another.
    """
    threads = torch.get_num_threads()
    if not wanted(threads):
        return decode(weight, part, threads)
    ready = _thread.ahead.pop(weight, None)
    # Guessed wrong, or of another dtype: whoever decodes it drops it.
    _thread.ahead.clear()
    if part.rows.start == 0:
        _learn(weight, part)
    if ready is not None and ready[0] == part:
        dense = ready[1].result()
    else:
        dense = decode(weight, part, threads)
    following = _expected(weight) if then is None else (weight, then)
    if following is not None:
        then_weight, then = following
        _thread.ahead[then_weight] = then, _begin(then_weight, then, spare(threads))
    return dense


def _learn(weight: Weight, part: Part) -> None:
    """Note that this weight is in use from now on."""
    this = weakref.ref(weight)
    last = [used for ref in _thread.last if (used := ref()) is not None]
    if len(last) == 2:
        _thread.following.setdefault(last[1], {})[id(last[0])] = this, part
    _thread.last = (*_thread.last[-1:], this)


def _expected(weight: Weight) -> tuple[Weight, Part] | None:
    """Another weight that followed on this one and the one before."""
    before = _thread.last[0]() if len(_thread.last) == 2 else None
    ref, part = _thread.following.get(weight, {}).get(id(before), (None, None))
    following = None if ref is None else ref()
    return None if following is None or part is None or following is weight else (following, part)


def _begin(weight: Weight, part: Part, threads: int) -> Future[torch.Tensor]:
    global _worker
    if _worker is None:
        _worker = ThreadPoolExecutor(1, "hypercomp-ahead")
    return _worker.submit(_decode, weakref.ref(weight), part, threads)


def _decode(ref: weakref.ref[Weight], part: Part, threads: int) -> torch.Tensor:
    weight = ref()
    if weight is None:
        # Its model is gone, and nobody will ask.
        return torch.empty(0)
    with torch.profiler.record_function("hypercomp::decode_ahead"):
        return decode(weight, part, threads)
