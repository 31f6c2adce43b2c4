"""The places of a checkpoint's tensors in a model: names, modules and ties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    WeightTransform,
    rename_source_key,
)

from ..owners import Owner

# Number of names that a message lists.
_NAMED = 4


def listed(names: Iterable[str]) -> str:
    """The first names for a message, and the number of the others."""
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


class Place(NamedTuple):
    """Where a tensor of a checkpoint goes in a model.

    Attributes
    ----------
    name
        The parameter or buffer that it becomes, or becomes a part of; None if there is none.
    converted
        Whether transformers converts it on the way: merges, splits, permutes or reshapes it.
    """

    name: str | None
    converted: bool


class Renaming:
    """Maps names in a checkpoint to names in a model whose weights are not loaded yet.

    It follows ``convert_and_load_state_dict_in_model`` of transformers.

    Parameters
    ----------
    model
        The model. Its names are those of ``model.state_dict()``, or of `state`.
    mapping
        How transformers renames and converts tensors; by default as for this model.
    """

    def __init__(
        self,
        model: nn.Module,
        mapping: Sequence[WeightTransform] | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        if mapping is None:
            mapping = get_model_conversion_mapping(model)
        self._renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
        self._converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
        self._by_pattern = {k: entry for entry in self._converters for k in entry.source_patterns}
        self._prefix = model.base_model_prefix
        self._state = model.state_dict() if state is None else state

    def __call__(self, name: str) -> Place:
        """The place of a tensor."""
        renamed, converter = self.converted_by(name)
        return Place(renamed, converter is not None)

    def converted_by(self, name: str) -> tuple[str | None, WeightConverter | None]:
        """The parameter or buffer that a tensor becomes, or a part of; and what converts it."""
        renamed, pattern = rename_source_key(
            name, self._renamings, self._converters, self._prefix, self._state
        )
        if renamed not in self._state and name in self._state:
            renamed, pattern = rename_source_key(name, [], [], self._prefix, self._state)
        if renamed not in self._state:
            return None, None
        return str(renamed), None if pattern is None else self._by_pattern[pattern]


def owner_of(model: nn.Module, name: str) -> Owner | None:
    """The module that has the parameter of this name."""
    module_name, _, parameter_name = name.rpartition(".")
    module = model.get_submodule(module_name)
    if module._parameters.get(parameter_name) is None:
        return None
    return Owner(module_name, module, parameter_name)


def tied_to(model: nn.Module, name: str) -> list[str]:
    """The parameters that transformers ties to this one, in either direction."""
    ties: Mapping[str, str] = model.all_tied_weights_keys
    source = ties.get(name, name)
    group = [source, *(target for target, other in ties.items() if other == source)]
    return [other for other in group if other != name]


def untie(model: nn.Module, names: Iterable[str]) -> None:
    """Keep transformers from tying these itself, as it can tie only parameters and not codes."""
    for name in names:
        model.all_tied_weights_keys.pop(name, None)
