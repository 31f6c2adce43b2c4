"""The part of a compressed tensor that has to be decoded for an index."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from types import EllipsisType
from typing import Any, NamedTuple

from .errors import DtypeError, OutOfBoundsError

ACCEPTED = "integers, slices and one ellipsis are accepted"


class Selection(NamedTuple):
    """A contiguous run of a tensor's elements in C order, and the index within the run."""

    start: int
    """The first element of the run."""
    shape: tuple[int, ...]
    """The shape of the run."""
    rest: tuple[Any, ...]
    """The index that selects the result from the run."""


def select(shape: Sequence[int], index: object) -> Selection:
    """The smallest run of whole sub-tensors that contains everything that `index` selects.

    The index means what it means to numpy. Leading integers select a sub-tensor, and the first
    slice limits the run along its first axis.
    """
    items = _full(shape, index if isinstance(index, tuple) else (index,))
    start = 0
    stride = math.prod(shape)
    for axis, (length, item) in enumerate(zip(shape, items, strict=True)):
        stride = stride // length if length else 0
        if isinstance(item, slice):
            chosen = range(length)[item]
            first, last = sorted((chosen[0], chosen[-1])) if chosen else (0, -1)
            # The same entries, counted from the start of the run.
            stop = chosen.stop - first
            kept = slice(chosen.start - first, stop if stop >= 0 else None, chosen.step)
            run = (last + 1 - first, *shape[axis + 1 :])
            rest = (kept if chosen else slice(0, 0), *items[axis + 1 :])
            return Selection(start + first * stride, run, rest)
        start += item * stride
    return Selection(start, (), ())


def _full(shape: Sequence[int], index: tuple[object, ...]) -> list[Any]:
    """The index with one item for each axis: a non-negative integer or a slice."""
    dots = sum(item is Ellipsis for item in index)
    if dots > 1:
        raise OutOfBoundsError("an index may have one ellipsis")
    given = len(index) - dots
    if given > len(shape):
        raise OutOfBoundsError(f"{given} indices for a tensor of {len(shape)} axes")
    missing = [slice(None)] * (len(shape) - given)
    items: list[object] = []
    for item in index if dots else (*index, Ellipsis):
        if isinstance(item, EllipsisType):
            items.extend(missing)
        else:
            items.append(item)
    return [_checked(axis, shape[axis], item) for axis, item in enumerate(items)]


def _checked(axis: int, length: int, item: Any) -> int | slice:
    if isinstance(item, slice):
        return item
    try:
        position = operator.index(item)
    except TypeError:
        position = None
    # A bool is an integer, but as an index it is a mask.
    if position is None or isinstance(item, bool):
        raise DtypeError(f"an index of type {type(item).__name__}: {ACCEPTED}")
    if not -length <= position < length:
        raise OutOfBoundsError(f"index {position} of axis {axis}, which has length {length}")
    return position % length
