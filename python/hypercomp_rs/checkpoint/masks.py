"""Tensors of floats that are no weights: masks, and the scales of other quantisers.

They are not compressed unless a rule names them. An error in a mask changes which elements are
masked, and an error in a scale changes every weight that is multiplied by it. A weight with two
values cannot be distinguished from a mask, so it is kept, too.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

import numpy as np

from .source import DTYPE_BITS, Entry, Source

if TYPE_CHECKING:
    import numpy.typing as npt

# Patterns for the last component of names. Weights of modules are called "weight" there.
_MASKS = ("mask", "*_mask", "masked_bias", "alibi")
_SCALES = (
    *("scale", "scales", "*_scale", "*_scales", "*_scale_inv", "*_scale_[0-9]", "scales_and_zeros"),
    *("zeros", "qzeros", "*_zeros", "zero_point", "*_zero_point"),
    *("absmax", "*_absmax", "quant_map", "*_quant_map"),
)
# Bytes that are read first. A weight has a third value among its first few elements.
_FIRST_BYTES = 1 << 14
_PIECE_BYTES = 1 << 23
# Larger tensors are not read if the format can only read whole tensors.
_LARGEST_READ_WHOLE = 1 << 24


def reason_to_keep(source: Source, entry: Entry) -> str | None:
    """Why a tensor is no weight; None if it may be one.

    Reads the beginning of the tensor, and all of it only if the beginning has at most two values.
    """
    last = entry.name.rpartition(".")[2]
    if any(fnmatch.fnmatchcase(last, pattern) for pattern in _MASKS):
        return "kept by default: a mask by its name"
    if any(fnmatch.fnmatchcase(last, pattern) for pattern in _SCALES):
        return "kept by default: scales of another quantiser by its name"
    if type(source).pieces is Source.pieces and entry.nbytes > _LARGEST_READ_WHOLE:
        return None
    if _few_values(source, entry, first_only=True) and _few_values(source, entry):
        return "kept by default: two values at most, as a mask or a binary weight has"
    return None


def _few_values(source: Source, entry: Entry, *, first_only: bool = False) -> bool:
    """Whether there are at most two values, none of them NaN, and not only zeros."""
    element = np.dtype(f"u{DTYPE_BITS[entry.dtype] // 8}")
    values: npt.NDArray[np.unsignedinteger] = np.empty(0, element)
    pieces = source.pieces(entry.name, _FIRST_BYTES if first_only else _PIECE_BYTES)
    for piece in pieces:
        values = _values(values, np.frombuffer(piece, element))
        if len(values) > 2 or _any_nan(values, entry.dtype):
            return False
        if first_only:
            return True
    # A tensor of zeros is compressed without error to almost nothing.
    return bool(values.any())


def _values(
    known: npt.NDArray[np.unsignedinteger], found: npt.NDArray[np.unsignedinteger]
) -> npt.NDArray[np.unsignedinteger]:
    """The known values, and new ones until there are three; as bits."""
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
