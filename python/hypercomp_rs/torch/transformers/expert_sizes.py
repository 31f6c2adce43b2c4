"""What experts will take once a model is loaded: for device maps, which are made before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from ...checkpoint.slices import slice_of
from .._codes import described
from ..experts import fused_experts
from .names import Renaming


def _parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The fused parameters of a model by name."""
    return {
        f"{name}.{parameter}": module.get_parameter(parameter)
        for name, module, kind in fused_experts(model)
        for parameter in kind.parameters
    }


def _whole(name: str) -> str:
    found = slice_of(name)
    return name if found is None else found.whole


def asked_of(model: nn.Module, names: Iterable[str], renaming: Renaming) -> set[str]:
    """The fused parameters that these tensors of a checkpoint become a part of."""
    fused = _parameters(model)
    return {place for name in names if (place := renaming(_whole(name)).name) in fused}


def element_sizes(
    model: nn.Module, descriptions: Mapping[str, str], renaming: Renaming
) -> dict[str, float]:
    """Bytes of a weight of each fused parameter, of those that are compressed."""
    fused = _parameters(model)
    nbytes: dict[str, int] = {}
    for name, description in descriptions.items():
        place = renaming(_whole(name)).name
        if place in fused:
            nbytes[place] = nbytes.get(place, 0) + described(description).nbytes
    return {name: size / max(1, fused[name].numel()) for name, size in nbytes.items()}
