"""What part of a tensor an index selects, for tensors that are decoded and not read."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from types import EllipsisType
from typing import Any, NamedTuple

from .errors import DtypeError, OutOfBoundsError

ACCEPTED = "integers, slices and one ellipsis are accepted"


class Selection(NamedTuple):
    """A run of a tensor's flat C-order elements, and what is left to select of it."""

    start: int
    """The first element of the run."""
    shape: tuple[int, ...]
    """The shape that the run has."""
    rest: tuple[Any, ...]
    """The index that selects what is wanted from it."""


def select(shape: Sequence[int], index: object) -> Selection:
    """The least run of whole sub-tensors that has all that `index` selects, as numpy would.

    Leading integers pick a sub-tensor, and the first slice bounds the run in its first axis.
    """
    items = _full(shape, index if isinstance(index, tuple) else (index,))
    start = 0
    stride = math.prod(shape)
    for axis, (length, item) in enumerate(zip(shape, items, strict=True)):
        stride = stride // length if length else 0
        if isinstance(item, slice):
            chosen = range(length)[item]
            first, last = sorted((chosen[0], chosen[-1])) if chosen else (0, -1)
            # Of the run the same ones, counted from its start.
            stop = chosen.stop - first
            kept = slice(chosen.start - first, stop if stop >= 0 else None, chosen.step)
            run = (last + 1 - first, *shape[axis + 1 :])
            rest = (kept if chosen else slice(0, 0), *items[axis + 1 :])
            return Selection(start + first * stride, run, rest)
        start += item * stride
    return Selection(start, (), ())


def _full(shape: Sequence[int], index: tuple[object, ...]) -> list[Any]:
    """One integer, 0 or more, or one slice for each axis."""
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
