"""Compressed tensors: weights as trajectory codes of an ergodic map."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import _arrays, _indexing
from ._core import TensorCode
from ._integers import checked, checked_threads
from ._reals import checked_real
from .errors import DtypeError, InvalidArgumentError, OutOfBoundsError

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

Effort = Literal["fast", "balanced", "high", "max"]

# Bits of the shift register: the search takes time in proportion to 2**window.
_WINDOWS: dict[str, int] = {"fast": 8, "balanced": 10, "high": 12, "max": 16}


@dataclass(frozen=True)
class Winding:
    """The published method's parameters, for ``compress_tensor(w, codec=Winding(...))``.

    Parameters
    ----------
    group
        Consecutive weights that share a code, K = 1, 2, 3 or 4.
    side
        Side l of the cube around the centre of all groups that the trajectory fills.
    samples
        Points U of the trajectory.
    class_max
        The most categories M in which groups outside the cube are pulled in.
    threshold
        Mean absolute error at which no further category is tried.

    Notes
    -----
    arXiv 2409.00592; the defaults are those of the published program.
    """

    group: int = 2
    side: float = 0.1
    samples: int = 1600
    class_max: int = 3
    threshold: float = 0.001


class CompressedTensor:
    """A tensor kept as codes; made by :func:`compress_tensor` or :meth:`from_bytes`.

    Immutable, cheap to hand around, picklable, and safe to decode from several threads at once.
    """

    __slots__ = ("_code", "_kind")

    _code: TensorCode
    _kind: _arrays.Kind

    def __init__(self) -> None:
        """Not for users: see :func:`compress_tensor`."""
        raise TypeError(
            "CompressedTensor is made by compress_tensor or CompressedTensor.from_bytes"
        )

    @classmethod
    def _of(cls, code: TensorCode, kind: _arrays.Kind) -> CompressedTensor:
        tensor = cls.__new__(cls)
        tensor._code = code
        tensor._kind = kind
        return tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(self._code.shape)

    @property
    def dtype(self) -> str:
        """Name of the dtype it was made from: float32, float64, float16 or bfloat16."""
        return self._code.dtype

    @property
    def codec(self) -> str:
        """How the weights are kept.

        "trellis" or "winding" as asked for; "zeros" where every weight is zero or there is none;
        "raw" (the weights' own bytes) where there are fewer than ten, or the winding's error would
        exceed the weights themselves.
        """
        return self._code.codec

    @property
    def exceptions(self) -> int:
        """Number of weights that are stored exactly, because of ``max_error``."""
        return self._code.exceptions

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Length of :meth:`to_bytes`: codes, scales, header and checksum."""
        return self._code.nbytes

    @property
    def bits_per_weight(self) -> float:
        """``8 * nbytes / size``, so all overhead is counted; 0 for an empty tensor."""
        return 8 * self.nbytes / self.size if self.size else 0.0

    @property
    def sqnr_db(self) -> float:
        """Signal to quantisation noise, 10·log10(Σw² / Σ(w − ŵ)²), in dB.

        As the encoder measured it, before the result is rounded to a 16-bit dtype; infinite where
        nothing was lost.
        """
        return self._code.sqnr_db

    def decompress(
        self,
        dtype: npt.DTypeLike | torch.dtype | None = None,
        *,
        out: npt.NDArray[Any] | torch.Tensor | None = None,
        threads: int | None = None,
    ) -> npt.NDArray[Any] | torch.Tensor:
        """Decode all weights.

        Parameters
        ----------
        dtype
            A numpy dtype for a numpy array or a torch dtype for a torch tensor: float32, float64,
            float16 or bfloat16. By default the dtype and the kind of array it was made from;
            a tensor read by :meth:`from_bytes` is numpy's.
        out
            A contiguous array or tensor of :attr:`shape` to decode into, instead of a new one; its
            dtype is that of the result. The system gives new memory more slowly than it is filled,
            so whoever decodes often should keep one.
        threads
            Threads to decode with; None for one a core.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Contiguous, of :attr:`shape`, or `out`; torch tensors are on the CPU. The values do not
            depend on the machine or the number of threads.

        Raises
        ------
        DtypeError
            Another dtype, or numpy's bfloat16 where ``ml_dtypes`` is not installed.
        InvalidArgumentError
            `out` has another shape, lies in pieces, is read-only, or a dtype was given beside it.

        Examples
        --------
        >>> import numpy as np, hypercomp_rs
        >>> c = hypercomp_rs.compress_tensor(np.eye(256, dtype=np.float32), bits=6)
        >>> c.decompress(np.float16).dtype
        dtype('float16')
        """
        if out is None:
            return self._run(0, self.shape, dtype, threads)
        if dtype is not None:
            raise InvalidArgumentError("dtype and out were both given: the dtype is that of out")
        flat = _arrays.writable(out, self.shape)
        self._code.decompress_into(0, flat.elements, flat.dtype, checked_threads(threads))
        return out

    def rows(
        self,
        start: int,
        stop: int,
        dtype: npt.DTypeLike | torch.dtype | None = None,
        *,
        threads: int | None = None,
    ) -> npt.NDArray[Any] | torch.Tensor:
        """Decode the entries ``start`` to ``stop - 1`` along the first axis, and nothing else.

        Parameters
        ----------
        start, stop
            A range within the first axis, 0 <= start <= stop <= its length. Unlike those of a
            slice, these bounds are not cut or counted from the end: see :meth:`__getitem__`.
        dtype, threads
            As in :meth:`decompress`.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Contiguous, of shape (stop - start, ...); the same values as in the whole.

        Raises
        ------
        OutOfBoundsError
            A bound beyond the axis, or a tensor without axes.
        DtypeError
            As in :meth:`decompress`.

        Notes
        -----
        O(number of weights in the rows): a trellis decodes beside them the rest of the Hadamard
        blocks that they touch, at most 2048 weights at either end, and finds the place of their
        codes from the rates of at most a chain of rows, 32768 weights.

        Examples
        --------
        >>> import numpy as np, hypercomp_rs
        >>> w = np.random.default_rng(0).standard_normal((1000, 512)).astype(np.float32)
        >>> c = hypercomp_rs.compress_tensor(w)
        >>> c.rows(100, 104).shape
        (4, 512)
        >>> bool(np.array_equal(c.rows(100, 104), c.decompress()[100:104]))
        True
        """
        length = self.shape[0] if self.shape else 0
        first, last = (operator.index(bound) for bound in (start, stop))
        if not 0 <= first <= last <= length:
            raise OutOfBoundsError(
                f"rows {first} to {last} of a tensor of shape {self.shape}: "
                f"0 <= start <= stop <= {length} is accepted"
            )
        below = self.shape[1:]
        return self._run(first * math.prod(below), (last - first, *below), dtype, threads)

    def __getitem__(self, index: object) -> Any:
        """Decode what basic indexing selects: ``c[i]``, ``c[i:j]``, ``c[i, j]``, ``c[..., 0]``.

        Of the dtype and kind that :meth:`decompress` gives by default; one weight is a numpy scalar
        or a torch tensor without axes. One thread decodes a run of fewer than 131072 weights.

        Raises
        ------
        OutOfBoundsError
            An index beyond its axis, or more of them than axes.
        DtypeError
            Anything but integers, slices and one ellipsis: neither masks, nor arrays, nor None.

        Notes
        -----
        Time is that of the run of the first sliced axis from the first entry selected to the last:
        leading integers and a slice cost no more than what they select, and one weight at most two
        Hadamard blocks of 1024. ``c[:, j]`` decodes all rows.

        Examples
        --------
        >>> import numpy as np, hypercomp_rs
        >>> w = np.random.default_rng(0).standard_normal((64, 32, 3, 3)).astype(np.float32)
        >>> c = hypercomp_rs.compress_tensor(w)
        >>> whole = c.decompress()
        >>> bool(c[5, 7, 1, 1] == whole[5, 7, 1, 1])
        True
        >>> bool(np.array_equal(c[-3:, ::2], whole[-3:, ::2]))
        True
        """
        selection = _indexing.select(self.shape, index)
        name = self.dtype
        elements = _arrays.empty(name, math.prod(selection.shape))
        self._code.decompress_into(selection.start, elements, name, None)
        # Selected by numpy in either case: torch has no negative steps.
        part = elements.reshape(selection.shape)[selection.rest]
        flat = np.ascontiguousarray(part).reshape(-1)
        result = _arrays.shaped(flat, name, np.shape(part), self._kind)
        dots = any(item is Ellipsis for item in (index if isinstance(index, tuple) else (index,)))
        # As numpy does: one weight is a scalar, but an array without axes where there are dots.
        return result if dots or self._kind == "torch" else result[()]

    def __len__(self) -> int:
        """Length of the first axis."""
        if not self.shape:
            raise TypeError("len() of a tensor without axes")
        return self.shape[0]

    def __bool__(self) -> bool:
        """Always true: how many entries there are says nothing about a tensor."""
        return True

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """What ``numpy.asarray`` takes: all weights, decoded."""
        if copy is False:
            raise ValueError("a compressed tensor is decoded into new memory: copy=False cannot be")
        whole = np.asarray(self._run(0, self.shape, self.dtype, None))
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def _run(
        self,
        start: int,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike | torch.dtype | None,
        threads: int | None,
    ) -> npt.NDArray[Any] | torch.Tensor:
        """Decode a run of flat C-order elements, in this shape."""
        name, kind = (self.dtype, self._kind) if dtype is None else _arrays.wanted(dtype)
        elements = _arrays.empty(name, math.prod(shape))
        result = _arrays.shaped(elements, name, shape, kind)
        self._code.decompress_into(start, elements, name, checked_threads(threads))
        return result

    def to_bytes(self) -> bytes:
        """The stored form, of which `docs/format.md` describes every bit."""
        return self._code.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> CompressedTensor:
        """Read what :meth:`to_bytes` wrote.

        Raises
        ------
        FormatError
            The bytes are truncated, altered or of another version; nothing is decoded then.

        Examples
        --------
        >>> import numpy as np, hypercomp_rs
        >>> c = hypercomp_rs.compress_tensor(np.ones((4, 256), np.float32))
        >>> hypercomp_rs.CompressedTensor.from_bytes(c.to_bytes()) == c
        True
        """
        return cls._of(TensorCode.from_bytes(bytes(data)), "numpy")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its bytes and the kind of array it was made from."""
        return _unpickle, (self.to_bytes(), self._kind)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same codes of the same shape and dtype."""
        if not isinstance(other, CompressedTensor):
            return NotImplemented
        return self is other or self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        """Equal tensors hash alike."""
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        return (
            f"CompressedTensor(shape={self.shape}, dtype={self.dtype}, codec={self.codec}, "
            f"{self.bits_per_weight:.3f} bits a weight, {self.sqnr_db:.2f} dB)"
        )


def _unpickle(data: bytes, kind: _arrays.Kind) -> CompressedTensor:
    return CompressedTensor._of(TensorCode.from_bytes(data), kind)


def compress_tensor(
    w: npt.NDArray[np.floating[Any]] | torch.Tensor,
    *,
    bits: float | None = None,
    target_sqnr_db: float | None = None,
    max_error: float | None = None,
    codec: Literal["trellis", "winding"] | Winding = "trellis",
    effort: Effort = "balanced",
    sparsity: Literal["keep"] | None = None,
    incoherence: Literal["hadamard", "none"] = "hadamard",
    seed: int = 0,
    threads: int | None = None,
) -> CompressedTensor:
    """Compress the weights of a tensor. No training, no calibration data.

    Parameters
    ----------
    w
        numpy array or torch tensor of float32, float64, float16 or bfloat16 (in numpy: that of
        ``ml_dtypes``), any shape and strides. Every weight must be finite. It must not be written
        to while the call runs. Rows, which have a scale and a rate each, are the last axis, or as
        many axes as it takes to have 128 weights, but never the first: a convolution's row is a
        whole filter.
    bits
        Bits a weight, any number from 1 to 8, by default 4; with all overhead: never exceeded, and
        met within 0.01 where there are 10⁵ weights or more. (A header of some 40 bytes is not
        counted where it would take half.) Rows get whole and half rates, the larger ones more, none
        over a bit less than the rest could have. For the trellis only: the winding's rate follows
        from its samples.
    target_sqnr_db
        Instead of `bits`: the least rate at which Σw²/Σ(w − ŵ)² reaches so many dB, 0 to 60. The
        search is repeated, three times as a rule.
    max_error
        No weight, decoded into its own dtype, is missed by more than this: those that the codes
        miss by more are stored exactly, for their own bytes and one or two for their place. They
        count in `bits`; the codes get what is left.
    codec
        "trellis": path bits drive a shift register whose irrational winding places each weight in
        a cell; rows are made incoherent by signs and a Hadamard transform first. The nearer to the
        rate-distortion bound. "winding", or :class:`Winding` for other than the published
        parameters: one trajectory code for each group of weights, as published.
    effort
        How long the trellis search may take: "fast", "balanced", "high" or "max" are registers of
        8, 10, 12 or 16 bits. Each step leaves less error at the same size, and takes about four
        times as long (the last sixteen times). Decoding costs the same.
    sparsity
        "keep": weights that are exactly zero stay so. Which they are is stored at its entropy's
        cost (1 bit a weight where half are zero, less where pruning left a pattern), and only the
        others have codes, so pruning and compression multiply.
    incoherence
        "hadamard": rows are multiplied by pseudo-random signs and a blockwise Hadamard transform
        first, so that none has outliers. "none" codes them as they are, which is better only for
        rows that are Gaussian already.
    seed
        Of the pseudo-random signs, 0 to 2**64 - 1; stored.
    threads
        Threads to search with; None for one a core. The result does not depend on it.

    Returns
    -------
    CompressedTensor
        An empty tensor or one of zeros takes no codes at all.

    Raises
    ------
    DtypeError
        Another dtype, or neither a numpy array nor a torch tensor.
    NonFiniteError
        A weight is NaN or infinite; the message has the first one's index.
    InvalidArgumentError
        An argument outside what is accepted; or no rate meets `target_sqnr_db`, or `bits` and
        `max_error` together.
    TooLargeError
        More threads than the system gives.

    Notes
    -----
    Time O(n·2**W) for n weights and a register of W bits (trellis), O(n) (winding). Memory: the
    result, and some hundred kilobytes a thread. Ctrl-C stops it.

    Hyper-Compression: Model Compression via Hyperfunction, arXiv 2409.00592, sections 3 and 4, is
    the winding; the trellis drives the same hyperfunction along a shift, see ``docs/format.md``.

    Examples
    --------
    >>> import numpy as np, hypercomp_rs
    >>> w = np.random.default_rng(0).standard_normal((64, 1024)).astype(np.float32)
    >>> c = hypercomp_rs.compress_tensor(w, bits=4)
    >>> c
    CompressedTensor(shape=(64, 1024), dtype=float32, codec=trellis, 3.992 bits a weight, 23.40 dB)
    >>> error = hypercomp_rs.decompress_tensor(c) - w
    >>> bool(abs(10 * np.log10((w**2).sum() / (error**2).sum()) - c.sqnr_db) < 0.01)
    True
    """
    threads = checked_threads(threads)
    flat = _arrays.flatten(w)
    if codec == "winding":
        codec = Winding()
    if isinstance(codec, Winding):
        _refuse_trellis_arguments(
            bits=bits, target_sqnr_db=target_sqnr_db, max_error=max_error, sparsity=sparsity
        )
        code = TensorCode.winding(
            flat.elements,
            flat.dtype,
            flat.shape,
            group=checked("group", codec.group, 1, 4),
            side=float(codec.side),
            samples=checked("samples", codec.samples, 1, 2**32 - 1),
            class_max=checked("class_max", codec.class_max, 1, 2**32 - 1),
            threshold=float(codec.threshold),
            threads=threads,
        )
    elif codec == "trellis":
        if effort not in _WINDOWS:
            raise InvalidArgumentError(
                f"effort={effort!r}: {', '.join(map(repr, _WINDOWS))} are accepted"
            )
        if bits is not None and target_sqnr_db is not None:
            raise InvalidArgumentError("bits and target_sqnr_db: one of the two is accepted")
        code = TensorCode.trellis(
            flat.elements,
            flat.dtype,
            flat.shape,
            bits=checked_real("bits", 4 if bits is None else bits, 1, 8),
            sqnr_db=target_sqnr_db
            if target_sqnr_db is None
            else checked_real("target_sqnr_db", target_sqnr_db, 0, 60),
            max_error=max_error
            if max_error is None
            else checked_real("max_error", max_error, 0, math.inf),
            keep_zeros=_checked_sparsity(sparsity),
            window=_WINDOWS[effort],
            seed=_checked_seed(incoherence, seed),
            threads=threads,
        )
    else:
        raise InvalidArgumentError(
            f"codec={codec!r}: 'trellis', 'winding' and a Winding(...) are accepted"
        )
    return CompressedTensor._of(code, flat.kind)


def _refuse_trellis_arguments(**arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise InvalidArgumentError(f"{name}={value!r}: for codec='trellis' only")


def _checked_sparsity(sparsity: str | None) -> bool:
    if sparsity not in (None, "keep"):
        raise InvalidArgumentError(f"sparsity={sparsity!r}: 'keep' and None are accepted")
    return sparsity == "keep"


def _checked_seed(incoherence: str, seed: int) -> int | None:
    if incoherence not in ("hadamard", "none"):
        raise InvalidArgumentError(
            f"incoherence={incoherence!r}: 'hadamard' and 'none' are accepted"
        )
    return checked("seed", seed, 0, 2**64 - 1) if incoherence == "hadamard" else None


def decompress_tensor(
    c: CompressedTensor, *, threads: int | None = None
) -> npt.NDArray[Any] | torch.Tensor:
    """Decode into the kind of array, the dtype and the shape that `c` was made from.

    ``c.decompress(dtype)`` gives another dtype. Time O(n). See :meth:`CompressedTensor.decompress`.

    Examples
    --------
    >>> import numpy as np, hypercomp_rs
    >>> c = hypercomp_rs.compress_tensor(np.zeros((3, 5), np.float16))
    >>> hypercomp_rs.decompress_tensor(c).sum()
    np.float16(0.0)
    """
    if not isinstance(c, CompressedTensor):
        raise DtypeError(f"c is a {type(c).__name__}: a CompressedTensor is accepted")
    return c.decompress(threads=threads)
