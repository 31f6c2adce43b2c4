"""Weights decoded while the layer before them computes.

The idea is that of arXiv 2409.00592: layers run in an order, so the weights of the next layer can
be decoded in the meantime. The order is learned. The weight that followed the last two weights is
expected to follow them again. (Two, because a forward and a backward pass go through the same
layers in opposite directions.) Large weights that many vectors are multiplied by are decoded block
by block, and the last block of one weight is followed by the first block of the next. One block, or
the filters of one convolution, is decoded ahead and used once. So there is never more than one
decoded block beside the one in use, and a wrong guess costs one decoding.

Only convolutions, products of many vectors and ``decode`` need dense weights. By default weights
are decoded ahead where torch's threads leave a core free (`choice.decodes_layers_ahead`). If torch
uses all cores, the decoder takes time from the layer that computes: on two cores, networks of six
convolutions took 1.0 to 1.15 times as long with it. If torch may use only one thread, no second one
is started by default.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch

from .._codes import DTYPES, Weight
from . import scratch
from .choice import decodes_layers_ahead, threads_ahead


class Rows(NamedTuple):
    """Rows of a weight, and the dtype that they are decoded to."""

    rows: range
    dtype: torch.dtype


def decode(weight: Weight, part: Rows, threads: int) -> torch.Tensor:
    """Rows of a weight, decoded now, in scratch memory."""
    axes = weight.shape[1:]
    out = scratch.take((len(part.rows), *axes), part.dtype)
    flat = out.view(-1)
    # numpy has no bfloat16, and the core writes the bits of both 16-bit floats.
    elements = flat.view(torch.uint16) if flat.element_size() == 2 else flat
    first = part.rows.start * math.prod(axes)
    weight.code.decompress_into(first, elements.numpy(), DTYPES[part.dtype], threads)
    return out


class _Thread(threading.local):
    """For each thread that runs a model: the order of layers, learned so far."""

    def __init__(self) -> None:
        self.last: tuple[weakref.ref[Weight], ...] = ()
        # What follows, by the last weight and then by the id of the one before it.
        self.following: weakref.WeakKeyDictionary[Weight, dict[int, _Next]]
        self.following = weakref.WeakKeyDictionary()
        # At most one entry. It is dropped with its weight.
        self.ahead: weakref.WeakKeyDictionary[Weight, tuple[Rows, Future[torch.Tensor]]]
        self.ahead = weakref.WeakKeyDictionary()


# A weight, and the rows of it that are needed first.
_Next = tuple[weakref.ref[Weight], Rows]

_thread = _Thread()
_worker: ThreadPoolExecutor | None = None


def _in_child() -> None:
    # Threads do not survive a fork, and what they were decoding is never finished.
    global _worker, _thread
    _worker, _thread = None, _Thread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def decoded(weight: Weight, part: Rows, following: Rows | None = None) -> torch.Tensor:
    """Rows of a weight, decoded ahead or now. Starts to decode the rows that come next.

    These are `following` of the same weight if given, or else what is expected of another weight.
    """
    threads = torch.get_num_threads()
    if not decodes_layers_ahead(threads):
        return decode(weight, part, threads)
    ready = _thread.ahead.pop(weight, None)
    # Anything else was a wrong guess. The thread that decodes it drops the result.
    _thread.ahead.clear()
    if part.rows.start == 0:
        _learn(weight, part)
    if ready is not None and ready[0] == part:
        dense = ready[1].result()
    else:
        dense = decode(weight, part, threads)
    expected = _expected(weight) if following is None else (weight, following)
    if expected is not None:
        next_weight, rows = expected
        _thread.ahead[next_weight] = rows, _begin(next_weight, rows, threads_ahead(threads))
    return dense


def _learn(weight: Weight, part: Rows) -> None:
    """Note that this weight is in use from now on."""
    this = weakref.ref(weight)
    last = [used for ref in _thread.last if (used := ref()) is not None]
    if len(last) == 2:
        _thread.following.setdefault(last[1], {})[id(last[0])] = this, part
    _thread.last = (*_thread.last[-1:], this)


def _expected(weight: Weight) -> tuple[Weight, Rows] | None:
    """Another weight that followed this one and the one before, and the rows needed first."""
    before = _thread.last[0]() if len(_thread.last) == 2 else None
    ref, part = _thread.following.get(weight, {}).get(id(before), (None, None))
    following = None if ref is None else ref()
    return None if following is None or part is None or following is weight else (following, part)


def _begin(weight: Weight, part: Rows, threads: int) -> Future[torch.Tensor]:
    global _worker
    if _worker is None:
        _worker = ThreadPoolExecutor(1, "hypercomp-ahead")
    return _worker.submit(_decode, weakref.ref(weight), part, threads)


def _decode(ref: weakref.ref[Weight], part: Rows, threads: int) -> torch.Tensor:
    weight = ref()
    if weight is None:
        # The model is gone, so nobody uses the result.
        return torch.empty(0)
    with torch.profiler.record_function("hypercomp::decode_ahead"):
        return decode(weight, part, threads)
