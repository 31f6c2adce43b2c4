"""The names of a GGUF file's tensors in transformers, and the order of their rows there.

llama.cpp uses names of its own for all models. For Llama models it also interleaves the two halves
of each attention head's rows, for its rotary embedding. Both are reversed here, for the
architectures whose tensors are otherwise the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from .gguf_header import Value

_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_MODEL = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}

# Mistral's files say "llama".
ARCHITECTURES = ("llama", "qwen2", "qwen3")

# A tensor that transformers computes from the configuration.
_DERIVED = "rope_freqs.weight"


def transformers_name(name: str) -> str | None:
    """A tensor's name in transformers; "" if it is not used there, None if it is unknown."""
    if name == _DERIVED:
        return ""
    found = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", name)
    if found is None:
        return None
    layer, part, what = found.groups()
    if layer is None:
        return f"{_MODEL[part]}.{what}" if part in _MODEL else None
    return f"model.layers.{int(layer)}.{_LAYER[part]}.{what}" if part in _LAYER else None


def transformers_names(
    names: Iterable[str], values: Mapping[str, Value]
) -> tuple[str | None, dict[str, str]]:
    """The name of each tensor, "" if it is left out; and why names are not those of transformers.

    Either all tensors have transformers' names or none has. A mixture would be of no use.
    """
    architecture = values.get("general.architecture")
    names = list(names)
    if architecture not in ARCHITECTURES:
        why = f"the architecture {architecture!r} is none of {', '.join(ARCHITECTURES)}"
        return why, {name: name for name in names}
    found = {name: transformers_name(name) for name in names}
    for name, known in found.items():
        if known is None:
            why = f"{name} is no tensor of a dense model of the architecture {architecture!r}"
            return why, {name: name for name in names}
    return None, {name: known for name, known in found.items() if known is not None}


def row_order(name: str, rows: int, values: Mapping[str, Value]) -> npt.NDArray[np.intp] | None:
    """The rows of the file in the order that transformers has them; None for as they are.

    Of each head's 2·h rows llama.cpp has 0, h, 1, h + 1, …

    Raises
    ------
    FormatError
        The rows are no whole heads.
    """
    part = re.fullmatch(r"blk\.\d+\.attn_([qk])\.(?:weight|bias)", name)
    if part is None or values.get("general.architecture") != "llama":
        return None
    heads = values.get("llama.attention.head_count")
    if part[1] == "k":
        heads = values.get("llama.attention.head_count_kv", heads)
    if not isinstance(heads, int) or heads < 1 or rows % (2 * heads):
        raise FormatError(f"{name} has {rows} rows, which are not {heads} heads of an even size")
    pairs = np.arange(rows).reshape(heads, rows // heads // 2, 2)
    order: npt.NDArray[np.intp] = pairs.swapaxes(1, 2).reshape(-1)
    return order
