"""Finds the model's state dict in a file of ``torch.save``.

Training programs save a model together with optimizer, counters and settings, under various names.
If there is one state dict, it is the model. If there are several, it is the one whose name says so.
The user is told what is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import FormatError

# Names under which programs save a model.
_MODELS = (
    "state_dict",
    "model_state_dict",
    "model",
    "model_state",
    "module",
    "net",
    "network",
    "params",
    "weights",
)
# Names of a second model with averages of the first one's weights.
_AVERAGES = re.compile(r"(?:^|_)(?:ema|avg|averaged?|shadow|swa)(?:_|$)")
# Names of mappings with tensors that are no model.
_STATES = re.compile(
    r"(?:\w+_)?(?:optim\w*|opt|schedulers?|scaler|amp|rng|random|callbacks|loops|sampler|hparams"
    r"|hyper_parameters)(?:_states?|_state_dicts?|_dict)?"
)
# The largest depth at which a model is looked for.
_DEEPEST = 4

# The keys that lead to a state dict.
_Keys = tuple[str, ...]


def find_state_dict(path: Path, saved: Any, tensor_class: type) -> tuple[dict[str, Any], list[str]]:
    """The tensors of the model in a file, by name, and notes for the user.

    Raises
    ------
    FormatError
        There is no model, or several. The message has their keys and says what to do.
    """
    if not isinstance(saved, Mapping):
        raise FormatError(
            f"{path} holds a {type(saved).__name__}: a state dict of names and tensors is accepted"
        )
    models = _models(saved, (), tensor_class)
    if not models:
        raise FormatError(
            f"{path} has no state dict ({', '.join(_described(saved))}): names and tensors are "
            f"accepted, by themselves or under a key such as {', '.join(map(repr, _MODELS[:3]))}"
        )
    chosen = _chosen(path, models)
    state: Mapping[Any, Any] = saved
    for key in chosen:
        state = state[key]
    notes = []
    others = ", ".join(_text(keys) for keys in models if keys != chosen)
    if others:
        notes.append(f"{path}: the model is taken from {_text(chosen)}; {others} is left out")
    left_out = {n: value for n, value in state.items() if not isinstance(value, tensor_class)}
    said = {
        keys[len(chosen)] for keys in models if keys != chosen and keys[: len(chosen)] == chosen
    }
    unsaid = {name: value for name, value in left_out.items() if name not in said}
    if unsaid:
        notes.append(f"{path}: left out, as it is no tensor: {', '.join(_described(unsaid))}")
    tensors = {name: value for name, value in state.items() if name not in left_out}
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise FormatError(
                f"{path}: {name!r} is a {type(tensor).__name__} under a name of type "
                f"{type(name).__name__}: text is accepted"
            )
    return tensors, notes


def _models(here: Mapping[Any, Any], at: _Keys, tensor_class: type) -> list[_Keys]:
    """The keys of all state dicts of models in a mapping, which is itself at the keys `at`."""
    tensors: list[Any] = [v for v in here.values() if isinstance(v, tensor_class)]
    within: list[_Keys] = []
    for key, value in here.items() if len(at) < _DEEPEST else ():
        if isinstance(key, str) and isinstance(value, Mapping) and not _STATES.fullmatch(key):
            within += _models(value, (*at, key), tensor_class)
    if not tensors:
        return within
    # Mappings within a state dict are models only if their names say so. If there are such models,
    # and all tensors around them are single numbers, these are counters and no model.
    within = [keys for keys in within if _says_model(keys[len(at)])]
    counters = all(tensor.numel() <= 1 for tensor in tensors)
    return within if within and counters else [at, *within]


def _says_model(key: str) -> bool:
    return key in _MODELS or _AVERAGES.search(key) is not None


def _chosen(path: Path, models: list[_Keys]) -> _Keys:
    """The keys of the model, if there are several state dicts."""
    if len(models) == 1:
        return models[0]
    plain = [keys for keys in models if not any(map(_AVERAGES.search, keys))]
    named = [keys for keys in plain if any(key in _MODELS for key in keys)]
    if len(plain) == 1:
        return plain[0]
    # If there are also weights at the top, it is not clear which ones are the model.
    if len(named) == 1 and () not in plain:
        return named[0]
    example = "".join(f"[{key!r}]" for key in next(filter(None, models)))
    raise FormatError(
        f"{path} has several state dicts: {', '.join(map(_text, models))}. Save the one that is "
        f"meant by itself: torch.save(torch.load(path){example}, new_path)"
    )


def _text(keys: _Keys) -> str:
    return repr(".".join(keys)) if keys else "the whole"


def _described(entries: Mapping[Any, Any]) -> list[str]:
    """Names and types of the first few entries."""
    few = [f"{name!r} ({type(value).__name__})" for name, value in list(entries.items())[:8]]
    return [*few, f"and {len(entries) - 8} more"] if len(entries) > 8 else few
