"""``compress_tensor`` and ``decompress_tensor``, and the parameters of the codecs."""

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
Layout = Literal["chains", "tiles"]

# Bits of the shift register. The time of the search is proportional to 2**window.
_WINDOWS: dict[str, int] = {"fast": 8, "balanced": 10, "high": 12, "max": 16}


@dataclass(frozen=True)
class Winding:
    """The published method's parameters, for ``compress_tensor(w, codec=Winding(...))``.

    Parameters
    ----------
    group
        Number of consecutive weights that share a code, K = 1, 2, 3 or 4.
    side
        Side l of the cube that the trajectory fills. Its centre is the centre of all groups.
    samples
        Number U of points of the trajectory.
    class_max
        The largest number M of categories by which groups outside of the cube are scaled into it.
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
    """The parameters of the trellis codec, checked: see :func:`compress_tensor`."""

    bits: float | None = None
    target_sqnr_db: float | None = None
    max_error: float | None = None
    effort: Effort = "balanced"
    sparsity: Literal["keep"] | None = None
    incoherence: Literal["hadamard", "none"] = "hadamard"
    seed: int = 0
    layout: Layout = "chains"

    def __post_init__(self) -> None:
        if self.effort not in _WINDOWS:
            raise InvalidArgumentError(
                f"effort={self.effort!r}: {', '.join(map(repr, _WINDOWS))} are accepted"
            )
        if self.bits is not None and self.target_sqnr_db is not None:
            raise InvalidArgumentError("bits and target_sqnr_db: one of the two is accepted")
        for name, accepted in (
            ("sparsity", ("keep", None)),
            ("incoherence", ("hadamard", "none")),
            ("layout", ("chains", "tiles")),
        ):
            value = getattr(self, name)
            if value not in accepted:
                raise InvalidArgumentError(
                    f"{name}={value!r}: {' and '.join(map(repr, accepted))} are accepted"
                )
        for name, least, most in (
            # A pruned weight may take less than one bit.
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
        flat: _arrays.FlatArray,
        threads: int | None,
        control: Control | None = None,
        inputs: Inputs | None = None,
    ) -> TensorCode:
        """The codes of a tensor. Another thread may stop the search by `control`."""
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
            tiles=self.layout == "tiles",
            threads=threads,
            control=control,
            **moment,
        )


class Inputs(NamedTuple):
    """Statistics of a layer's inputs, checked: see :func:`compress_tensor`."""

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
    layout: Layout = "chains",
    second_moment: npt.NDArray[Any] | torch.Tensor | None = None,
    damping: float = 0.01,
    input_axis: int = -1,
    threads: int | None = None,
) -> CompressedTensor:
    """Compress the weights of a tensor, without training. Calibration data are optional.

    Parameters
    ----------
    w
        numpy array or torch tensor of float32, float64, float16 or bfloat16 (in numpy: that of
        ``ml_dtypes``), any shape and strides. Every weight must be finite. The array must not be
        written to during the call. Each row has a scale and a rate. A row is the last axis, or as
        many of the last axes as are needed for 128 weights, but never the first axis. So the row of
        a convolution is a whole filter.
    bits
        Bits per weight with all overhead: any number from 1 to 8, by default 4. It is never
        exceeded, and met within 0.01 for 10⁵ weights or more. (For very small tensors, in which the
        header of some 40 bytes would take half of the bits, the header is not counted.) Each row
        has a whole or a half rate: rows with larger weights get more bits, and no row has a rate
        more than one bit below the average. For the trellis only; the winding's rate follows from
        its `samples`.
    target_sqnr_db
        Instead of `bits`: the lowest rate at which Σw²/Σ(w − ŵ)² reaches this number of dB, 0 to
        60. The search is repeated, usually three times.
    max_error
        The largest error of a weight, decoded to its own dtype. Weights with a larger error are
        stored exactly, which takes their own bytes and one or two for their position. These bytes
        count in `bits`; the codes get the rest.
    codec
        "trellis": the bits of a path drive a shift register, and an irrational winding of its state
        gives each weight's level. Rows are first made incoherent by signs and a Hadamard transform.
        Of the two codecs it is closer to the rate-distortion bound. "winding": one trajectory code
        for each group of weights, as published; :class:`Winding` has its parameters.
    effort
        How long the trellis search may take: "fast", "balanced", "high" and "max" are registers of
        8, 10, 12 and 16 bits. Each step has a smaller error at the same size, and takes about four
        times as long (the last one sixteen times). The time of decoding is the same.
    sparsity
        "keep": weights that are exactly zero stay zero. Their positions are stored as an
        entropy-coded mask (1 bit per weight if half of the weights are zero, less if pruning left a
        pattern). Only the other weights have codes, so pruning makes the result smaller. `bits` may
        then be below 1, down to the mask's bits plus half a bit for each other weight. By default
        the trellis keeps only whole rows of zeros, such as the padding of a table of tokens.
    incoherence
        "hadamard": rows are first multiplied by pseudo-random signs and a blockwise Hadamard
        transform, so that they have no outliers. "none": rows are coded without it, which is better
        only if they are Gaussian already.
    seed
        The seed of the pseudo-random signs, 0 to 2**64 - 1. It is stored.
    layout
        "chains": the codes of several rows follow one another. "tiles":
        each 512 weights of a row are coded for themselves, with levels that are bytes up to 4.5
        bits a weight. Where a CPU has AVX-512 VBMI, a product with one 16-bit vector takes half of
        the time. On Gaussian weights the error is the same at "fast" and "balanced", and 0.02 to
        0.03 dB larger at 4 and 4.5 bits with "high" and "max". Products with rows of 5 bits or more
        are several times slower. CUDA devices read both.
    second_moment
        H = E[x·xᵀ] of the inputs x of a linear layer with the weight `w`: (inputs, inputs), float32
        or float64, numpy array or torch tensor; symmetric, positive semidefinite, of any scale (a
        sum over samples will do). With it, the error of the layer's outputs, tr((W − Ŵ)·H·(W −
        Ŵ)ᵀ), is made small instead of the error of its weights. The error of each input's weights
        is fed back to the weights of the inputs after it. Inputs whose errors count more get more
        bits, from 0 to 8. `w` must have two axes, and of the targets above only `bits` can be
        given. The codes are stored input by input (see :attr:`CompressedTensor.stored_by_input`),
        or as without H where these are better by that error; the result still has w's shape.
    damping
        This fraction of the diagonal's mean is added to the diagonal of `second_moment`. It allows
        for variation of the inputs that the samples do not show. 0 or more; a singular matrix needs
        more than 0.
    input_axis
        The axis of `w` along which the inputs lie: -1 or 1 for (outputs, inputs), as in torch's
        ``Linear``, 0 or -2 for (inputs, outputs).
    threads
        Number of threads; None for one per core. The result does not depend on it. With a
        `second_moment` the search itself runs on one thread, as every target depends on the code
        before it; the factorisation and the feedback use all threads. Calls with ``threads=1`` from
        several threads run in parallel.

    Returns
    -------
    CompressedTensor
        A tensor that is empty or all zeros has no codes.

    Raises
    ------
    DtypeError
        Another dtype, or neither a numpy array nor a torch tensor.
    NonFiniteError
        A weight, or an entry of `second_moment`, is NaN or infinite. The message has the index of
        the first one.
    InvalidArgumentError
        An argument that is not accepted; or no rate meets `target_sqnr_db`, or `bits` together with
        `max_error`; or `second_moment` is not symmetric or not positive definite, and the message
        says where.
    TooLargeError
        More threads than the system can start.

    Notes
    -----
    Time O(n·2**W) for n weights and a register of W bits (trellis), O(n) (winding). Memory: the
    result, and some hundred kilobytes per thread. Ctrl-C stops the call. A `second_moment` of m
    inputs adds O(m³/6) multiply-adds in float64, m/2 in float32 for every weight, and memory for m²
    numbers of float64 and for the weights in float32.

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

    Correlated inputs, and the error of a layer's outputs without and with their second moment:

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
            layout=layout,
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
    """Decode to an array of the same library, dtype and shape as the original.

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
