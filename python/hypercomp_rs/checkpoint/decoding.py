"""Compressed tensors decoded piece by piece, the next while the last is used."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .. import _arrays
from ..tensor import CompressedTensor

if TYPE_CHECKING:
    import numpy.typing as npt


# Bytes of a piece: many in a tensor, so that all but the first are decoded while others are used.
DECODED = 1 << 23
# Rows of a piece of a matrix that is stored input by input: the length of a Hadamard block, as a
# part of one costs as much as the whole.
BLOCK = 1024


def decoded(c: CompressedTensor, dtype: str, threads: int | None) -> Iterator[npt.NDArray[Any]]:
    """The weights of a tensor in C order, in pieces of ``DECODED`` bytes, or ``BLOCK`` rows.

    Flat arrays of this dtype, 16-bit floats as ``uint16``. Each lasts until the next but one is
    asked for: there are two buffers, one to be filled while the other is used. New memory for
    each piece would take as long as to decode it.
    """
    element = _arrays.empty(dtype, 1).itemsize
    length = DECODED // element
    if c.stored_by_input:
        block = BLOCK * c.shape[1]
        length = max(1, length // block) * block
    buffers = [_arrays.empty(dtype, min(length, c.size)) for _ in range(2)]

    def decode(piece: int) -> npt.NDArray[Any]:
        start = piece * length
        out = buffers[piece % 2][: min(length, c.size - start)]
        c._code.decompress_into(start, out, dtype, threads)
        return out

    pieces = -(-c.size // length)
    with concurrent.futures.ThreadPoolExecutor(1) as decoder:
        following = decoder.submit(decode, 0) if pieces else None
        for piece in range(pieces):
            assert following is not None
            here = following.result()
            if piece + 1 < pieces:
                following = decoder.submit(decode, piece + 1)
            yield here
