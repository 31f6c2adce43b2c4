"""Which weights of a model are tables of tokens or of positions, by the modules that have them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import nn

from ..checkpoint.rules import Table, table_by_name
from .owners import Candidate

# Matches a component of a name that stands for positions, such as "pos" or "position_table".
_OF_POSITIONS = re.compile(r"(?:^|_)(?:pos|positions?|positional)(?:_|\d|$)")
# Keys of transformers' configurations for the number of positions.
_POSITIONS = (
    "max_position_embeddings",
    "max_source_positions",
    "max_target_positions",
    "n_positions",
    "num_positions",
    "n_ctx",
    "block_size",
)
# Keys for the number of tokens.
_VOCABULARIES = ("vocab_size", "n_words", "n_vocab")


def tables_of(model: nn.Module, candidates: Iterable[Candidate]) -> dict[str, Table | None]:
    """What each candidate is a table of; None if it is not the weight of an ``nn.Embedding``.

    A table is one of positions if its name says so, or if the configuration uses its length as a
    number of positions and as nothing else. Any other ``nn.Embedding`` is a table of tokens. The
    module that transformers' ``get_input_embeddings()`` returns always is, even if it is tied to
    the last layer.
    """
    inputs = _input_embeddings(model)
    positions, vocabularies = _numbers(model, _POSITIONS), _numbers(model, _VOCABULARIES)
    found: dict[str, Table | None] = {}
    for candidate in candidates:
        owners = [owner for owner in candidate.owners if isinstance(owner.module, nn.Embedding)]
        by_name = [table_by_name(owner.name) for owner in owners]
        if not owners:
            found[candidate.name] = None
        elif "tokens" in by_name or any(id(owner.module) in inputs for owner in owners):
            found[candidate.name] = "tokens"
        elif (
            "positions" in by_name
            or any(_names_positions(owner.module_name) for owner in owners)
            or (candidate.weight.shape[0] in positions - vocabularies)
        ):
            found[candidate.name] = "positions"
        else:
            found[candidate.name] = "tokens"
    return found


def _names_positions(module_name: str) -> bool:
    return any(_OF_POSITIONS.search(part) for part in module_name.split(".")[-2:])


def _input_embeddings(model: nn.Module) -> set[int]:
    """The ids of the modules that ``get_input_embeddings()`` returns, for all models in `model`."""
    found = set()
    for module in model.modules():
        ask = getattr(module, "get_input_embeddings", None)
        if ask is None:
            continue
        try:
            embeddings = ask()
        except Exception:
            # A model without tokens. Each class raises another exception.
            continue
        if isinstance(embeddings, nn.Embedding):
            found.add(id(embeddings))
    return found


def _numbers(model: nn.Module, keys: tuple[str, ...]) -> set[int]:
    """The values of these keys in the configurations of a model and its parts."""
    configurations = {id(c): c for m in model.modules() if (c := getattr(m, "config", None))}
    found = set()
    for configuration in configurations.values():
        for said in _configurations(configuration):
            for key, value in said.items():
                if str(key).endswith(keys) and isinstance(value, int):
                    found.add(value)
    return found


def _configurations(config: Any) -> Iterator[Mapping[str, Any]]:
    """A configuration and those within it, as mappings."""
    said = config if isinstance(config, Mapping) else getattr(config, "__dict__", None)
    if said is None:
        return
    yield said
    for value in said.values():
        if hasattr(value, "to_dict"):
            yield from _configurations(value)
