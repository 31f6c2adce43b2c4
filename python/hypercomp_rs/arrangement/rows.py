"""Rows [A | b] of an arrangement: every kind of exact number in, named errors where one is none."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import DtypeError, InvalidArgumentError, NonFiniteError

ACCEPTED = "int, float, Fraction and strings such as '1/3' are accepted"

# An exact number as its numerator and positive denominator.
Ratio = tuple[int, int]


class Rows(NamedTuple):
    """The rows [a | b] of hyperplanes a·x = b in R^dimension.

    `entries` is an array of int64 or float64 where A and b were, else ratios; shape (n, d + 1).
    """

    entries: npt.NDArray[Any] | list[list[Ratio]]
    dimension: int

    @classmethod
    def of(cls, a: Any, b: Any) -> Rows:
        """Those that a caller gave, checked."""
        if isinstance(a, np.ndarray) and a.ndim != 2:
            raise InvalidArgumentError(f"A has shape {a.shape}: (n, d) is accepted")
        if isinstance(b, np.ndarray) and b.ndim != 1:
            raise InvalidArgumentError(f"b has shape {b.shape}: (n,) is accepted")
        plain = [isinstance(x, np.ndarray) and not isinstance(x, np.ma.MaskedArray) for x in (a, b)]
        if all(plain) and len(a) == len(b):
            for kinds, dtype in (("iu", np.int64), ("f", np.float64)):
                if all(x.dtype.kind in kinds and np.can_cast(x.dtype, dtype) for x in (a, b)):
                    return cls(_array(a, b, dtype), a.shape[1])
        return cls(*_ratios(a, b))


def _array(a: npt.NDArray[Any], b: npt.NDArray[Any], dtype: Any) -> npt.NDArray[Any]:
    for name, x in (("A", a), ("b", b)):
        if x.dtype.kind == "f" and not (finite := np.isfinite(x)).all():
            where = np.argwhere(~finite)[0].tolist()
            raise NonFiniteError(f"{name}{where} is {x[tuple(where)]}: every entry must be finite")
    return np.ascontiguousarray(np.column_stack([a.astype(dtype), b.astype(dtype)]))


def _ratios(a: Any, b: Any) -> tuple[list[list[Ratio]], int]:
    """The rows as exact ratios, and the dimension."""
    normals = a.tolist() if isinstance(a, np.ndarray) else _listed(a, "A")
    sides = b.tolist() if isinstance(b, np.ndarray) else _listed(b, "b")
    if len(normals) != len(sides):
        raise InvalidArgumentError(
            f"A has {len(normals)} rows and b {len(sides)} entries: one for each row is accepted"
        )
    lists = [_listed(row, f"A[{i}]") for i, row in enumerate(normals)]
    # An array without rows still has columns.
    dimension = a.shape[1] if isinstance(a, np.ndarray) else len(lists[0]) if lists else 0
    for i, row in enumerate(lists):
        if len(row) != dimension:
            raise InvalidArgumentError(
                f"A[{i}] has {len(row)} entries and A[0] has {dimension}: rows of one length are "
                "accepted"
            )
    return [
        [*(_ratio(x, f"A[{i}, {j}]") for j, x in enumerate(row)), _ratio(side, f"b[{i}]")]
        for i, (row, side) in enumerate(zip(lists, sides, strict=True))
    ], dimension


def _listed(x: Any, name: str) -> list[Any]:
    """`x` as a list, if it is a sequence and no string."""
    if isinstance(x, np.ndarray):
        if x.ndim != 1:
            raise InvalidArgumentError(f"{name} has shape {x.shape}: one axis is accepted")
        listed: list[Any] = x.tolist()
        return listed
    if isinstance(x, str | bytes) or not isinstance(x, Sequence):
        raise DtypeError(f"{name} is a {type(x).__name__}: a numpy array or a list is accepted")
    return list(x)


def _ratio(x: Any, name: str) -> Ratio:
    """A number as the exact ratio that it is."""
    if isinstance(x, str):
        try:
            return Fraction(x).as_integer_ratio()
        except ValueError as error:
            raise InvalidArgumentError(f"{name} is {x!r}: {ACCEPTED}") from error
        except ZeroDivisionError as error:
            raise InvalidArgumentError(f"{name} is {x!r}, a division by zero") from error
    if isinstance(x, np.integer):
        return int(x), 1
    if isinstance(x, bool | np.bool_) or not hasattr(x, "as_integer_ratio"):
        raise DtypeError(f"{name} is a {type(x).__name__}: {ACCEPTED}")
    try:
        numerator, denominator = x.as_integer_ratio()
    except (ValueError, OverflowError) as error:
        raise NonFiniteError(f"{name} is {x}: every entry must be finite") from error
    return int(numerator), int(denominator)
