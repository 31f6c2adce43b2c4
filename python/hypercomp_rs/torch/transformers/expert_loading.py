"""The experts of a model that is loaded: taken apart before, where any of them are compressed.

Then what a checkpoint has of each expert is a weight as any other: transformers neither merges it
nor has to know of slices. What it would have merged is put together again afterwards, if nothing of
it is compressed.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from transformers.core_model_loading import WeightConverter

from ...checkpoint.slices import Slice, slice_of
from ..experts import CompressedExperts, Kind, Layers, fused_experts, put_together, take_apart
from .expert_names import merged_by
from .names import Renaming
from .quantizer import HypercompQuantizer
from .stored import LazyWeight

# The tensors of one expert, by the names of modules.
_OF_EXPERT = re.compile(r"(.+)\.(\d+)\.(\w+)\.weight")

Loaded = tuple[dict[str, Any], list[LazyWeight], Any, Callable[[Any], None]]


class _Part(NamedTuple):
    """A tensor of a checkpoint that is of a fused parameter.

    Attributes
    ----------
    name
        As the checkpoint has it.
    expert
        Its index; None for a tensor of all.
    layer
        What the checkpoint calls the layer of an expert; None for a slice.
    converter
        What merges it to the parameter.
    """

    name: str
    expert: int | None = None
    layer: str | None = None
    converter: WeightConverter | None = None


class _Fused(NamedTuple):
    """A module of fused experts, and the tensors of each parameter in a checkpoint."""

    name: str
    module: nn.Module
    kind: Kind
    parts: dict[str, list[_Part]]

    def layers(self, compressed: set[str]) -> Layers | None:
        """The layers that the checkpoint has; None for slices.

        `compressed` are the names of its compressed tensors.

        Raises
        ------
        _UnknownError
            It has something else.
        """
        merged = {}
        for parameter, parts in self.parts.items():
            if any(part.expert is None and part.name in compressed for part in parts):
                # Codes of all experts at once: of this package's versions before 0.2.
                raise _UnknownError
            found = {None if p.converter is None else merged_by(p.converter) for p in parts}
            converted = {p.converter is not None for p in parts}
            if len(found) > 1 or (True in converted and None in found):
                raise _UnknownError
            by = next(iter(found), None)
            if by is not None:
                if self.kind.transposed or by.parameter != parameter:
                    raise _UnknownError
                merged[parameter] = by.layers
        if merged and merged.keys() != set(self.kind.parameters):
            raise _UnknownError
        return merged or None

    def converters(self) -> set[int]:
        """Those that the tensors here are merged by, by their ids."""
        return {
            id(part.converter)
            for parts in self.parts.values()
            for part in parts
            if part.converter is not None
        }


class _UnknownError(Exception):
    """Experts that are not taken apart."""


class _ExpertOf:
    """One expert's part of a tensor of a dense checkpoint, read when it is used."""

    def __init__(self, whole: Any, index: int) -> None:
        self._whole, self._index = whole, index

    def __getitem__(self, index: Any) -> torch.Tensor:
        return cast(torch.Tensor, self._whole[self._index])


