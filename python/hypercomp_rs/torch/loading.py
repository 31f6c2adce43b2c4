"""``load_compressed``: loads compressed weights into a model that takes no memory before."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import nn

from ..errors import FormatError, HypercompError, InvalidArgumentError
from ..tensor import CompressedTensor
from ._codes import DESCRIPTION, described, description_text
from .experts import put_dense_together
from .experts_in_models import take_apart_for
from .owners import Owner, compressed_modules, install, owners


class StoredWeight(NamedTuple):
    """A compressed weight among the tensors of a state dict: its name, and its entries."""

    name: str
    description: str
    buffers: list[torch.Tensor]

    def decompress(self, dtype: torch.dtype) -> torch.Tensor:
        """All weights."""
        names = described(self.description).bytes
        parts = dict(zip(names, self.buffers[1:], strict=True))
        tensor = CompressedTensor.from_parts(self.description, parts)
        return cast(torch.Tensor, tensor.decompress(dtype))

    def entries(self, name: str) -> dict[str, torch.Tensor]:
        """Its entries in a state dict that calls it so."""
        parts = (DESCRIPTION, *described(self.description).bytes)
        return {f"{name}_{part}": b for part, b in zip(parts, self.buffers, strict=True)}


def is_description(name: str, tensor: torch.Tensor) -> bool:
    """Whether an entry of a state dict is the description of a compressed tensor."""
    return name.endswith(f"_{DESCRIPTION}") and tensor.dtype == torch.uint8 and tensor.dim() == 1


def stored_weights(state: Mapping[str, torch.Tensor]) -> list[StoredWeight]:
    """The compressed weights of a state dict.

    Raises
    ------
    FormatError
        A description that is none, or parts that are not there; the message names the weight.
    """
    found = []
    for key, tensor in state.items():
        if not is_description(key, tensor):
            continue
        name = key.removesuffix(f"_{DESCRIPTION}")
        try:
            description = description_text(tensor)
            parts = [f"{name}_{part}" for part in described(description).bytes]
        except FormatError as error:
            raise FormatError(f"{name}: {error}") from None
        missing = [part for part in parts if part not in state]
        if missing:
            raise FormatError(f"{name}: {', '.join(missing)} is missing")
        found.append(StoredWeight(name, description, [tensor, *(state[p] for p in parts)]))
    return found


def load_compressed(
    model: nn.Module,
    source: str | os.PathLike[str] | Mapping[str, torch.Tensor],
    *,
    strict: bool = True,
) -> nn.Module:
    """Load weights, compressed and others, into a model, in place.

    Parameters
    ----------
    model
        Dense, and best on the meta device, where it takes no memory: ``with torch.device("meta"):
        model = Model()``. A layer whose weight is compressed in `source` becomes a compressed
        layer. If it has no compressed form, it gets the decoded weight. A layer that is compressed
        already gets the new codes.
    source
        A folder of safetensors files, as ``hypercomp-rs compress`` writes it, or one such file.
        Files are mapped into memory. Or a state dict.
    strict
        Whether every tensor of `source` must belong to the model, and every tensor of the model
        must be in `source`.

    Returns
    -------
    torch.nn.Module
        `model`.

    Raises
    ------
    FormatError
        Codes that are damaged, or for another shape; the message names the weight.
    RuntimeError
        As torch's ``load_state_dict``: keys that are missing or unexpected.
    InvalidArgumentError
        `strict`, and a model on the meta device has buffers that are in no state dict, such as
        frequencies that its constructor computes. The weights are loaded nevertheless.

    Examples
    --------
    >>> import torch, hypercomp_rs.torch as hct
    >>> model = torch.nn.Sequential(torch.nn.Linear(512, 512))
    >>> report = hct.compress_model(model, bits=4)
    >>> with torch.device("meta"):
    ...     again = torch.nn.Sequential(torch.nn.Linear(512, 512))
    >>> hct.load_compressed(again, model.state_dict())
    Sequential(
      (0): CompressedLinear(in_features=512, out_features=512, bias=True, trellis, 4.00 bits)
    )
    >>> x = torch.randn(2, 512)
    >>> torch.equal(model(x), again(x))
    True
    """
    state = dict(source) if isinstance(source, Mapping) else _read(Path(source))
    take_apart_for(model, state)
    groups = {owner.name: group for group in owners(model).values() for owner in group}
    taken = {f"{name}.weight": module for name, module in compressed_modules(model)}
    for stored in stored_weights(state):
        if stored.name in taken:
            same = taken[stored.name].weight_buffers()[0]
            for name, module in taken.items():
                if module.weight_buffers()[0] is same:
                    state.update(stored.entries(name))
            continue
        group = groups.get(stored.name)
        if group is None:
            continue  # torch reports unexpected keys below.
        try:
            _place(stored, group, state)
        except HypercompError as error:
            raise FormatError(f"{stored.name}: {error}") from None
    model.load_state_dict(state, strict=strict, assign=True)
    put_dense_together(model.modules())
    if strict:
        _refuse_without_values(model)
    return model


def _refuse_without_values(model: nn.Module) -> None:
    """Raise if a tensor is still on the meta device, as some buffers are in no state dict."""
    tensors = (*model.named_parameters(), *model.named_buffers())
    left = [name for name, tensor in tensors if tensor.is_meta]
    if left:
        more = f" and {len(left) - 4} more" if len(left) > 4 else ""
        raise InvalidArgumentError(
            f"{', '.join(left[:4])}{more}: still on the meta device. The model computes these when "
            "it is made, and no state dict has values for them: make the model without "
            "torch.device('meta'), or load with strict=False and set them"
        )


def _place(stored: StoredWeight, group: list[Owner], state: dict[str, torch.Tensor]) -> None:
    """Compress the modules that have a weight, and add its entries to the state dict for each."""
    if any(owner.refusal() is not None for owner in group):
        dense = stored.decompress(group[0].module._parameters[group[0].parameter_name].dtype)
        for key in stored.entries(stored.name):
            del state[key]
        state.update({owner.name: dense for owner in group})
        return
    install(stored.description, stored.buffers, group)
    for owner in group:
        state.update(stored.entries(owner.name))


def _read(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import safe_open

    from ..checkpoint import open_source

    state: dict[str, torch.Tensor] = {}
    for file in open_source(path).weights_files():
        with safe_open(file, framework="pt") as tensors:
            state |= {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    return state
