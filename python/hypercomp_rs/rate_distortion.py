"""``rate_distortion``: error and rate of a tensor's codes, from a sample of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _arrays
from .compress import Effort, compress_tensor
from .errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

# Number of weights in the sample. Its SQNR is within some hundredths of a dB of that of the whole
# tensor.
_SAMPLE_WEIGHTS = 1 << 16


class RateDistortion(NamedTuple):
    """Points (rate, SQNR) that a tensor's codes reach, by rising rate.

    Attributes
    ----------
    bits
        Bits per weight with all overhead, shape (15,): 1, 1.5, …, 8.
    sqnr_db
        10·log10(Σw² / Σ(w − ŵ)²) at each, in dB.
    """

    bits: npt.NDArray[np.float64]
    sqnr_db: npt.NDArray[np.float64]


def rate_distortion(
    w: npt.NDArray[np.floating[Any]] | torch.Tensor,
    *,
    effort: Effort = "balanced",
    seed: int = 0,
    threads: int | None = None,
) -> RateDistortion:
    """The rate-distortion curve of a tensor, for spreading bits over the tensors of a model.

    Rows that are spread evenly over the first axis, some 65,000 weights, are compressed at every
    half bit from 1 to 8. That takes as long as compressing a million weights once. A tensor with
    few more weights is compressed whole.

    Parameters
    ----------
    w, effort, seed, threads
        As for :func:`compress_tensor`.

    Returns
    -------
    RateDistortion
        A named tuple of two arrays of shape (15,). The curve is convex, except for 0.2 dB at half
        rates and the error of the sample.

    Raises
    ------
    InvalidArgumentError
        A tensor of fewer than 1,000 weights, or of zeros.

    Notes
    -----
    Only the sampled rows of `w` are read (all of it, if it is not contiguous). See
    :func:`compress_tensor` for the other errors.

    Examples
    --------
    >>> import numpy as np, hypercomp_rs
    >>> w = np.random.default_rng(0).standard_normal((512, 1024)).astype(np.float32)
    >>> curve = hypercomp_rs.rate_distortion(w)
    >>> float(np.interp(20.0, curve.sqnr_db, curve.bits).round(1))  # bits for 20 dB
    3.4
    """
    if not (_arrays.is_tensor(w) or isinstance(w, np.ndarray)):
        _arrays.flatten(w)  # raises
    if w.ndim == 0 or w.shape[0] == 0:
        raise InvalidArgumentError(f"w has shape {tuple(w.shape)}: it has no curve")
    row = int(np.prod(w.shape[1:], dtype=np.int64))
    if w.ndim == 1:
        # Blocks, so that neighbouring weights stay together.
        block = 1024
        blocks = w[: len(w) // block * block].reshape(-1, block) if len(w) > _SAMPLE_WEIGHTS else w
        sample = _spread(blocks, _SAMPLE_WEIGHTS // block) if blocks.ndim == 2 else blocks
    else:
        sample = _spread(w, max(1, _SAMPLE_WEIGHTS // max(1, row)))
    size = int(np.prod(sample.shape, dtype=np.int64))
    if size < 1000:
        raise InvalidArgumentError(
            f"w has shape {tuple(w.shape)}: a curve takes 1000 weights at least"
        )
    rates = np.arange(1.0, 8.25, 0.5)
    points = []
    for bits in rates:
        c = compress_tensor(sample, bits=float(bits), effort=effort, seed=seed, threads=threads)
        if c.codec == "zeros":
            raise InvalidArgumentError("the sampled rows are zeros: they have no curve")
        points.append((c.bits_per_weight, c.sqnr_db))
    bits_reached, sqnr_db = np.array(points).T
    return RateDistortion(bits_reached, sqnr_db)


def _spread(w: Any, count: int) -> Any:
    """About `count` entries along the first axis, evenly spread."""
    step = max(1, w.shape[0] // count)
    return w[step // 2 :: step]
