"""Figures of one compressed tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _arrays
from ..errors import InvalidArgumentError
from . import style

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from ..tensor import CompressedTensor

# Weights that are decoded at a time.
_PIECE = 1 << 22


def error_by_row(c: CompressedTensor, w: npt.NDArray[np.floating[Any]] | torch.Tensor) -> Any:
    """The error of every row of a compressed tensor, beside what its rate allows.

    A row is an entry along the first axis: the weights of an output of a linear layer. The figure
    has the signal to noise ratio of each row, its histogram, the ratio of the whole tensor, and
    Shannon's bound at the tensor's rate.

    Parameters
    ----------
    c
        A compressed tensor.
    w
        What it was made from: an array of numpy or a tensor of torch, of the same shape.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InvalidArgumentError
        `w` has another shape, or the tensor has no axes.
    MissingExtraError
        matplotlib is not installed.

    Notes
    -----
    O(number of weights), in pieces of some millions. Rows of zeros and rows without any error have
    no ratio in dB; the figure says how many there are. A single row may lie above the bound: bits
    are not the same for all rows, and weights are no Gaussian source.

    Examples
    --------
    >>> import numpy as np, hypercomp_rs
    >>> from hypercomp_rs import plot
    >>> w = np.random.default_rng(0).standard_normal((200, 512)).astype(np.float32)
    >>> figure = plot.error_by_row(hypercomp_rs.compress_tensor(w, bits=4), w)
    >>> figure.axes[0].get_xlabel()
    'row'
    """
    with style.settings():
        figure = style.new_figure(8, 3.6)
        decibels = row_sqnr_db(c, w)
        left, right = figure.subplots(1, 2, width_ratios=(4, 1), sharey=True)
        finite = np.isfinite(decibels)
        if not finite.any():
            style.say(left, "No row has an error.")
            style.say(right, "")
            return figure
        rows = np.flatnonzero(finite)
        many = len(rows) > style.MANY_POINTS
        left.scatter(rows, decibels[finite], s=10, color=style.BLUE, rasterized=many, label="a row")
        right.hist(
            decibels[finite], bins=min(40, 5 + len(rows) // 10), orientation="horizontal",
            color=style.BLUE,
        )  # fmt: skip
        for axes in (left, right):
            if np.isfinite(c.sqnr_db):
                axes.axhline(c.sqnr_db, color=style.VERMILION, label="the whole tensor")
            bound = style.SHANNON_DB * c.bits_per_weight
            axes.axhline(bound, color=style.TEXT, linestyle="--", label=style.SHANNON)
        left.set_xlabel("row")
        left.set_ylabel("signal to noise, dB")
        left.margins(x=0.02)
        right.set_xlabel("rows")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        title = f"Error by row at {c.bits_per_weight:.3f} bits a weight"
        if not finite.all():
            title += f"; {int((~finite).sum())} of {len(finite)} rows are zero or exact"
        left.set_title(title, loc="left")
        return figure


def row_sqnr_db(
    c: CompressedTensor, w: npt.NDArray[np.floating[Any]] | torch.Tensor
) -> npt.NDArray[np.float64]:
    """10·log10(Σw² / Σ(w − ŵ)²) of each entry along the first axis, shape (rows,).

    Infinite where nothing was lost, NaN for a row of zeros that stayed zeros.
    """
    if tuple(w.shape) != c.shape or not c.shape:
        raise InvalidArgumentError(
            f"w has shape {tuple(w.shape)} and the compressed tensor {c.shape}: the same shape, "
            "with one axis at least, is accepted"
        )
    length = c.shape[0]
    power, noise = np.zeros(length), np.zeros(length)
    step = max(1, _PIECE // max(1, c.size // max(1, length)))
    for start in range(0, length, step):
        stop = min(length, start + step)
        given: Any = w[start:stop]
        if _arrays.is_tensor(given):
            given = given.detach().cpu().double().numpy()
        flat = np.asarray(given, np.float64).reshape(stop - start, -1)
        decoded = np.asarray(c.rows(start, stop, np.float64)).reshape(stop - start, -1)
        power[start:stop] = np.square(flat).sum(1)
        noise[start:stop] = np.square(flat - decoded).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels: npt.NDArray[np.float64] = 10 * np.log10(power / noise)
    return decibels
