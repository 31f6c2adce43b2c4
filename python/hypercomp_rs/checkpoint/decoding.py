"""Decodes compressed tensors in pieces.

The next piece is decoded while the caller uses the last.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .. import _arrays
from ..tensor import CompressedTensor

if TYPE_CHECKING:
    import numpy.typing as npt


# Bytes of a decoded piece. A large tensor has many pieces, so nearly all decoding overlaps with
# use.
DECODED_BYTES = 1 << 23
# A piece of a matrix that is stored input by input has a multiple of this number of rows. It is the
# length of a Hadamard block: decoding a part of a block costs as much as all of it.
ROWS_BY_INPUT = 1024


def decoded(c: CompressedTensor, dtype: str, threads: int | None) -> Iterator[npt.NDArray[Any]]:
    """The weights of a tensor in C order, in pieces of about ``DECODED_BYTES`` bytes.

    The pieces are flat arrays of this dtype; 16-bit floats are given as ``uint16``. There are two
    buffers: one is filled while the other is used. So a piece is valid until the next but one is
    requested. (To allocate memory for each piece would take as long as to decode it.)
    """
    element = _arrays.empty(dtype, 1).itemsize
    length = DECODED_BYTES // element
    if c.stored_by_input:
        block = ROWS_BY_INPUT * c.shape[1]
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
