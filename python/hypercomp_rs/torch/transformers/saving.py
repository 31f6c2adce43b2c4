"""The wrapped functions of transformers that save a model, which mark compressed models.

transformers saves what the model's configuration and quantiser say. A model whose layers were
compressed one by one, or only in a part, has neither. And transformers changes names back to those
of the original checkpoint by patterns that do not match the entries of codes. So three functions
are wrapped:

* ``save_pretrained`` gives the model a configuration and a quantiser first;
* the function that writes a configuration adds the entries of ``load_guard``;
* the function that changes names gets each compressed weight under the name of the dense weight.
"""

from __future__ import annotations

import functools
import json
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel, modeling_utils
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, apply_converters

from ...checkpoint import load_guard
from ...checkpoint.plan import Request
from ...errors import StaysDenseWarning
from .._codes import described
from ..compressed_module import CompressedModule
from ..owners import compressed_modules
from .config import HypercompConfig
from .expert_saving import take_slices
from .names import Place, Renaming
from .quantizer import HypercompQuantizer
from .stored import LazyWeight, grouped


def wrap_saving() -> None:
    """Wrap the functions of transformers that save a model and its configuration."""
    PreTrainedModel.save_pretrained = _saves_marked(PreTrainedModel.save_pretrained)
    PretrainedConfig.to_json_string = _guarded(PretrainedConfig.to_json_string)
    modeling_utils.revert_weight_conversion = _by_weight(modeling_utils.revert_weight_conversion)


def _saves_marked(save: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(save)
    def save_pretrained(self: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(getattr(self, "hf_quantizer", None), HypercompQuantizer):
            layers = [module for _, module in compressed_modules(self)]
            if layers:
                mark_as(self, _config_of(layers))
        save(self, *args, **kwargs)

    return save_pretrained


def _config_of(layers: list[CompressedModule]) -> HypercompConfig:
    """A configuration for layers that were compressed with unknown parameters."""
    said = [described(layer.description) for layer in layers]
    return HypercompConfig.of_size(
        sum(one.nbytes for one in said), sum(math.prod(one.shape) for one in said)
    )


def _guarded(to_json_string: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(to_json_string)
    def guarded_json_string(self: Any, *args: Any, **kwargs: Any) -> str:
        text = to_json_string(self, *args, **kwargs)
        config = json.loads(text)
        if not load_guard.is_compressed(config):
            return text
        return json.dumps(load_guard.guarded(config), indent=2, sort_keys=True) + "\n"

    return guarded_json_string


def _by_weight(revert: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(revert)
    def revert_weight_conversion(model: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
        weights, stored = grouped(state_dict)
        if not stored:
            return dict(revert(model, state_dict))
        slices = take_slices(model, weights)
        kept, dense = _kept_apart(model, weights)
        for name in kept:
            del weights[name]
        for name in dense:
            weights[name] = weights[name].to(device="cpu")
        if dense:
            warnings.warn(
                f"{type(model).__name__}: saved dense, as transformers converts them on the way to "
                f"the original checkpoint's form: {', '.join(dense)}",
                StaysDenseWarning,
                stacklevel=2,
            )
        reverted = {**revert(model, weights), **kept, **slices}
        return dict(_entries(reverted, {id(weight): weight for weight in stored}))

    return revert_weight_conversion


def _kept_apart(model: Any, weights: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The tensors that are saved with the model's names, and the weights that are saved dense.

    transformers merges some tensors when it saves them, such as projections that are one tensor in
    the original checkpoint. Codes cannot be merged. The tensors of such a group keep the model's
    names if a model can be loaded with these names. Otherwise compressed tensors of the group are
    saved dense.
    """
    converters = _converters(model)
    groups: dict[str, list[str]] = {}
    for name in weights:
        target, pattern = apply_converters(name, converters)
        if pattern is not None:
            groups.setdefault(target, []).append(name)
    renaming = Renaming(model, state=weights)
    kept: dict[str, Any] = {}
    dense = []
    for names in groups.values():
        stored = [name for name in names if isinstance(weights[name], LazyWeight)]
        if stored and all(renaming(name) == Place(name, False) for name in names):
            kept |= {name: weights[name] for name in names}
        else:
            dense += stored
    return kept, dense


def _converters(model: Any) -> list[WeightConverter]:
    """The conversions that transformers applies when it saves a model."""
    conversions = getattr(model, "_weight_conversions", None)
    if conversions is None:
        conversions = get_model_conversion_mapping(model, add_legacy=False)
    reverse = [conversion.reverse_transform() for conversion in conversions[::-1]]
    return [conversion for conversion in reverse if isinstance(conversion, WeightConverter)]


def _entries(state: dict[str, Any], stored: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    """A state dict in which each compressed weight is replaced by its entries."""
    for name, value in state.items():
        weight = stored.get(id(value))
        if weight is None:
            yield name, value
        else:
            yield from weight.entries(name).items()


def mark_compressed(model: nn.Module, request: Request) -> None:
    """Give all models of transformers in `model` the configuration of a compressed model."""
    mark_as(
        model,
        HypercompConfig(
            request.trellis.bits,
            target_bits=request.target_bits,
            target_sqnr_db=request.trellis.target_sqnr_db,
            effort=request.trellis.effort,
            sparsity=request.trellis.sparsity,
            incoherence=request.trellis.incoherence,
            seed=request.trellis.seed,
            layout=None if request.trellis.layout == "chains" else request.trellis.layout,
            embeddings=request.embeddings,
            rules=request.rules,
        ),
    )


def mark_as(model: nn.Module, config: HypercompConfig) -> None:
    """The same with a given configuration."""
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and any(
            isinstance(part, CompressedModule) for part in module.modules()
        ):
            module.hf_quantizer = HypercompQuantizer(config, pre_quantized=False)
            module.is_quantized = True
            module.quantization_method = load_guard.METHOD
            module.config.quantization_config = config
            module.config._is_quantized = True


def unmark_compressed(model: nn.Module) -> None:
    """Remove the configuration from models that have no compressed layer."""
    for module in model.modules():
        if not isinstance(module, PreTrainedModel) or any(compressed_modules(module)):
            continue
        if isinstance(getattr(module, "hf_quantizer", None), HypercompQuantizer):
            # Not by `remove_quantization_config`, which also removes how names are changed back.
            del module.hf_quantizer, module.quantization_method
            module.is_quantized = False
        _unmark_config(module.config)


def _unmark_config(config: PretrainedConfig) -> None:
    if load_guard.is_compressed(_said(config)):
        del config.quantization_config
        config._is_quantized = False
    if not load_guard.is_file_of_weights(
        getattr(config, load_guard.WEIGHTS, None) or ".safetensors"
    ):
        delattr(config, load_guard.WEIGHTS)
    for part in vars(config).values():
        if isinstance(part, PretrainedConfig):
            _unmark_config(part)


def _said(config: PretrainedConfig) -> dict[str, Any]:
    said: Any = getattr(config, load_guard.QUANTIZATION, None)
    return {load_guard.QUANTIZATION: said.to_dict() if hasattr(said, "to_dict") else said}
