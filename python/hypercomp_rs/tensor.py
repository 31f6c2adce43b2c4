"""Compressed tensors: weights as trajectory codes of an ergodic map."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arrays, _indexing
from ._core import TensorCode
from ._integers import checked_threads
from .errors import InvalidArgumentError, OutOfBoundsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import torch


class CompressedTensor:
    """A compressed tensor, made by :func:`compress_tensor` or :meth:`from_bytes`.

    It is immutable and picklable, and several threads may decode it at once.
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
        """How the weights are stored.

        "trellis" or "winding" as requested; "zeros" if all weights are zero or there are none;
        "raw" (the weights' own bytes) if there are fewer than ten, or if the winding's error would
        exceed the weights themselves.
        """
        return self._code.codec

    @property
    def stored_by_input(self) -> bool:
        """Whether the codes of a matrix run along its first axis, one column after the other.

        This is so for a weight (outputs, inputs) that was compressed with a ``second_moment``. All
        methods return the matrix in its own order. Decoding single rows takes longer (see
        :meth:`rows`).
        """
        return self._code.swapped

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

        It is measured by the encoder, before the result is rounded to a 16-bit dtype. Infinite if
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
            float16 or bfloat16. By default the dtype and the library of the original array. A
            tensor that was read by :meth:`from_bytes` becomes a numpy array.
        out
            A contiguous array or tensor of :attr:`shape` to decode into, instead of a new one; its
            dtype is that of the result. To allocate new memory takes longer than to decode into it,
            so a program that decodes often should reuse an array.
        threads
            Number of threads; None for one per core.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Contiguous, of :attr:`shape`, or `out`; torch tensors are on the CPU. The values do not
            depend on the machine or the number of threads.

        Raises
        ------
        DtypeError
            Another dtype, or numpy's bfloat16 if ``ml_dtypes`` is not installed.
        InvalidArgumentError
            `out` has another shape, is not contiguous, is read-only, or is given together with a
            dtype.

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
            slice, these bounds are neither clipped nor counted from the end: see
            :meth:`__getitem__`.
        dtype, threads
            As in :meth:`decompress`.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Contiguous, of shape (stop - start, ...), with the same values as :meth:`decompress`.

        Raises
        ------
        OutOfBoundsError
            A bound beyond the axis, or a tensor without axes.
        DtypeError
            As in :meth:`decompress`.

        Notes
        -----
        Time O(number of weights in the rows). A trellis also decodes the rest of the Hadamard
        blocks that contain them, at most 2048 weights at either end, and computes the position of
        their codes from the rates of at most one chain of rows, 32768 weights. If the matrix is
        :attr:`stored_by_input`, the Hadamard blocks of every column that contain the rows are
        decoded, so up to 1024 rows take hardly longer than one.

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

        The result has the dtype and library that :meth:`decompress` gives by default. One weight is
        a numpy scalar or a torch tensor without axes. Fewer than 131072 weights are decoded on one
        thread.

        Raises
        ------
        OutOfBoundsError
            An index beyond its axis, or more indices than axes.
        DtypeError
            Masks, arrays, None, or anything else but integers, slices and one ellipsis.

        Notes
        -----
        Everything between the first and the last selected entry of the first sliced axis is
        decoded. So leading integers and one slice decode no more than they select, and one weight
        takes at most two Hadamard blocks of 1024 weights. ``c[:, j]`` decodes all rows.

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
        # numpy selects for torch tensors, too, as torch has no negative steps.
        part = elements.reshape(selection.shape)[selection.rest]
        flat = np.ascontiguousarray(part).reshape(-1)
        result = _arrays.shaped(flat, name, np.shape(part), self._kind)
        dots = any(item is Ellipsis for item in (index if isinstance(index, tuple) else (index,)))
        # As in numpy, one weight is a scalar, or an array without axes if the index has an
        # ellipsis.
        return result if dots or self._kind == "torch" else result[()]

    def __len__(self) -> int:
        """Length of the first axis."""
        if not self.shape:
            raise TypeError("len() of a tensor without axes")
        return self.shape[0]

    def __bool__(self) -> bool:
        """Always True, whatever the number of entries."""
        return True

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """All weights, decoded, for ``numpy.asarray``."""
        if copy is False:
            raise ValueError("copy=False: a compressed tensor is decoded to new memory")
        whole = np.asarray(self._run(0, self.shape, self.dtype, None))
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def _run(
        self,
        start: int,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike | torch.dtype | None,
        threads: int | None,
    ) -> npt.NDArray[Any] | torch.Tensor:
        """Decode a contiguous run of elements in C order, and return it in this shape."""
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
            The bytes are truncated, altered or of another version.

        Examples
        --------
        >>> import numpy as np, hypercomp_rs
        >>> c = hypercomp_rs.compress_tensor(np.ones((4, 256), np.float32))
        >>> hypercomp_rs.CompressedTensor.from_bytes(c.to_bytes()) == c
        True
        """
        return cls._of(TensorCode.from_bytes(bytes(data)), "numpy")

    def to_parts(self) -> tuple[str, dict[str, npt.NDArray[np.uint8]]]:
        """A description and arrays, for containers such as safetensors files and state dicts.

        Returns
        -------
        description : str
            JSON: format, codec, dtype, shape, the codec's numbers, and the length in bytes and
            CRC-32 of each part.
        parts : dict of str to numpy.ndarray
            (bytes,) each, uint8. A trellis has ``path`` and ``cells``, the two planes; ``scales``
            and ``rates`` of its streams; and ``mask`` and ``exact`` if needed. A winding has
            ``codes``. Empty parts are left out. `docs/format.md` describes every bit.

        Examples
        --------
        >>> import numpy as np, hypercomp_rs
        >>> w = np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32)
        >>> description, parts = hypercomp_rs.compress_tensor(w, bits=4).to_parts()
        >>> {name: part.nbytes for name, part in parts.items()}
        {'cells': 12288, 'path': 4000, 'rates': 8, 'scales': 16}
        """
        return self._code.to_parts()

    @classmethod
    def from_parts(
        cls, description: str, parts: Mapping[str, Any], *, verify: bool = False
    ) -> CompressedTensor:
        """The tensor from the description and arrays of :meth:`to_parts`.

        Parameters
        ----------
        description
            JSON.
        parts
            The parts by name: contiguous arrays of uint8 with one axis, of numpy or torch (on the
            CPU), or other objects with a buffer, such as bytes or a memory map. The planes are not
            copied: the tensor keeps them alive, and they must not be written to meanwhile.
        verify
            Whether to compare checksums. Without, altered bytes of a plane give other weights.
            Structure and lengths are always checked.

        Raises
        ------
        FormatError
            A part is missing, altered, or has another length than the description says; or the
            description is invalid.
        DtypeError
            A part is not an array of bytes.

        Examples
        --------
        >>> import numpy as np, hypercomp_rs
        >>> w = np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32)
        >>> c = hypercomp_rs.compress_tensor(w, bits=4)
        >>> hypercomp_rs.CompressedTensor.from_parts(*c.to_parts()) == c
        True
        """
        lent = {name: _arrays.lent_bytes(part, name) for name, part in parts.items()}
        kind: _arrays.Kind = "torch" if any(map(_arrays.is_tensor, parts.values())) else "numpy"
        return cls._of(TensorCode.from_parts(description, lent, verify), kind)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its bytes, and the library of the original array."""
        return _unpickle, (self.to_bytes(), self._kind)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same codes of the same shape and dtype."""
        if not isinstance(other, CompressedTensor):
            return NotImplemented
        return self is other or self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        """A hash of the bytes."""
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        return (
            f"CompressedTensor(shape={self.shape}, dtype={self.dtype}, codec={self.codec}, "
            f"{self.bits_per_weight:.3f} bits a weight, {self.sqnr_db:.2f} dB)"
        )


def _unpickle(data: bytes, kind: _arrays.Kind) -> CompressedTensor:
    return CompressedTensor._of(TensorCode.from_bytes(data), kind)
