"""Products of a compressed matrix and vectors, in which the matrix is never materialised."""

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
        Threads to multiply with; None for one a core.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        (rows,), of x's dtype and kind. See :func:`matmul`.

    Raises
    ------
    DtypeError
        c is not compressed, or x has another dtype or is no array.
    InvalidArgumentError
        c has not two axes, or x not one of the length of W's columns.

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
        A matrix W of shape (rows, columns), however it is compressed.
    x
        (..., columns), a batch of vectors: numpy array or torch tensor of float32, float64,
        float16 or bfloat16, any strides. Best for 1 to 64 vectors; more are taken 64 at a time.
    threads
        Threads to multiply with; None for one a core.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        (..., rows), of x's dtype and kind, without a gradient; computed in float32 (in integers
        first, for x of 16 bits), and rounded to the dtype. The same bits for any number of threads,
        any machine, and whatever else is in the batch.

    Raises
    ------
    DtypeError
        c is not compressed, or x has another dtype or is no array.
    InvalidArgumentError
        c has not two axes, or x's last axis is not as long as W's rows.

    Notes
    -----
    The vectors are transformed once, into the basis in which rows were coded (signs and a blockwise
    Hadamard transform); then each row costs its decoded levels, which stay in registers or in the
    first-level cache, and a multiply-add for each of them and each vector. The result is within
    float32 rounding of decompressing and multiplying. For float16 and bfloat16, and before it is
    rounded to them, it is within 50 dB of the product of the norms, and 55 dB as a rule
    (``docs/codec.md``); the first such call looks for the rows that integers are near enough to,
    which takes a few times as long as the product. Time O(rows·columns·(batch + 10)), memory
    O((rows + columns)·batch) beside the codes. Matrices of fewer than 128 columns, which share
    streams, and those of the winding codec are decoded sixteen rows at a time.

    A vector should be finite: by the transform a NaN or an infinity spreads to all its results.

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
    flat: _arrays.Flat = _arrays.flatten(x, "x")
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
