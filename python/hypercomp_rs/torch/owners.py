"""The modules that have each weight of a model, and their replacement by compressed modules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple, cast

import torch
from torch import nn

from ..checkpoint.rules import Rule
from .compressed_module import CompressedModule
from .modules import CompressedConv1d, CompressedConv2d, CompressedEmbedding, CompressedLinear
from .report import SkippedWeight
from .transposed import CompressedTransposedLinear

_CLASSES: tuple[type[CompressedModule], ...] = (
    CompressedLinear,
    CompressedEmbedding,
    CompressedConv1d,
    CompressedConv2d,
    CompressedTransposedLinear,
)
# Biases, norms and the like of at most so many weights are not reported.
UNNAMED = 1000


def classes() -> dict[type[nn.Module], type[CompressedModule]]:
    """The compressed class of each class of modules that has one."""
    found: dict[type[nn.Module], type[CompressedModule]] = {c.dense_class: c for c in _CLASSES}
    # The layers of GPT-2, which are defined by transformers.
    if "transformers.pytorch_utils" in sys.modules:
        from ._conv1d import CompressedConv1D

        found[CompressedConv1D.dense_class] = CompressedConv1D
    return found


class Owner(NamedTuple):
    """A module that has a parameter, and the parameter's name in it."""

    module_name: str
    module: nn.Module
    parameter_name: str

    @property
    def name(self) -> str:
        """The parameter's name in the state dict."""
        return ".".join(filter(None, (self.module_name, self.parameter_name)))

    def refusal(self) -> str | None:
        """Why the module cannot have this weight compressed, or None."""
        if isinstance(self.module, CompressedModule):
            return None
        compressed = classes().get(type(self.module))
        if compressed is None or self.parameter_name != "weight":
            return f"no compressed form of {type(self.module).__name__}.{self.parameter_name}"
        return compressed.refusal(self.module)


def owners(model: nn.Module) -> dict[int, list[Owner]]:
    """The modules that have each parameter, by the parameter's id. Tied weights have several."""
    found: dict[int, list[Owner]] = {}
    for module_name, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                found.setdefault(id(parameter), []).append(Owner(module_name, module, name))
    return found


class Candidate(NamedTuple):
    """A weight that can be compressed, and the modules that have it."""

    name: str
    weight: nn.Parameter
    owners: list[Owner]


def find_candidates(
    model: nn.Module, rules: tuple[Rule, ...]
) -> tuple[list[Candidate], list[SkippedWeight]]:
    """The weights of a model that can be compressed, and those that cannot, with the reason."""
    candidates, skipped = [], []
    for group in owners(model).values():
        weight = cast(nn.Parameter, group[0].module._parameters[group[0].parameter_name])
        name = _known_to_rules(group, rules)
        if weight.dim() < 2:
            if weight.numel() > UNNAMED:
                short = "fewer than two axes: a bias, a norm or a scale"
                skipped.append(SkippedWeight(name, tuple(weight.shape), short))
            continue
        whys = [why for owner in group if (why := owner.refusal()) is not None]
        if weight.is_meta:
            whys.append("on the meta device, where it has no values")
        if whys:
            skipped.append(SkippedWeight(name, tuple(weight.shape), whys[0]))
        else:
            candidates.append(Candidate(name, weight, group))
    return candidates, skipped


def _known_to_rules(group: list[Owner], rules: tuple[Rule, ...]) -> str:
    """The name of a tied weight that a rule matches; the first name if none does."""
    for rule in rules:
        for owner in group:
            if rule.matches(owner.name):
                return owner.name
    return group[0].name


def install(description: str, buffers: list[torch.Tensor], group: list[Owner]) -> None:
    """Replace the modules that have a weight by compressed ones, tied to each other."""
    first, *others = group
    classes()[type(first.module)].replace(first.module, description, buffers)
    for other in others:
        classes()[type(other.module)].tie(other.module, cast(CompressedModule, first.module))


def compressed_modules(model: nn.Module) -> Iterator[tuple[str, CompressedModule]]:
    """The compressed modules of a model by name."""
    for name, module in model.named_modules():
        if isinstance(module, CompressedModule):
            yield name, module
