"""Figures of a compressed model: bits and error by tensor, and both beside Shannon's bound."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..checkpoint import Checkpoint, TensorInfo
from ..rate_distortion import RateDistortion
from . import style

Model: TypeAlias = "Checkpoint | str | os.PathLike[str] | Iterable[TensorInfo]"

# Up to so many tensors have a bar with their name.
_NAMED = 40


def infos_of(model: Model) -> list[TensorInfo]:
    """What is known of each tensor of a model."""
    if isinstance(model, Checkpoint):
        return model.tensors
    if isinstance(model, str | os.PathLike):
        with Checkpoint.open(model) as checkpoint:
            return checkpoint.tensors
    return list(model)


def allocation(model: Model) -> Any:
    """Bits a weight and error of every compressed tensor of a model, in the model's order.

    Up to 40 tensors are bars with their names. Of more, each is a point, and colours and markers
    tell kinds of layers apart: tensors with the same name but for numbers.

    Parameters
    ----------
    model
        A :class:`Checkpoint`, the path of one, or what :attr:`Checkpoint.tensors` gives.

    Returns
    -------
    matplotlib.figure.Figure
        The figure. A model without compressed tensors gives a figure that says so.

    Raises
    ------
    FormatError
        A file is no such model, or damaged.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> from hypercomp_rs import plot
    >>> from hypercomp_rs.checkpoint import TensorInfo
    >>> layer = TensorInfo("layer.weight", (64, 64), "F32", "m.safetensors", "trellis", 2048, 23.5)
    >>> figure = plot.allocation([layer])
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['bits a weight', 'signal to noise, dB']
    """
    compressed = [info for info in infos_of(model) if info.codec is not None]
    with style.settings():
        if not compressed:
            return _nothing()
        if len(compressed) <= _NAMED:
            return _bars(compressed)
        return _points(compressed)


def rate_distortion(model: Model | RateDistortion) -> Any:
    """Rates and errors of a model's tensors, or of one tensor's codes, beside Shannon's bound.

    The bound is that of a Gaussian source, 6.02 dB a bit: no code of independent Gaussian weights
    with one variance has less error at its rate. Tensors with zeros, or with rows of different
    size, are easier, and can lie above it.

    Parameters
    ----------
    model
        As for :func:`allocation`; or what ``hypercomp_rs.rate_distortion(w)`` gives.

    Returns
    -------
    matplotlib.figure.Figure
        The figure. The area of a point is the number of weights.

    Raises
    ------
    FormatError
        A file is no such model, or damaged.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np, hypercomp_rs
    >>> from hypercomp_rs import plot
    >>> w = np.random.default_rng(0).standard_normal((64, 1024)).astype(np.float32)
    >>> figure = plot.rate_distortion(hypercomp_rs.rate_distortion(w, effort="fast"))
    >>> figure.axes[0].get_ylabel()
    'signal to noise, dB'
    """
    curve = model if isinstance(model, RateDistortion) else None
    infos = [] if isinstance(model, RateDistortion) else infos_of(model)
    infos = [info for info in infos if has_an_error(info)]
    with style.settings():
        if curve is None and not infos:
            return _nothing("No compressed tensor has an error.")
        figure = style.new_figure(9.5, 4.4)
        axes = figure.subplots()
        if curve is not None:
            bits, decibels = curve.bits, curve.sqnr_db
            axes.plot(
                bits, decibels, "o-", color=style.BLUE, markersize=4, label="codes of this tensor"
            )
        else:
            bits = np.array([info.bits_per_weight for info in infos])
            decibels = np.array([info.sqnr_db for info in infos])
            _scatter_by_kind(axes, infos, bits, decibels, _areas(infos))
        most = float(np.max(bits)) * 1.05
        least = max(0.0, float(np.min(bits)) * 0.95 - 0.2)
        axes.plot(
            [least, most],
            [style.SHANNON_DB * least, style.SHANNON_DB * most],
            "--",
            color=style.TEXT,
            label=style.SHANNON,
        )
        axes.set_xlabel("bits a weight, everything counted")
        axes.set_ylabel("signal to noise, dB")
        axes.set_xlim(least, most)
        _legend(figure, axes)
        return figure


def has_an_error(info: TensorInfo) -> bool:
    """Whether a tensor was compressed and lost something."""
    return info.codec is not None and math.isfinite(info.sqnr_db) and info.size > 0


def kind_of(name: str) -> str:
    """What is the same in all layers: the name without its numbers, three parts of it at most."""
    parts = [part for part in name.removesuffix(".weight").split(".") if not part.isdigit()]
    return ".".join(parts[-2:]) or name


def _nothing(text: str = "No tensor of this model is compressed.") -> Any:
    figure = style.new_figure(9.5, 1.2)
    style.say(figure.subplots(), text)
    return figure


def _bars(infos: Sequence[TensorInfo]) -> Any:
    figure = style.new_figure(9.5, 1.0 + 0.23 * len(infos))
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(infos))
    for axes, values, texts, color in (
        (
            left,
            [i.bits_per_weight for i in infos],
            [f"{i.bits_per_weight:.2f}" for i in infos],
            style.BLUE,
        ),
        (
            right,
            [i.sqnr_db if has_an_error(i) else 0.0 for i in infos],
            [f"{i.sqnr_db:.1f}" if has_an_error(i) else "exact" for i in infos],
            style.VERMILION,
        ),
    ):
        bars = axes.barh(places, values, color=color, height=0.7)
        axes.bar_label(bars, texts, padding=3, fontsize=8, color=style.TEXT)
        axes.margins(x=0.12)
        axes.grid(visible=False, axis="y")
    left.set_yticks(places, [style.printable(info.name) for info in infos])
    left.set_ylim(len(infos) - 0.4, -0.6)
    left.set_xlabel("bits a weight")
    right.set_xlabel("signal to noise, dB")
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
    return figure


def _points(infos: Sequence[TensorInfo]) -> Any:
    figure = style.new_figure(9.5, 6.2)
    upper, lower = figure.subplots(2, 1, sharex=True)
    bits = np.array([info.bits_per_weight for info in infos])
    decibels = np.array([info.sqnr_db if has_an_error(info) else np.nan for info in infos])
    places = np.arange(1, len(infos) + 1)
    _scatter_by_kind(upper, infos, places, bits, np.full(len(infos), 22.0))
    _scatter_by_kind(lower, infos, places, decibels, np.full(len(infos), 22.0))
    upper.set_ylabel("bits a weight")
    lower.set_ylabel("signal to noise, dB")
    lower.set_xlabel("compressed tensor, by its number in the model's order")
    lower.set_xlim(0, len(infos) + 1)
    _legend(figure, upper)
    return figure


def _scatter_by_kind(axes: Any, infos: Sequence[TensorInfo], x: Any, y: Any, areas: Any) -> None:
    """Points in a colour and a marker for each of the largest kinds, and one for all others."""
    weights: Counter[str] = Counter()
    for info in infos:
        weights[kind_of(info.name)] += info.size
    most = len(style.SERIES)
    # The largest ones first; of equal ones that which comes first in the model.
    largest = [kind for kind, _ in weights.most_common(most if len(weights) <= most else most - 1)]
    kinds = np.array([kind_of(info.name) for info in infos], dtype=object)
    groups = [(style.printable(kind, 32), kinds == kind) for kind in largest]
    if len(weights) > most:
        groups.append((f"{len(weights) - len(largest)} other kinds", ~np.isin(kinds, largest)))
    for number, (label, chosen) in enumerate(groups):
        axes.scatter(
            x[chosen],
            y[chosen],
            s=areas[chosen],
            color=style.SERIES[number],
            marker=style.MARKERS[number],
            alpha=0.8,
            linewidth=0.4,
            edgecolor="white",
            label=label,
            rasterized=len(infos) > style.MANY_POINTS,
        )


def _areas(infos: Sequence[TensorInfo]) -> Any:
    """Areas of points, in square points: as weights, but none too small to be seen."""
    sizes = np.array([info.size for info in infos], float)
    return np.maximum(14.0, 160.0 * sizes / sizes.max())


def _legend(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    made = figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))
    for handle in made.legend_handles:
        if hasattr(handle, "set_sizes"):
            handle.set_sizes([30.0])
