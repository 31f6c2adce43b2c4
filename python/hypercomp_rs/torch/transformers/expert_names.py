"""What checkpoints call the layers of experts that a model keeps as one parameter.

transformers merges them while it loads a model, by its ``WeightConverter``: for instance
``experts.*.w1.weight`` and ``experts.*.w3.weight`` to ``experts.gate_up_proj``.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from torch import nn
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.core_model_loading import (
    Concatenate,
    MergeModulelist,
    WeightConverter,
    WeightTransform,
)

from ..experts import Kind, Layers

_SOURCE = re.compile(r"experts\\?\.\*\\?\.(\w+)\\?\.weight$")
_TARGET = re.compile(r"experts\\?\.(\w+)$")


class Merged(NamedTuple):
    """A fused parameter, and the layers of each expert that are merged to it."""

    parameter: str
    layers: tuple[str, ...]


def merged_by(transform: WeightTransform) -> Merged | None:
    """What a converter merges, if it stacks matrices of experts and does nothing else to them."""
    if not isinstance(transform, WeightConverter):
        return None
    sources: list[str] = transform._original_source_patterns
    targets: list[str] = transform._original_target_patterns
    names = [found[1] for source in sources if (found := _SOURCE.search(source))]
    target = _TARGET.search(targets[0])
    if len(targets) != 1 or target is None or len(names) != len(sources):
        return None
    stack, *join = transform.operations
    if not isinstance(stack, MergeModulelist) or stack.dim != 0:
        return None
    joined = len(join) == 1 and isinstance(join[0], Concatenate) and join[0].dim == 1
    if not (joined if len(names) > 1 else not join):
        return None
    return Merged(target[1], tuple(names))


def layers_in_checkpoints(module: nn.Module, kind: Kind) -> Layers | None:
    """The layers of a module of fused experts, as checkpoints of its model have them.

    None where these have fused experts, too.
    """
    config: Any = getattr(module, "config", None)
    mapping = get_checkpoint_conversion_mapping(getattr(config, "model_type", None)) or ()
    merged = dict(found for transform in mapping if (found := merged_by(transform)))
    # Outputs that lie along the last axis are no parts of what is stacked.
    if kind.transposed or not merged.keys() >= set(kind.parameters):
        return None
    return {name: merged[name] for name in kind.parameters}
