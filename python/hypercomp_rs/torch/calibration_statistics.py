"""What calibration measures of a model, kept for several rates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from ..errors import InvalidArgumentError
from .calibration import Calibration, Layer, Site
from .output_sensitivity import OutputSensitivity


class CalibrationStatistics:
    """Batches for calibration and what was measured with them, for a model at several rates.

    The first :func:`compress_model` that gets this as its `calibration` runs the model on the
    batches. Later calls, each with a new copy of the same model, use what the first one measured,
    so they take the time of the search only.

    Parameters
    ----------
    batches
        As for :func:`compress_model`.

    Notes
    -----
    Memory: 4 · inputs² bytes for each place in the model whose vectors one linear layer gets, or
    several, for as long as this object lives; `calibration_nbytes` limits one pass only. All second
    moments are those of the dense model.

    Examples
    --------
    >>> import copy, torch, hypercomp_rs.torch as hct
    >>> model = torch.nn.Sequential(torch.nn.Linear(128, 256), torch.nn.ReLU())
    >>> statistics = hct.CalibrationStatistics([torch.randn(512, 128)])
    >>> for bits in (3, 4):
    ...     small = copy.deepcopy(model)
    ...     report = hct.compress_model(small, bits=bits, calibration=statistics)
    ...     print(report.layers[0].calibrated, round(report.bits_per_weight))
    True 3
    True 4
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        # An iterator would be over after one pass.
        self._batches = list(batches) if isinstance(batches, Iterator) else batches
        # By names: the inputs and the sum of the weights of all layers that were listened to.
        self._layers: dict[str, tuple[int, float]] = {}
        self._sites: list[Site] = []
        self._notes: dict[str, str] = {}
        self._sensitivity: OutputSensitivity | None = None

    @property
    def batches(self) -> Iterable[Any]:
        """What models are run on."""
        return self._batches

    @property
    def nbytes(self) -> int:
        """Bytes of the second moments that are kept."""
        return sum(site.nbytes for site in self._sites)

    def _keep(self, layers: Sequence[Layer], sites: Iterable[Site], notes: dict[str, str]) -> None:
        """Keep what was measured at the places of these layers, but no module of the model."""
        self._sites = [
            site.shared_by([layer._replace(modules=()) for layer in site.layers]) for site in sites
        ]
        self._notes = dict(notes)
        self._layers = {layer.name: (layer.inputs, _sum(layer)) for layer in layers}

    def _kept(self, layers: Sequence[Layer]) -> list[Site]:
        """The places of these layers, with their second moments.

        Raises
        ------
        InvalidArgumentError
            The layers are not those that were listened to.
        """
        for layer in layers:
            if layer.name not in self._layers:
                raise InvalidArgumentError(
                    f"{layer.name}: these calibration statistics were measured without this layer"
                )
            if self._layers[layer.name] != (layer.inputs, _sum(layer)):
                raise InvalidArgumentError(
                    f"{layer.name}: these calibration statistics are those of other weights"
                )
        by_name = {layer.name: layer for layer in layers}
        found = []
        for site in self._sites:
            here = [by_name[layer.name] for layer in site.layers if layer.name in by_name]
            if here:
                found.append(site.shared_by(here))
        return found

    def _sensitivity_like(
        self, new: OutputSensitivity, calibration: Calibration
    ) -> OutputSensitivity:
        """What is kept, if it is of all layers of a new one; otherwise the new one, measured."""
        if self._sensitivity is None or not new.names <= self._sensitivity.names:
            calibration.run({}, lambda: not new.wanted, new)
            new.end()
            self._sensitivity = new
        return self._sensitivity


def _sum(layer: Layer) -> float:
    """The sum of a layer's weights, by which a copy of the same model is known."""
    weight = layer.modules[0].weight
    assert isinstance(weight, torch.Tensor)
    return float(weight.detach().sum(dtype=torch.float64))
