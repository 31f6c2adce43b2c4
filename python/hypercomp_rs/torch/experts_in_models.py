"""The experts of a model while it is compressed: all taken apart, some put together again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, cast

import torch
from torch import nn

from . import _integrations
from .experts import CompressedExperts, Kind, Layers, fused_experts, put_together, take_apart
from .owners import Candidate
from .report import SkippedWeight

# An entry of a state dict that is a slice of fused experts, or a part of its codes.
_SLICE = re.compile(r"(.+)\.(\w+)\[(\d+)\](|_\w+)")
# One that is of a layer of one expert.
_LAYER = re.compile(r"(?:(.+)\.)?\d+\.(\w+)\.weight(?:|_\w+)")


def layers_of(module: nn.Module, kind: Kind) -> Layers | None:
    """The layers that checkpoints of a module's model have; None where they are fused there."""
    return cast("Layers | None", _integrations.expert_layers(module, kind))


def take_apart_for(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Take apart the experts of a model that a state dict has taken apart.

    Slices get the names in `state` that the layers have.
    """
    for name in list(state):
        if (found := _SLICE.fullmatch(name)) is not None:
            module, parameter, expert, part = found.groups()
            state[f"{module}.{expert}.{parameter}.weight{part}"] = state.pop(name)
    there: dict[str, set[str]] = {}
    for name in state:
        if (found := _LAYER.fullmatch(name)) is not None:
            there.setdefault(found[1] or "", set()).add(found[2])
    for name, module, kind in fused_experts(model):
        layers = there.get(name)
        if layers is None:
            continue
        known = layers_of(module, kind)
        if known is not None and layers != {layer for each in known.values() for layer in each}:
            known = None
        take_apart(module, known)


class ExpertsApart:
    """Fused experts taken apart for the time in which it is planned what is compressed.

    An error puts them together again.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._fused: dict[str, tuple[CompressedExperts, Mapping[str, nn.Parameter]]] = {}

    def __enter__(self) -> ExpertsApart:
        for name, module, kind in fused_experts(self._model):
            fused = take_apart(module, layers_of(module, kind))
            self._fused[name] = cast(CompressedExperts, module), fused
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is not None:
            for module, fused in self._fused.values():
                put_together(module, fused)
        # The fused parameters would keep the memory of weights that are compressed by then.
        self._fused.clear()

    def settle(
        self,
        candidates: Iterable[Candidate],
        compressed: Mapping[str, Any],
        skipped: Iterable[SkippedWeight],
    ) -> list[SkippedWeight]:
        """Put experts together of which nothing is to be compressed.

        Returns what is skipped, by the names of the parameters that there are now.
        """
        planned = {
            id(owner.module) for c in candidates if c.name in compressed for owner in c.owners
        }
        whys = {one.name: one for one in skipped}
        for name, (module, fused) in self._fused.items():
            if any(id(layer) in planned for layer in module.all_layers()):
                continue
            prefix = f"{name}." if name else ""
            for parameter, layers in module.layers.items():
                names = [
                    f"{prefix}{i}.{layer}.weight"
                    for i in range(module.num_experts)
                    for layer in layers
                ]
                found = [whys.pop(one) for one in names if one in whys]
                if found:
                    shape = tuple(fused[parameter].shape)
                    whole = SkippedWeight(f"{prefix}{parameter}", shape, found[0].why)
                    whys[whole.name] = whole
            put_together(module, fused)
        return list(whys.values())
