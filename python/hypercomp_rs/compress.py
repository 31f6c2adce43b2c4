"""From weights to a compressed tensor, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from . import _arrays
from ._core import Control, TensorCode
from ._integers import checked, checked_threads
from ._reals import checked_real
from .errors import DtypeError, InvalidArgumentError
from .tensor import CompressedTensor

if TYPE_CHECKING:
    import numpy as np
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


@dataclass(frozen=True)
class Trellis:
    """The trellis codec's parameters, as :func:`compress_tensor` describes them; checked."""

    bits: float | None = None
    target_sqnr_db: float | None = None
    max_error: float | None = None
    effort: Effort = "balanced"
    sparsity: Literal["keep"] | None = None
    incoherence: Literal["hadamard", "none"] = "hadamard"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.effort not in _WINDOWS:
            raise InvalidArgumentError(
                f"effort={self.effort!r}: {', '.join(map(repr, _WINDOWS))} are accepted"
            )
        if self.bits is not None and self.target_sqnr_db is not None:
            raise InvalidArgumentError("bits and target_sqnr_db: one of the two is accepted")
        for name, accepted in (("sparsity", ("keep", None)), ("incoherence", ("hadamard", "none"))):
            value = getattr(self, name)
            if value not in accepted:
                raise InvalidArgumentError(
                    f"{name}={value!r}: {' and '.join(map(repr, accepted))} are accepted"
                )
        for name, least, most in (
            # Pruned weights cost less than any code's bit.
            ("bits", 0 if self.sparsity else 1, 8),
            ("target_sqnr_db", 0, 60),
            ("max_error", 0, math.inf),
        ):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, checked_real(name, value, least, most))
        object.__setattr__(self, "seed", checked("seed", self.seed, 0, 2**64 - 1))

    def compress(
        self,
        flat: _arrays.Flat,
        threads: int | None,
        control: Control | None = None,
        inputs: Inputs | None = None,
    ) -> TensorCode:
        """The codes of a tensor; another thread may stop the search by `control`."""
        moment: dict[str, Any] = {}
        if inputs is not None:
            moment = {
                "second_moment": inputs.second_moment,
                "damping": inputs.damping,
                "input_axis": inputs.axis,
            }
        return TensorCode.trellis(
            flat.elements,
            flat.dtype,
            flat.shape,
            bits=4 if self.bits is None else self.bits,
            sqnr_db=self.target_sqnr_db,
            max_error=self.max_error,
            keep_zeros=self.sparsity == "keep",
            window=_WINDOWS[self.effort],
            seed=self.seed if self.incoherence == "hadamard" else None,
            threads=threads,
            control=control,
            **moment,
        )


