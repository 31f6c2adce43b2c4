"""Products of a compressed matrix and vectors, without decoding the matrix as a whole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from . import _arrays
from ._integers import checked_threads
from .errors import DtypeError, InvalidArgumentError
from .tensor import CompressedTensor

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

Vectors = TypeVar("Vectors", "npt.NDArray[Any]", "torch.Tensor")


def matvec(c: CompressedTensor, x: Vectors, *, threads: int | None = None) -> Vectors:
    """``W @ x`` for the compressed matrix W and one vector.

    Parameters
    ----------
    c
        A matrix W of shape (rows, columns).
    x
        (columns,): numpy array or torch tensor of float32, float64, float16 or bfloat16.
    threads
        Number of threads; None for one per core.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        (rows,), of x's dtype and kind. See :func:`matmul`.

    Raises
    ------
    DtypeError
        c is no CompressedTensor, or x is no array of an accepted dtype.
    InvalidArgumentError
        c does not have two axes, or x does not have one axis of length columns.

    Examples
    --------
    >>> import numpy as np, hypercomp_rs
    >>> rng = np.random.default_rng(0)
    >>> w = rng.standard_normal((512, 1024)).astype(np.float32)
    >>> c = hypercomp_rs.compress_tensor(w, bits=4)
    >>> x = rng.standard_normal(1024).astype(np.float32)
    >>> y = hypercomp_rs.matvec(c, x)
    >>> bool(np.allclose(y, c.decompress() @ x, rtol=0, atol=1e-3))
    True
    """
    if np.ndim(x) != 1:
        raise InvalidArgumentError(
            f"x has shape {_shape(x)}: one axis is accepted; matmul takes a batch of vectors"
        )
    product: Vectors = matmul(c, x, threads=threads)
    return product


def matmul(c: CompressedTensor, x: Vectors, *, threads: int | None = None) -> Vectors:
    """``x @ W.T`` for the compressed matrix W: what ``torch.nn.functional.linear(x, W)`` gives.

    Parameters
    ----------
    c
        A matrix W of shape (rows, columns), compressed by any codec.
    x
        (..., columns), a batch of vectors: numpy array or torch tensor of float32, float64, float16
        or bfloat16, any strides. Meant for 1 to 64 vectors; more are processed 64 at a time.
    threads
        Number of threads; None for one per core.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        (..., rows), of x's dtype and library, without a gradient. It is computed in float32 (partly
        in integers if x has 16 bits) and rounded to the dtype. The bits of each result depend
        neither on the number of threads, nor on the machine, nor on the other vectors of the batch.

    Raises
    ------
    DtypeError
        c is no CompressedTensor, or x is no array of an accepted dtype.
    InvalidArgumentError
        c does not have two axes, or the last axis of x does not have length columns.

    Notes
    -----
    The vectors are transformed once, to the basis in which the rows were coded (signs and a
    blockwise Hadamard transform). Then each row is decoded in registers or the first-level cache,
    and multiplied by each vector. For float32 and float64 the result is within float32 rounding of
    decompressing and multiplying. For float16 and bfloat16 the error before the final rounding is
    at least 50 dB below the product of the norms, usually 55 dB (``docs/codec.md``). The first such
    call finds the rows that can be multiplied in integers, which takes a few times as long as the
    product. Time O(rows·columns·(batch + 10)), memory O((rows + columns)·batch) beside the codes.
    Matrices of fewer than 128 columns, whose rows share streams, and those of the winding codec are
    decoded sixteen rows at a time.

    Vectors should be finite. The transform spreads a NaN or an infinity to all results of its
    vector.

    Examples
    --------
    >>> import numpy as np, hypercomp_rs
    >>> rng = np.random.default_rng(0)
    >>> w = rng.standard_normal((512, 1024)).astype(np.float32)
    >>> c = hypercomp_rs.compress_tensor(w, bits=4)
    >>> x = rng.standard_normal((8, 1024)).astype(np.float32)
    >>> y = hypercomp_rs.matmul(c, x)
    >>> y.shape
    (8, 512)
    >>> bool(np.array_equal(y[3], hypercomp_rs.matvec(c, x[3])))
    True
    """
    threads = checked_threads(threads)
    if not isinstance(c, CompressedTensor):
        raise DtypeError(f"c is a {type(c).__name__}: a CompressedTensor is accepted")
    flat: _arrays.FlatArray = _arrays.flatten(x, "x")
    if len(c.shape) != 2:
        raise InvalidArgumentError(f"c has shape {c.shape}: a matrix (rows, columns) is accepted")
    rows, columns = c.shape
    if not flat.shape or flat.shape[-1] != columns:
        raise InvalidArgumentError(
            f"x has shape {flat.shape}: (..., {columns}) is accepted for c of shape {c.shape}"
        )
    batch = math.prod(flat.shape[:-1])
    out = _arrays.empty(flat.dtype, batch * rows)
    c._code.matmul_into(flat.elements, batch, out, flat.dtype, threads)
    product: Any = _arrays.shaped(out, flat.dtype, (*flat.shape[:-1], rows), flat.kind)
    return product  # type: ignore[no-any-return]


def _shape(x: object) -> tuple[int, ...]:
    return tuple(getattr(x, "shape", ()))
