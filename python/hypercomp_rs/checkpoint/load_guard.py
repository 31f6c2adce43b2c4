"""Entries of ``config.json`` for which transformers refuses a model that it could not decode.

A transformers without this package takes an unknown ``quant_method`` for a dense model: it warns,
finds none of the weights, and initialises all of them at random. It does refuse a model whose
configuration names a file of weights that is none. So the configuration of a compressed model has
such a name, which says what to do; with this package imported the entry is taken away before
transformers looks at it.

Some classes load a part of a model and read their own part of the configuration only, such as the
vision model of CLIP. So each part says so too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The member of a configuration by which transformers knows a quantised model.
QUANTIZATION = "quantization_config"
METHOD = "hypercomp"
# The member by which transformers is told the file of the weights. Refused where it ends otherwise
# than a file of weights does.
WEIGHTS = "transformers_weights"
HOW_TO_LOAD = (
    "this model is compressed by hypercomp-rs: pip install 'hypercomp-rs[transformers]' and "
    "`import hypercomp_rs.torch.transformers` before from_pretrained"
)

# Models within a model that old configurations do not give a ``model_type``.
_PARTS = ("text_config", "vision_config", "audio_config")


def is_compressed(config: Mapping[str, Any]) -> bool:
    """Whether a configuration says that its model is compressed by this package."""
    said = config.get(QUANTIZATION)
    return isinstance(said, Mapping) and said.get("quant_method") == METHOD


def is_file_of_weights(name: str) -> bool:
    """Whether transformers would look for a file of this name."""
    return name.endswith((".safetensors", ".safetensors.index.json"))


def guarded(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a compressed model, which transformers alone refuses to load.

    `config` has a ``quantization_config`` of ours. The result says in each of its parts that they
    are compressed, too. The name of a file of weights that it has already
    is kept in the ``quantization_config``.
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
    """A configuration whose parts have these entries, or for None no entries of ours."""
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
