"""Tensors of floats that are no weights: masks, and the scales of other quantisers.

An error in a mask turns off what was on, and an error in a scale is one in every weight that it
belongs to, so these are kept as they are unless a rule names them. A binary weight of two values
cannot be told from a mask; it is kept, too, which loses nothing.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

import numpy as np

from .source import DTYPE_BITS, Entry, Source

if TYPE_CHECKING:
    import numpy.typing as npt

# What follows the last point of names: weights of modules are called "weight" there.
_MASKS = ("mask", "*_mask", "masked_bias", "alibi")
_SCALES = (
    *("scale", "scales", "*_scale", "*_scales", "*_scale_inv", "*_scale_[0-9]", "scales_and_zeros"),
    *("zeros", "qzeros", "*_zeros", "zero_point", "*_zero_point"),
    *("absmax", "*_absmax", "quant_map", "*_quant_map"),
)
# Bytes that are looked at first: of a weight the third value is among the first few elements.
_GLANCE = 1 << 14
_PIECE = 1 << 23
# A format that can only read whole tensors is asked for no larger one.
_WHOLE = 1 << 24


def reason_to_keep(source: Source, entry: Entry) -> str | None:
    """Why a tensor is no weight, or None where it may be one.

    Only its beginning is read, but where that has no more than two values.
    """
    last = entry.name.rpartition(".")[2]
    if any(fnmatch.fnmatchcase(last, pattern) for pattern in _MASKS):
        return "kept by default: a mask by its name"
    if any(fnmatch.fnmatchcase(last, pattern) for pattern in _SCALES):
        return "kept by default: scales of another quantiser by its name"
    if type(source).pieces is Source.pieces and entry.nbytes > _WHOLE:
        return None
    if _few_values(source, entry, first_only=True) and _few_values(source, entry):
        return "kept by default: two values at most, as a mask or a binary weight has"
    return None


def _few_values(source: Source, entry: Entry, *, first_only: bool = False) -> bool:
    """Whether there are two values at most, no NaN, and some that are not 0; or may be."""
    element = np.dtype(f"u{DTYPE_BITS[entry.dtype] // 8}")
    values: npt.NDArray[np.unsignedinteger] = np.empty(0, element)
    pieces = source.pieces(entry.name, _GLANCE if first_only else _PIECE)
    for piece in pieces:
        values = _values(values, np.frombuffer(piece, element))
        if len(values) > 2 or _any_nan(values, entry.dtype):
            return False
        if first_only:
            return True
    # All zeros take no bits when they are compressed, and come out as zeros.
    return bool(values.any())


def _values(
    known: npt.NDArray[np.unsignedinteger], found: npt.NDArray[np.unsignedinteger]
) -> npt.NDArray[np.unsignedinteger]:
    """The values known so far and at most one more, to be told from two; as bits."""
    bits = 8 * found.itemsize
    # Negative zero is zero.
    found = np.where(found == found.dtype.type(1 << (bits - 1)), found.dtype.type(0), found)
    for _ in range(3 - len(known)):
        others = found
        for value in known:
            others = others[others != value]
        if not len(others):
            break
        known = np.append(known, others[0])
    return known


def _any_nan(values: npt.NDArray[np.unsignedinteger], dtype: str) -> bool:
    """Whether any of these bits is NaN: all ones in the exponent, and more behind it."""
    infinity = {"F16": 0x7C00, "BF16": 0x7F80, "F32": 0x7F80_0000, "F64": 0x7FF0 << 48}[dtype]
    sign = 1 << (8 * values.itemsize - 1)
    return any(int(value) & ~sign > infinity for value in values)
