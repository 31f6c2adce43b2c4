"""Sequences of exact points, which results of a search are."""

from __future__ import annotations

import abc
import operator
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

import numpy as np

from ..errors import DtypeError, OutOfBoundsError, TooLargeError

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Self

    Index = int | np.integer[Any]
    Selection = slice | Sequence[int] | Sequence[bool] | npt.NDArray[Any]

Item = TypeVar("Item")


class ExactPoints(Sequence[Item]):
    """A result that has an exact point for each of its items; immutable.

    A class of results defines `_homogeneous`, `_item`, `_part`, `complete` and ``__len__``.
    """

    __slots__ = ()

    # One item and several items, in error messages.
    _NOUNS: ClassVar[tuple[str, str]]

    @abc.abstractmethod
    def _homogeneous(self) -> npt.NDArray[Any]:
        """Numerators and the positive denominator of each point in lowest terms, shape (k, d + 1).

        The dtype is ``int64`` if all numbers fit, and otherwise ``object``.
        """

    @abc.abstractmethod
    def _item(self, at: int) -> Item:
        """The item at a position that is within the result."""

    @abc.abstractmethod
    def _part(self, index: slice | npt.NDArray[Any]) -> Self:
        """The items that a slice, a mask or positions select, not complete."""

    @property
    @abc.abstractmethod
    def complete(self) -> bool:
        """Whether the result has everything that was searched for."""

    @property
    def dimension(self) -> int:
        """Dimension d of the space."""
        return int(self._homogeneous().shape[1]) - 1

    @property
    def numerators(self) -> npt.NDArray[Any]:
        """Numerators of each point, shape (k, d); ``int64``, or ``object`` if some do not fit."""
        return self._homogeneous()[:, :-1]

    @property
    def denominators(self) -> npt.NDArray[Any]:
        """The denominator of each point, shape (k,), positive; dtype as of :attr:`numerators`.

        It has no factor in common with all numerators of the point.
        """
        denominators: npt.NDArray[Any] = self._homogeneous()[:, -1]
        return denominators

    def to_numpy(self) -> npt.NDArray[np.float64]:
        """All points as float64, shape (k, d), each coordinate correctly rounded.

        Raises
        ------
        TooLargeError
            A coordinate is beyond the range of float64.
        """
        limit = 2**53
        numerators, denominators = self.numerators, self.denominators[:, None]
        if numerators.dtype == np.int64:
            # A quotient of two integers that float64 holds exactly is rounded once.
            exact = (np.abs(numerators) <= limit) & (denominators <= limit)
            rounded: npt.NDArray[np.float64] = numerators / denominators
            rows = np.flatnonzero(~exact.all(axis=1))
        else:
            rounded = np.empty(numerators.shape)
            rows = np.arange(len(self))
        for row in rows.tolist():
            denominator = int(denominators[row, 0])
            for column, numerator in enumerate(numerators[row].tolist()):
                try:
                    rounded[row, column] = numerator / denominator
                except OverflowError as error:
                    raise TooLargeError(
                        f"coordinate {column} of {self._NOUNS[0]} {row} is beyond the range of "
                        "float64"
                    ) from error
        return rounded

    @overload
    def __getitem__(self, index: Index) -> Item: ...
    @overload
    def __getitem__(self, index: Selection) -> Self: ...
    def __getitem__(self, index: Index | Selection) -> Item | Self:
        """One item, or those that a slice, a boolean mask or a sequence of positions selects.

        A selection keeps the order of the index. ``found[:]`` is the whole result. Any other
        selection is not :attr:`complete`.
        """
        if isinstance(index, slice):
            whole = range(len(self))
            return self if whole[index] == whole else self._part(index)
        if hasattr(index, "__index__") and not (isinstance(index, np.ndarray) and index.ndim):
            return self._item(operator.index(index))  # type: ignore[arg-type]
        return self._part(self._positions(index))

    def _positions(self, index: Any) -> npt.NDArray[np.intp] | npt.NDArray[np.bool_]:
        """A mask or positions, checked."""
        accepted = "an integer, a slice, a boolean mask or a sequence of integers is accepted"
        if isinstance(index, str | bytes) or not hasattr(index, "__len__"):
            raise DtypeError(f"an index of type {type(index).__name__}: {accepted}")
        where = np.asarray(index)
        if where.size == 0 and where.dtype.kind == "f":
            # An empty list.
            where = where.astype(np.intp)
        if where.ndim != 1 or where.dtype.kind not in "biu":
            raise DtypeError(
                f"an index of shape {where.shape} and dtype {where.dtype}: {accepted}, of one axis"
            )
        count, several = len(self), self._NOUNS[1]
        if where.dtype.kind == "b":
            if len(where) != count:
                raise OutOfBoundsError(
                    f"a mask of {len(where)} entries for {count} {several}: one for each is "
                    "accepted"
                )
            return where
        outside = (where >= count) | (where < -count)
        if outside.any():
            raise OutOfBoundsError(f"index {where[outside][0]}: there are {count} {several}")
        return where.astype(np.intp)

    def _point(self, at: int) -> tuple[Fraction, ...]:
        *numerators, denominator = self._homogeneous()[at].tolist()
        return tuple(Fraction(n, denominator) for n in numerators)

    def _points(self) -> Iterator[tuple[Fraction, ...]]:
        for *numerators, denominator in self._homogeneous().tolist():
            yield tuple(Fraction(n, denominator) for n in numerators)

    __hash__ = None  # type: ignore[assignment]
