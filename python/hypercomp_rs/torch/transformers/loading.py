"""The wrapped loader of transformers: its input, and the check of its result.

A quantiser may change a model before its weights are loaded. But it gets neither all tensors of the
checkpoint nor the loader's report. So the function of transformers is wrapped that loads all
tensors of a checkpoint into a model:

* Compressed tensors are passed to it with their names in the dense checkpoint (``stored``).
* Its report is checked. If the model is of the class that was compressed, a missing weight, which
  transformers would initialise at random, is an error.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn
from transformers import modeling_layers, modeling_utils

from ...errors import (
    FormatError,
    InvalidArgumentError,
    StaysDenseWarning,
    UnusedWeightsWarning,
)
from .config import HypercompConfig
from .expert_loading import experts_apart
from .names import listed
from .quantizer import HypercompQuantizer
from .saving import mark_as
from .stored import LazyWeight, grouped

_WRAPPED = "convert_and_load_state_dict_in_model"


def wrap_loader() -> None:
    """Wrap the function of transformers that loads the tensors of a checkpoint into a model."""
    for module in (modeling_utils, modeling_layers):
        setattr(module, _WRAPPED, _wrapped(getattr(module, _WRAPPED)))


def _wrapped(load: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(load)
    def convert_and_load_state_dict_in_model(
        model: Any, state_dict: Mapping[str, Any], load_config: Any, *args: Any, **kwargs: Any
    ) -> Any:
        weights, stored = grouped(state_dict)
        quantizer = load_config.hf_quantizer
        ours = isinstance(quantizer, HypercompQuantizer)
        if stored and quantizer is None:
            # The configuration is another one, or that of a part of the model.
            quantizer = HypercompQuantizer(_config_of(stored), pre_quantized=True)
            load_config = dataclasses.replace(load_config, hf_quantizer=quantizer)
        elif stored and not (ours and quantizer.pre_quantized):
            raise InvalidArgumentError(
                f"{load_config.pretrained_model_name_or_path}: the weights are compressed by "
                f"hypercomp-rs already ({listed(s.name for s in stored)}): load it without "
                "quantization_config"
            )
        elif not ours or (quantizer.pre_quantized and not stored):
            return load(model, state_dict, load_config, *args, **kwargs)
        with experts_apart(model, weights, stored, load_config, quantizer) as (
            weights,
            stored,
            load_config,
            finish,
        ):
            with quantizer.loads(model, stored, weights, load_config):
                result = load(model, weights, load_config, *args, **kwargs)
            finish(result[0])
        if stored:
            _check(model, stored, result[0])
        if not ours:
            mark_as(model, quantizer.quantization_config)
        return result

    return convert_and_load_state_dict_in_model


def _config_of(stored: list[LazyWeight]) -> HypercompConfig:
    return HypercompConfig.of_size(sum(s.nbytes for s in stored), sum(s.size for s in stored))


def _check(model: Any, stored: list[LazyWeight], info: Any) -> None:
    """Check that the loader used all compressed tensors and that no weight is missing.

    Raises
    ------
    FormatError
        The model is of the class that was compressed, and the checkpoint lacks weights of it.
    """
    if info.conversion_errors:
        return  # transformers raises an error with all of them.
    unused = [s.name for s in stored if not s.used]
    missing = sorted(_missing(model, info.missing_keys))
    architectures = getattr(model.config, "architectures", None) or []
    if missing and type(model).__name__ in architectures:
        why = f"; compressed weights without a place in it: {listed(unused)}" if unused else ""
        raise FormatError(
            f"{type(model).__name__}: the checkpoint is of this model and lacks weights of it: "
            f"{listed(missing)}{why}"
        )
    unexpected = _ignored(model, "_keys_to_ignore_on_load_unexpected")
    unused = [name for name in unused if not unexpected(name)]
    if unused and type(model).__name__ in architectures:
        warnings.warn(
            f"{type(model).__name__} has no place for these compressed weights of its checkpoint: "
            f"{listed(unused)}",
            UnusedWeightsWarning,
            stacklevel=2,
        )
    decoded = [s for s in stored if s.used and not s.as_codes and not s.misfit]
    if decoded:
        warnings.warn(
            f"{type(model).__name__}: compressed weights are decoded and stay dense, as the layers "
            f"that have them, or what transformers merges them to, have no compressed form: "
            f"{listed(s.name for s in decoded)} ({sum(s.size for s in decoded):,} weights of "
            f"{sum(s.size for s in stored):,})",
            StaysDenseWarning,
            stacklevel=2,
        )


def _missing(model: Any, keys: Iterable[str]) -> set[str]:
    """The parameters that were not loaded, and are neither tied to loaded ones nor optional."""
    keys = set(keys).intersection(name for name, _ in model.named_parameters())
    ignored = _ignored(model, "_keys_to_ignore_on_load_missing")
    groups: dict[str, set[str]] = {}
    for target, source in model.all_tied_weights_keys.items():
        groups.setdefault(source, {source}).add(target)
    tied = {name for group in groups.values() if not group <= keys for name in group}
    return {key for key in keys - tied if not ignored(key)}


def _ignored(model: nn.Module, attribute: str) -> Callable[[str], bool]:
    patterns = getattr(model, attribute, None) or ()
    return lambda name: any(re.search(pattern, name) for pattern in patterns)
