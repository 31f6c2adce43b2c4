"""Experts that are saved as slices: those of models whose checkpoints have fused parameters."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import PrefixChange, WeightRenaming, apply_renamings

from ...checkpoint.slices import Slice
from ..experts import CompressedExperts


def take_slices(model: nn.Module, weights: dict[str, Any]) -> dict[str, Any]:
    """Take the weights of sliced experts out of a state dict; them by a checkpoint's names."""
    renamings = _renamings(model)
    taken = {}
    for name, module in model.named_modules():
        if not isinstance(module, CompressedExperts) or not module.sliced:
            continue
        for parameter, (layer,) in module.layers.items():
            whole = apply_renamings(f"{name}.{parameter}", renamings)
            for index in range(module.num_experts):
                weight = weights.pop(f"{name}.{index}.{layer}.weight", None)
                if weight is not None:
                    taken[Slice(whole, index).name] = weight
    return taken


def _renamings(model: Any) -> list[WeightRenaming]:
    """What renames tensors on the way to a checkpoint, as ``revert_weight_conversion`` does it."""
    conversions = getattr(model, "_weight_conversions", None)
    if conversions is None:
        every = get_model_conversion_mapping(model, add_legacy=False)
        conversions = [entry for entry in every if not isinstance(entry, PrefixChange)]
    reverse = [conversion.reverse_transform() for conversion in conversions[::-1]]
    return [entry for entry in reverse if isinstance(entry, WeightRenaming)]
