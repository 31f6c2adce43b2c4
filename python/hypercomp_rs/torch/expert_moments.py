"""Second moments of experts that few vectors came to: drawn towards the mean over their layer.

A second moment of n vectors is a poor guess where there are fewer of them than inputs, and there is
none where no token was sent to an expert. The experts of a layer have similar inputs, so their mean
counts for as many vectors as there are inputs: an expert with n vectors has (n·H + k·H̄) / (n + k).
Here k is the number of inputs, or of all vectors of the layer if there are fewer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .calibration import Site
from .experts import CompressedExperts


def draw_to_mean(sites: Sequence[Site], model: nn.Module) -> dict[str, str]:
    """Change the second moments of experts, in place. What a report says of them, by names.

    Parameters
    ----------
    sites
        Places whose vectors have been added up. Those of one layer's experts are taken together.
    model
        Its experts have been taken apart.
    """
    keys = {
        id(expert._modules[layer]): (id(module), parameter)
        for module in model.modules()
        if isinstance(module, CompressedExperts)
        for parameter, layers in module.layers.items()
        for expert in module.experts()
        for layer in layers
    }
    groups: dict[tuple[int, str], list[Site]] = {}
    for site in sites:
        key = keys.get(id(site.layers[0].modules[0]))
        if key is not None and not site.apart:
            groups.setdefault(key, []).append(site)
    notes: dict[str, str] = {}
    for group in groups.values():
        notes |= _draw(group)
    return notes


def _draw(sites: Sequence[Site]) -> dict[str, str]:
    """The same for the experts of one layer."""
    inputs = sites[0].layers[0].inputs
    vectors = sum(site.vectors for site in sites)
    total: torch.Tensor | None = None
    for site in sites:
        if site._sum is not None:
            total = site._sum.clone() if total is None else total.add_(site._sum)
    if total is None or not vectors:
        return {}
    weight = min(inputs, vectors)
    share = total.mul_(weight / vectors)
    notes: dict[str, str] = {}
    for site in sites:
        if site.vectors < inputs:
            came = f"{site.vectors} vectors" if site.vectors else "no vector"
            said = f"{came} for {inputs} inputs came to it: with the mean over the layer's experts"
            notes |= dict.fromkeys((layer.name for layer in site.layers), said)
        site._sum = share.clone() if site._sum is None else site._sum.add_(share)
        site.vectors += weight
    return notes
