"""The tensors of a checkpoint as transformers renames them, and who has them in a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from ..errors import FormatError
from ._codes import DESCRIPTION, described
from .owners import Owner


class Renaming:
    """From names in a checkpoint to names in a model that is there without its weights."""

    def __init__(self, model: nn.Module) -> None:
        mapping = get_model_conversion_mapping(model)
        self._renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
        self._converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
        self._prefix = model.base_model_prefix
        self._state = model.state_dict()

    def __call__(self, name: str) -> str | None:
        """The model's name for a tensor; None where it has none, or makes it of several."""
        renamed, pattern = rename_source_key(
            name, self._renamings, self._converters, self._prefix, self._state
        )
        if renamed in self._state and pattern is None:
            return str(renamed)
        if name in self._state:
            return name
        return None


class Stored(NamedTuple):
    """The tensors of a checkpoint, by their names in it.

    Attributes
    ----------
    compressed
        The descriptions of those that are compressed.
    plain
        The names of the others.
    """

    compressed: dict[str, str]
    plain: list[str]


def stored_tensors(files: Iterable[str]) -> Stored:
    """What safetensors files hold; no more than descriptions is read.

    Raises
    ------
    FormatError
        A description that is no text.
    """
    from safetensors import safe_open

    compressed: dict[str, str] = {}
    keys: list[str] = []
    for file in files:
        # As numpy arrays: a model is being made on the meta device, on which torch's would be.
        with safe_open(file, framework="np") as tensors:
            here = list(tensors.keys())
            for key in here:
                if not key.endswith(f"_{DESCRIPTION}"):
                    continue
                name = key.removesuffix(f"_{DESCRIPTION}")
                try:
                    compressed[name] = tensors.get_tensor(key).tobytes().decode()
                except UnicodeDecodeError as error:
                    raise FormatError(f"{Path(file).name}: {name}: {error}") from None
            keys += here
    parts = {
        f"{name}_{part}"
        for name, description in compressed.items()
        for part in (DESCRIPTION, *described(description).bytes)
    }
    return Stored(compressed, [key for key in keys if key not in parts])


def owner_of(model: nn.Module, name: str) -> Owner | None:
    """The module that has the parameter of this name."""
    module_name, _, parameter_name = name.rpartition(".")
    module = model.get_submodule(module_name)
    if module._parameters.get(parameter_name) is None:
        return None
    return Owner(module_name, module, parameter_name)


def tied_to(model: nn.Module, name: str) -> list[str]:
    """The parameters that transformers ties to this one, or it to them."""
    ties: Mapping[str, str] = model.all_tied_weights_keys
    source = ties.get(name, name)
    group = [source, *(target for target, other in ties.items() if other == source)]
    return [other for other in group if other != name]


def untie(model: nn.Module, names: Iterable[str]) -> None:
    """Keep transformers from tying these itself: it ties parameters, and codes are none."""
    for name in names:
        model.all_tied_weights_keys.pop(name, None)


def meta_buffers(description: str, nbytes: Iterable[int]) -> list[torch.Tensor]:
    """Buffers of the sizes that a description says, without memory."""
    sizes = [len(description.encode()), *nbytes]
    return [torch.empty(size, dtype=torch.uint8, device="meta") for size in sizes]