class Inputs(NamedTuple):
    """What a layer's inputs are like, checked: see :func:`compress_tensor`."""

    second_moment: npt.NDArray[Any]
    """(inputs·inputs,), float32 or float64."""
    damping: float
    axis: int

    @classmethod
    def of(
        cls,
        second_moment: npt.NDArray[Any] | torch.Tensor,
        damping: float,
        input_axis: int,
        shape: tuple[int, ...],
    ) -> Inputs:
        """The inputs of a layer whose weights have this shape."""
        if len(shape) != 2:
            raise InvalidArgumentError(
                f"second_moment with w of shape {shape}: two axes are accepted"
            )
        axis = checked("input_axis", input_axis, -2, 1) % 2
        flat = _arrays.flatten(second_moment, "second_moment")
        if flat.dtype not in ("float32", "float64"):
            raise DtypeError(
                f"second_moment has dtype {flat.dtype}: float32 and float64 are accepted"
            )
        if flat.shape != (shape[axis], shape[axis]):
            raise InvalidArgumentError(
                f"second_moment has shape {flat.shape}: {(shape[axis], shape[axis])} is accepted "
                f"for w of shape {shape} with its inputs along axis {axis}"
            )
        return cls(flat.elements, checked_real("damping", damping, 0, math.inf), axis)


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
    second_moment: npt.NDArray[Any] | torch.Tensor | None = None,
    damping: float = 0.01,
    input_axis: int = -1,
    threads: int | None = None,
) -> CompressedTensor:
    """Compress the weights of a tensor. No training, and no calibration data unless there are some.

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
        counted where it would take half.) Each row has a whole or a half rate: rows with larger
        weights get more bits, and no row has a rate more than one bit below the average. For the
        trellis only: the winding's rate follows from its samples.
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
        others have codes, so pruning and compression multiply. `bits` may then be less than 1, down
        to that cost and half a bit for each of the others. By default only whole rows of zeros stay
        zeros in a trellis, such as the padding of a table of tokens.
    incoherence
        "hadamard": rows are multiplied by pseudo-random signs and a blockwise Hadamard transform
        first, so that none has outliers. "none" codes them as they are, which is better only for
        rows that are Gaussian already.
    seed
        Of the pseudo-random signs, 0 to 2**64 - 1; stored.
    second_moment
        H = E[x·xᵀ] of the inputs x of the linear layer that `w` is the weight of: (inputs, inputs),
        float32 or float64, numpy array or torch tensor; symmetric, positive semidefinite, of any
        scale (a sum over samples will do). With it, the error of the layer's outputs,
        tr((W − Ŵ)·H·(W − Ŵ)ᵀ), is made small, not that of its weights: the error of each input's
        weights is fed back into those of the inputs that come after it, and bits go to the inputs
        whose errors count, from none at all to 8. `w` has two axes; `bits` is all that can be asked
        for beside it. The codes are stored input by input (see
        :attr:`CompressedTensor.stored_by_input`), or as without H where these are better by that
        error, and the result has w's shape all the same.
    damping
        What is added to the diagonal of `second_moment`, in parts of the diagonal's mean: so much
        do inputs vary apart from what the samples showed. 0 or more; a singular matrix needs some.
    input_axis
        The axis of `w` that has the inputs: -1 or 1 for (outputs, inputs), as torch's ``Linear``
        has them, 0 or -2 for (inputs, outputs).
    threads
        Threads to search with; None for one a core. The result does not depend on it. With a
        `second_moment` the search itself has one, as every target depends on the code before it;
        the factorisation and the feedback have all. Calls with ``threads=1`` from several threads
        run side by side.

    Returns
    -------
    CompressedTensor
        An empty tensor or one of zeros takes no codes at all.

    Raises
    ------
    DtypeError
        Another dtype, or neither a numpy array nor a torch tensor.
    NonFiniteError
        A weight, or an entry of `second_moment`, is NaN or infinite; the message has the first
        one's index.
    InvalidArgumentError
        An argument outside what is accepted; or no rate meets `target_sqnr_db`, or `bits` and
        `max_error` together; or `second_moment` is not symmetric or not positive definite, and the
        message says where.
    TooLargeError
        More threads than the system gives.

    Notes
    -----
    Time O(n·2**W) for n weights and a register of W bits (trellis), O(n) (winding). Memory: the
    result, and some hundred kilobytes a thread. Ctrl-C stops it. A `second_moment` of m inputs adds
    O(m³/6) multiply-adds in float64 and m/2 in float32 for every weight, and memory for m² float64
    and for the weights in float32.

    Hyper-Compression: Model Compression via Hyperfunction, arXiv 2409.00592, sections 3 and 4, is
    the winding; the trellis drives the same hyperfunction along a shift, see ``docs/format.md``.
    Errors are fed back as in GPTQ (arXiv 2210.17323, section 3) and QuIP (arXiv 2307.13304, section
    3: LDLQ, the best of linear feedback). QTIP (arXiv 2406.11235) feeds back between blocks of
    inputs, because a trellis code is final only at its end; here it runs along the outputs of one
    input, so feedback is exact: see ``docs/codec.md``.

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

    Inputs that go together, and the error of a layer's outputs without and with them:

    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((4000, 40)) @ rng.standard_normal((40, 256))
    >>> x += 0.1 * rng.standard_normal(x.shape)
    >>> w = rng.standard_normal((512, 256)).astype(np.float32)
    >>> plain = hypercomp_rs.compress_tensor(w, bits=3)
    >>> fed = hypercomp_rs.compress_tensor(w, bits=3, second_moment=x.T @ x / len(x))
    >>> def output_error(c):
    ...     return np.mean((x @ (w - c.decompress()).T) ** 2)
    >>> bool(output_error(fed) < 0.1 * output_error(plain))
    True
    """
    threads = checked_threads(threads)
    flat = _arrays.flatten(w)
    if codec == "winding":
        codec = Winding()
    if isinstance(codec, Winding):
        _refuse_trellis_arguments(
            bits=bits,
            target_sqnr_db=target_sqnr_db,
            max_error=max_error,
            sparsity=sparsity,
            second_moment=second_moment,
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
        parameters = Trellis(
            bits=bits,
            target_sqnr_db=target_sqnr_db,
            max_error=max_error,
            effort=effort,
            sparsity=sparsity,
            incoherence=incoherence,
            seed=seed,
        )
        inputs = None
        if second_moment is not None:
            inputs = Inputs.of(second_moment, damping, input_axis, flat.shape)
        code = parameters.compress(flat, threads, inputs=inputs)
    else:
        raise InvalidArgumentError(
            f"codec={codec!r}: 'trellis', 'winding' and a Winding(...) are accepted"
        )
    return CompressedTensor._of(code, flat.kind)


def _refuse_trellis_arguments(**arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None:
            given = name if name == "second_moment" else f"{name}={value!r}"
            raise InvalidArgumentError(f"{given}: for codec='trellis' only")


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
