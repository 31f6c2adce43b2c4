"""Entries of ``config.json`` that make transformers refuse a model it could not decode.

Without this package, transformers treats a model with an unknown ``quant_method`` as a dense model:
it warns, finds none of the weights, and initialises them at random. But it refuses a model whose
configuration names a file of weights with an unknown ending. So the configuration of a compressed
model has such a name, and the name is a sentence that says what to do. If this package is imported,
it removes the entry before transformers reads it.

Some classes load a part of a model and read only their own part of the configuration, such as the
vision model of CLIP. So each part has the entries, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The entry of a configuration by which transformers recognises a quantised model.
QUANTIZATION = "quantization_config"
METHOD = "hypercomp"
# The entry that names the file of the weights. transformers refuses a name without the ending of
# such a file.
WEIGHTS = "transformers_weights"
HOW_TO_LOAD = (
    "this model is compressed by hypercomp-rs: pip install 'hypercomp-rs[transformers]' and "
    "`import hypercomp_rs.torch.transformers` before from_pretrained"
)

# Parts of a model whose configurations have no ``model_type`` in old files.
_PARTS = ("text_config", "vision_config", "audio_config")


def is_compressed(config: Mapping[str, Any]) -> bool:
    """Whether a configuration says that its model is compressed by this package."""
    said = config.get(QUANTIZATION)
    return isinstance(said, Mapping) and said.get("quant_method") == METHOD


def is_file_of_weights(name: str) -> bool:
    """Whether transformers would look for a file of this name."""
    return name.endswith((".safetensors", ".safetensors.index.json"))


def guarded(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a compressed model, which transformers without this package refuses.

    `config` has a ``quantization_config`` of this package. If it names a file of weights already,
    the name is kept in the ``quantization_config``.
    """
    said = dict(config[QUANTIZATION])
    named = config.get(WEIGHTS)
    if named is not None and is_file_of_weights(named):
        said[WEIGHTS] = named
    part_says = {"quant_method": METHOD, "format": said["format"]}
    return {
        **_parts(config, {QUANTIZATION: part_says, WEIGHTS: HOW_TO_LOAD}),
        QUANTIZATION: said,
        WEIGHTS: HOW_TO_LOAD,
    }


def unguarded(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a model that is dense again: the opposite of :func:`guarded`."""
    said = config.get(QUANTIZATION)
    named = said.get(WEIGHTS) if isinstance(said, Mapping) else None
    dense = _parts(config, None)
    dense.pop(QUANTIZATION, None)
    if not is_file_of_weights(dense.get(WEIGHTS, "")):
        dense.pop(WEIGHTS, None)
    return dense if named is None else {**dense, WEIGHTS: named}


def _parts(config: Mapping[str, Any], entries: Mapping[str, Any] | None) -> dict[str, Any]:
    """A configuration whose parts have these entries, or none of this package for None."""
    found = {}
    for name, value in config.items():
        if not _is_part(name, value):
            found[name] = value
        elif entries is not None:
            found[name] = {**_parts(value, entries), **entries}
        else:
            found[name] = unguarded(value) if is_compressed(value) else _parts(value, None)
    return found


def _is_part(name: str, value: Any) -> bool:
    """Whether a member of a configuration is the configuration of a model within the model."""
    return isinstance(value, Mapping) and ("model_type" in value or name in _PARTS)
