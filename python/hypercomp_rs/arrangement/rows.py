"""Rows [A | b] of an arrangement: every kind of exact number in, named errors where one is none.

Numbers are known by protocol, and no other library is imported for them. A number is an integer by
``__index__``, a fraction by ``as_integer_ratio`` or by ``numerator`` and ``denominator``
(``numbers.Rational``, sympy, gmpy2, flint, Sage), or a binary float by ``_mpf_`` (mpmath, sympy).
Tables are numpy arrays, nested sequences, and what turns itself into an array: torch tensors,
sparse matrices of scipy, tables of pandas, matrices of sympy.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from fractions import Fraction
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import _core
from ..errors import DtypeError, InvalidArgumentError, NonFiniteError, TooLargeError

ACCEPTED = (
    "integers, floats, fractions (Fraction, Decimal, any numbers.Rational) and strings such as "
    "'1/3' are accepted"
)

# An exact number as its numerator and positive denominator.
Ratio = tuple[int, int]

# The most entries of A that the core accepts; a sparse matrix may claim any number.
MOST_ENTRIES = 1 << 24

# Rows that are turned to text at once: some megabytes.
WRITTEN_TOGETHER = 1 << 16

# Integers up to this magnitude are floats exactly.
EXACT_IN_FLOATS = 1 << 53


class Rows(NamedTuple):
    """The rows [a | b] of hyperplanes a·x = b in R^dimension.

    `entries` is an array of int64 or float64 where these hold every number exactly, else ratios;
    shape (n, d + 1).
    """

    entries: npt.NDArray[Any] | list[list[Ratio]]
    dimension: int

    @classmethod
    def of(cls, a: Any, b: Any, names: tuple[str, str] = ("A", "b")) -> Rows:
        """Those that a caller gave, checked. Errors call them by their names."""
        a, b = _table(a, names[0]), _table(b, names[1])
        if isinstance(a, np.ndarray) and a.ndim != 2:
            raise InvalidArgumentError(f"{names[0]} has shape {a.shape}: (n, d) is accepted")
        if isinstance(b, np.ndarray) and b.ndim == 2 and b.shape[1] == 1:
            # A column.
            b = b[:, 0]
        if isinstance(b, np.ndarray) and b.ndim != 1:
            raise InvalidArgumentError(
                f"{names[1]} has shape {b.shape}: (n,) and (n, 1) are accepted"
            )
        numbers = _machine_rows(a, b, names)
        if numbers is not None:
            return cls(numbers, a.shape[1])
        ratios, dimension = _ratios(a, b, names)
        return cls(_narrowed(ratios, dimension), dimension)


def _table(x: Any, name: str) -> Any:
    """`x` as a numpy array or a sequence, if it can be one."""
    if isinstance(x, np.ndarray | np.generic | str | bytes | Sequence):
        # A memoryview is a Sequence for Python, and may have two axes.
        return np.asarray(x) if isinstance(x, memoryview) else x
    if hasattr(x, "toarray") and hasattr(x, "nnz"):
        # A sparse matrix.
        entries = int(np.prod([int(n) for n in x.shape], dtype=object))
        if entries > MOST_ENTRIES:
            raise TooLargeError(
                f"{name} has shape {tuple(x.shape)}, {entries} entries: {MOST_ENTRIES} are accepted"
            )
        return np.asarray(x.toarray())
    if hasattr(x, "detach") and hasattr(x, "cpu"):
        # A tensor of torch; numpy has no bfloat16.
        tensor = x.detach().cpu()
        return np.asarray(tensor.double() if tensor.is_floating_point() else tensor)
    if hasattr(x, "to_numpy") and hasattr(x, "dtypes"):
        # A table of pandas. Columns of several types would become floats, and lose digits.
        types = {str(dtype) for dtype in np.atleast_1d(np.asarray(x.dtypes, object)).tolist()}
        return x.to_numpy() if len(types) == 1 else x.to_numpy(dtype=object)
    if any(hasattr(x, by) for by in ("__array__", "__array_interface__", "__array_struct__")):
        return np.asarray(x)
    if isinstance(x, Mapping | Set) or not (hasattr(x, "__len__") and hasattr(x, "__iter__")):
        raise DtypeError(f"{name} is a {type(x).__name__}: a numpy array or a list is accepted")
    return list(x)


def _machine_rows(a: Any, b: Any, names: tuple[str, str]) -> npt.NDArray[Any] | None:
    """Arrays of integers and floats as one array of int64 or float64 that holds them exactly."""
    for x in (a, b):
        if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
            return None
    if len(a) != len(b):
        return None
    parts = []
    for name, x in zip(names, (a, b), strict=True):
        if x.dtype.kind == "u" and x.dtype.itemsize == 8 and (x > np.iinfo(np.int64).max).any():
            return None
        if x.dtype.kind in "iu":
            parts.append(x.astype(np.int64))
        elif x.dtype.kind == "f" and np.can_cast(x.dtype, np.float64):
            if not (finite := np.isfinite(x)).all():
                where = np.argwhere(~finite)[0].tolist()
                raise NonFiniteError(
                    f"{name}{where} is {x[tuple(where)]}: every entry must be finite"
                )
            parts.append(x.astype(np.float64))
        else:
            return None
    if parts[0].dtype != parts[1].dtype:
        made = _as_integers(parts) or _as_floats(parts)
        if made is None:
            return None
        parts = made
    return np.ascontiguousarray(np.column_stack(parts))


def _as_integers(parts: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]] | None:
    """The parts as int64, if the floats among them are such integers."""
    limit = float(2**63)
    whole = all(
        x.dtype == np.int64 or bool(((x == np.floor(x)) & (x >= -limit) & (x < limit)).all())
        for x in parts
    )
    return [x.astype(np.int64) for x in parts] if whole else None


def _as_floats(parts: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]] | None:
    """The parts as float64, if that changes no integer."""
    limit = EXACT_IN_FLOATS
    exact = all(x.dtype == np.float64 or bool(((x >= -limit) & (x <= limit)).all()) for x in parts)
    return [x.astype(np.float64) for x in parts] if exact else None


def _narrowed(
    ratios: list[list[Ratio]], dimension: int
) -> npt.NDArray[np.int64] | list[list[Ratio]]:
    """Rows of integers of 64 bits as an array."""
    if any(denominator != 1 for row in ratios for _, denominator in row):
        return ratios
    numbers = chain.from_iterable([numerator for numerator, _ in row] for row in ratios)
    try:
        return np.fromiter(numbers, np.int64).reshape(len(ratios), dimension + 1)
    except OverflowError:
        return ratios


def _ratios(a: Any, b: Any, names: tuple[str, str]) -> tuple[list[list[Ratio]], int]:
    """The rows as exact ratios, and the dimension."""
    left, right = names
    normals = a.tolist() if isinstance(a, np.ndarray) else _listed(a, left)
    sides = b.tolist() if isinstance(b, np.ndarray) else _listed(b, right)
    if len(normals) != len(sides):
        raise InvalidArgumentError(
            f"{left} has {len(normals)} rows and {right} {len(sides)} entries: one for each row is "
            "accepted"
        )
    lists = [_listed(row, f"{left}[{i}]") for i, row in enumerate(normals)]
    # An array without rows still has columns.
    dimension = a.shape[1] if isinstance(a, np.ndarray) else len(lists[0]) if lists else 0
    for i, row in enumerate(lists):
        if len(row) != dimension:
            raise InvalidArgumentError(
                f"{left}[{i}] has {len(row)} entries and {left}[0] has {dimension}: rows of one "
                "length are accepted"
            )
    return [
        [
            *(_ratio(x, f"{left}[{i}, {j}]") for j, x in enumerate(row)),
            _ratio(side, f"{right}[{i}]"),
        ]
        for i, (row, side) in enumerate(zip(lists, sides, strict=True))
    ], dimension


def _listed(x: Any, name: str) -> list[Any]:
    """`x` as a list, if it is a row of numbers and no string."""
    x = x if type(x) in (list, tuple) else _table(x, name)
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
    if type(x) is int:
        return x, 1
    if isinstance(x, str):
        return _parsed(x, name)
    if isinstance(x, bool | np.bool_):
        raise DtypeError(f"{name} is a bool: {ACCEPTED}, and truth values as integers 0 and 1")
    if getattr(x, "shape", None) == () and hasattr(x, "item"):
        # An array or a tensor of no axes.
        x = x.item()
    try:
        return operator.index(x), 1
    except TypeError:
        pass
    try:
        ratio = _by_protocol(x)
    except (ValueError, OverflowError) as error:
        raise NonFiniteError(f"{name} is {x}: every entry must be finite") from error
    if ratio is None:
        irrational = (
            "; an irrational number has to be rounded first, to a Fraction or a float"
            if getattr(x, "is_rational", None) is False or getattr(x, "is_irrational", False)
            else ""
        )
        raise DtypeError(f"{name} is a {type(x).__name__}: {ACCEPTED}{irrational}")
    return ratio


def _by_protocol(x: Any) -> Ratio | None:
    """A number that is no integer as a ratio, or None where it is no exact number."""
    if hasattr(x, "as_integer_ratio"):
        numerator, denominator = x.as_integer_ratio()
    elif hasattr(x, "_mpf_"):
        sign, mantissa, exponent, _ = x._mpf_
        if not mantissa and exponent:
            raise ValueError("infinity or NaN")
        mantissa, exponent = (-1) ** int(sign) * int(mantissa), int(exponent)
        return Fraction(mantissa * 2 ** max(exponent, 0), 2 ** max(-exponent, 0)).as_integer_ratio()
    elif hasattr(x, "numerator") and hasattr(x, "denominator"):
        numerator, denominator = x.numerator, x.denominator
        if callable(numerator) and callable(denominator):
            # Sage.
            numerator, denominator = numerator(), denominator()
    else:
        return None
    try:
        numerator, denominator = operator.index(numerator), operator.index(denominator)
    except TypeError:
        # As of numbers of a field that holds more than the rationals.
        return None
    if denominator == 0:
        raise ValueError("a division by zero")
    if denominator < 0:
        return -numerator, -denominator
    return numerator, denominator


# A decimal's exponent: beyond it a few characters would become megabytes of digits.
LARGEST_EXPONENT = 100_000

_NUMBER = re.compile(
    r"""\s*(?P<sign>[-+]?)
    (?:(?P<numerator>\d+)/(?P<denominator>\d+)
      |(?P<whole>\d*)(?:\.(?P<part>\d*))?(?:[eE](?P<exponent>[-+]?\d+))?)\s*""",
    re.VERBOSE | re.ASCII,
)


def _parsed(text: str, name: str) -> Ratio:
    """The number that a string is, of any number of digits."""
    shown = repr(text if len(text) <= 40 else text[:40] + "…")
    # Underscores between digits are those of Python's own numbers.
    plain = re.sub(r"(?<=\d)_(?=\d)", "", text, flags=re.ASCII)
    match = _NUMBER.fullmatch(plain)
    if match is None or not (match["numerator"] or match["whole"] or match["part"]):
        raise InvalidArgumentError(f"{name} is {shown}: {ACCEPTED}")
    sign = -1 if match["sign"] == "-" else 1
    if match["numerator"]:
        denominator = _integer(match["denominator"])
        if denominator == 0:
            raise InvalidArgumentError(f"{name} is {shown}, a division by zero")
        return Fraction(sign * _integer(match["numerator"]), denominator).as_integer_ratio()
    exponent = match["exponent"] or "0"
    if len(exponent) > 20 or abs(int(exponent)) > LARGEST_EXPONENT:
        raise TooLargeError(f"{name} is {shown}: exponents up to {LARGEST_EXPONENT} are accepted")
    part = match["part"] or ""
    power = int(exponent) - len(part)
    value = sign * _integer(match["whole"] + part)
    return Fraction(value * 10 ** max(power, 0), 10 ** max(-power, 0)).as_integer_ratio()


def _integer(digits: str) -> int:
    """An integer of any number of digits; Python alone refuses more than 4,300."""
    if len(digits) <= 4000:
        return int(digits or "0")
    low = len(digits) // 2
    power: int = 10**low
    return _integer(digits[:-low]) * power + _integer(digits[-low:])


class Table:
    """Exact fractions in two axes: numerators and positive denominators, in lowest terms.

    `denominators` of None are all 1.
    """

    def __init__(self, numerators: npt.NDArray[Any], denominators: npt.NDArray[Any] | None) -> None:
        self.numerators = numerators
        self._denominators = denominators

    @classmethod
    def of(cls, given: Any, name: str) -> Table:
        """Numbers that a caller gave, checked; shape (n, d)."""
        given = _table(given, name)
        if isinstance(given, np.ndarray) and given.ndim == 2:
            sides: Any = np.zeros(len(given), np.int64)
        else:
            sides = [0] * len(_listed(given, name))
        entries, dimension = Rows.of(given, sides)
        if isinstance(entries, np.ndarray) and entries.dtype == np.int64:
            return cls(np.ascontiguousarray(entries[:, :-1]), None)
        if isinstance(entries, np.ndarray):
            entries = [[x.as_integer_ratio() for x in row] for row in entries.tolist()]
        parts = []
        for which in (0, 1):
            numbers = [ratio[which] for row in entries for ratio in row[:-1]]
            try:
                part = np.fromiter(numbers, np.int64)
            except OverflowError:
                part = np.empty(len(numbers), object)
                part[:] = numbers
            parts.append(part.reshape(len(entries), dimension))
        return cls(parts[0], parts[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.numerators.shape
        return rows, columns

    @property
    def denominators(self) -> npt.NDArray[Any]:
        """Denominators, of the shape of the numerators."""
        if self._denominators is None:
            return np.ones(self.shape, np.int64)
        return self._denominators

    @cached_property
    def fractions(self) -> npt.NDArray[Any]:
        """The numbers: int64 where all are such integers, else Fractions."""
        if self._denominators is None and self.numerators.dtype == np.int64:
            return self.numerators
        flat = zip(
            self.numerators.ravel().tolist(), self.denominators.ravel().tolist(), strict=True
        )
        table = np.empty(self.numerators.size, object)
        table[:] = [Fraction(numerator, denominator) for numerator, denominator in flat]
        return table.reshape(self.shape)

    def rows(self, which: npt.NDArray[np.bool_]) -> Table:
        """Some of the rows, copied."""
        # A copy of all takes half of the time of a selection.
        part = np.ascontiguousarray if which.all() else lambda numbers: numbers[which]
        below = self._denominators
        return Table(part(self.numerators), None if below is None else part(below))

    def columns(self, first: int, last: int) -> Table:
        """Some of the columns."""
        below = self._denominators
        return Table(
            self.numerators[:, first:last], None if below is None else below[:, first:last]
        )

    def written(self, head: str) -> Iterator[bytes]:
        """Rows of text, each with `head` before its numbers; some thousands at a time."""
        count, columns = self.shape
        small = self.numerators.dtype == np.int64 and self.denominators.dtype == np.int64
        for start in range(0, count, WRITTEN_TOGETHER):
            block = slice(start, start + WRITTEN_TOGETHER)
            above, below = self.numerators[block], self.denominators[block]
            if not columns:
                yield f" {head}\n".encode() * len(above)
            elif small:
                above, below = (np.ascontiguousarray(part).ravel() for part in (above, below))
                yield _core.ratio_rows(above, below, columns, head)
            else:
                yield b"".join(
                    b" " + _core.rational_rows([[(int(head), 1), *zip(n, d, strict=True)]])
                    for n, d in zip(above.tolist(), below.tolist(), strict=True)
                )