class _Stacked(LazyWeight):
    """Slices of a tensor that are compressed each, for a model that takes the tensor only whole."""

    def __init__(self, name: str, slices: list[LazyWeight]) -> None:
        super().__init__(name, slices[0].description, [])
        self._slices = slices

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes of the whole."""
        return (len(self._slices), *super().shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the codes."""
        return sum(one.nbytes for one in self._slices)

    def to(self, *, device: Any = None, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The weights that they are decoded to."""
        self.used = True
        decoded = [cast(torch.Tensor, one.to(device=device, dtype=dtype)) for one in self._slices]
        return torch.stack(decoded)


@contextmanager
def experts_apart(
    model: Any,
    weights: dict[str, Any],
    stored: list[LazyWeight],
    load_config: Any,
    quantizer: HypercompQuantizer,
) -> Iterator[Loaded]:
    """The time in which transformers loads tensors, with experts of the model taken apart.

    Parameters
    ----------
    model
        On the meta device, dense.
    weights, stored, load_config
        As for :meth:`HypercompQuantizer.loads`.
    quantizer
        It says which tensors of a dense checkpoint are to be compressed.

    Yields
    ------
    tuple
        The tensors, those of them that are compressed, and the ``load_config``, to be used instead.
        And what is to be called with what the loader says.
    """
    mapping: Sequence[Any] = load_config.weight_mapping or []
    experts = _found(model, weights, Renaming(model, mapping))
    compressed = {one.name for one in stored}

    def is_compressed(part: _Part) -> bool:
        if part.name in compressed or quantizer.is_asked(part.name):
            return True
        return part.expert is None and quantizer.is_asked(Slice(part.name, 0).name)

    wanted = [
        fused
        for fused in experts
        if any(is_compressed(part) for parts in fused.parts.values() for part in parts)
    ]
    apart, dropped = _decided(wanted, experts, compressed)
    names: dict[str, list[str]] = {}
    modules = []
    for fused, layers in apart:
        take_apart(fused.module, layers)
        modules.append((fused.name, cast(CompressedExperts, fused.module)))
        _rename(fused, weights, stored, names)
    stored = _stacked(weights, stored)
    quantizer.ask_by(names)
    kept = [entry for entry in mapping if id(entry) not in dropped]

    def finish(info: Any) -> None:
        # For saving: what is put together, or decompressed later, is to be taken apart by them.
        used = {id(entry) for entry in getattr(model, "_weight_conversions", ())} | dropped
        model._weight_conversions = [entry for entry in mapping if id(entry) in used]
        for name, module in modules:
            _finish(name, module, info)

    if modules:
        load_config = dataclasses.replace(load_config, weight_mapping=kept)
    try:
        yield weights, stored, load_config, finish if modules else (lambda info: None)
    except BaseException:
        for _, module in modules:
            if isinstance(module, CompressedExperts) and not module.has_codes:
                put_together(module)
        raise


def _found(model: nn.Module, weights: Mapping[str, Any], renaming: Renaming) -> list[_Fused]:
    """The fused experts of a model, and what a checkpoint has of them."""
    experts = [
        _Fused(name, module, kind, {parameter: [] for parameter in kind.parameters})
        for name, module, kind in fused_experts(model)
    ]
    of = {f"{f.name}.{p}": f.parts[p] for f in experts for p in f.kind.parameters}
    if not of:
        return []
    for name in weights:
        one = slice_of(name)
        whole = name if one is None else one.whole
        place, converter = renaming.converted_by(whole)
        own = _OF_EXPERT.fullmatch(name)
        if place in of:
            if converter is None:
                of[place].append(_Part(name, None if one is None else one.expert))
            elif own is not None:
                of[place].append(_Part(name, int(own[2]), own[3], converter))
            else:
                of[place].append(_Part(name, converter=converter))
        elif own is not None:
            # Saved by the names of modules.
            place, converter = renaming.converted_by(f"{own[1]}.{own[3]}")
            if place in of and converter is None:
                of[place].append(_Part(name, int(own[2])))
    return experts


def _decided(
    wanted: Sequence[_Fused], experts: Sequence[_Fused], compressed: set[str]
) -> tuple[list[tuple[_Fused, Layers | None]], set[int]]:
    """What is taken apart into which layers, and the converters that are not needed then.

    A converter is needed where any module that it is for cannot be taken apart.
    """
    layers: dict[int, Layers | None] = {}
    needed: set[int] = set()
    for fused in experts:
        try:
            layers[id(fused)] = fused.layers(compressed)
        except _UnknownError:
            needed |= fused.converters()
    apart = [f for f in wanted if id(f) in layers and not f.converters() & needed]
    dropped = {converter for fused in apart for converter in fused.converters()}
    apart += [f for f in experts if f not in apart and f.converters() & dropped]
    return [(fused, layers[id(fused)]) for fused in apart], dropped


def _rename(
    fused: _Fused, weights: dict[str, Any], stored: list[LazyWeight], names: dict[str, list[str]]
) -> None:
    """Call tensors as the layers are called; `names` is what becomes of each."""
    by_name = {one.name: one for one in stored}
    module = cast(CompressedExperts, fused.module)
    for parameter, parts in fused.parts.items():
        for part in parts:
            tensor = weights.pop(part.name)
            layer = part.layer or parameter
            if part.expert is not None:
                new = f"{fused.name}.{part.expert}.{layer}.weight"
                weights[new] = tensor
                names[part.name] = [new]
                if part.name in by_name:
                    by_name[part.name].name = new
                continue
            # One tensor has them all.
            for index in range(module.num_experts):
                new = f"{fused.name}.{index}.{layer}.weight"
                weights[new] = _ExpertOf(tensor, index)
                names[Slice(part.name, index).name] = [new]
        # The plan of a model without files of its own has the model's names.
        for index in range(module.num_experts):
            own = [f"{fused.name}.{index}.{layer}.weight" for layer in module.layers[parameter]]
            names.setdefault(Slice(f"{fused.name}.{parameter}", index).name, own)


def _stacked(weights: dict[str, Any], stored: list[LazyWeight]) -> list[LazyWeight]:
    """The compressed tensors, with slices that no module takes one by one put together."""
    slices: dict[str, dict[int, LazyWeight]] = {}
    others = []
    for one in stored:
        found = slice_of(one.name)
        if found is None:
            others.append(one)
        else:
            slices.setdefault(found.whole, {})[found.expert] = one
    for whole, by_index in slices.items():
        in_order = [by_index[index] for index in sorted(by_index)]
        for one in in_order:
            del weights[one.name]
        made = _Stacked(whole, in_order)
        weights[whole] = made
        others.append(made)
    return others


def _finish(name: str, module: CompressedExperts, info: Any) -> None:
    """Put experts together that have no codes; have transformers leave alone what was loaded."""
    if module.has_codes:
        own = {f"{name}.{parameter}" for parameter in module._parameters}
        if not own & info.missing_keys:
            module._is_hf_initialized = True
        return
    for parameter in module.kind.parameters:
        layers = module.layers[parameter]
        parts = {
            f"{name}.{i}.{layer}.weight" for i in range(module.num_experts) for layer in layers
        }
        if parts & info.missing_keys:
            info.missing_keys.add(f"{name}.{parameter}")
            info.missing_keys -= parts
    put_together(module)
