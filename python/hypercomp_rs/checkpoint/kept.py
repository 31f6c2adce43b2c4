"""Why tensors of a compressed model are stored as they are."""

from __future__ import annotations

from ..errors import FormatError, InvalidArgumentError
from .checkpoint import Checkpoint
from .configuration import CONFIG
from .load_guard import METHOD, QUANTIZATION
from .masks import reason_to_keep
from .rules import Choice, Rule, choose, rules_of

UNKNOWN = "the checkpoint does not say why"


def stored_rules(checkpoint: Checkpoint) -> tuple[Rule, ...]:
    """The rules that a model was compressed with, as its ``config.json`` has them; empty without.

    Raises
    ------
    FormatError
        ``config.json`` has something else in their place.
    """
    said = (checkpoint.config or {}).get(QUANTIZATION)
    if not isinstance(said, dict) or said.get("quant_method") != METHOD:
        return ()
    rules = said.get("rules") or []
    if not isinstance(rules, list) or not all(isinstance(rule, str) for rule in rules):
        raise FormatError(f"{checkpoint.path / CONFIG}: rules: a list of strings is accepted")
    try:
        return rules_of(rules)
    except InvalidArgumentError as error:
        raise FormatError(f"{checkpoint.path / CONFIG}: {error}") from None


def reasons_to_keep(checkpoint: Checkpoint) -> dict[str, str]:
    """Why each tensor that is not compressed was kept, by name.

    A checkpoint does not store reasons. They are found again as :func:`compress_checkpoint` found
    them: from the stored rules, the tensor's type, shape and name, and from its values where it may
    be a mask. Reads the beginnings of some tensors.

    Raises
    ------
    FormatError
        ``config.json`` is damaged, or has no rules that can be read.
    """
    rules = stored_rules(checkpoint)
    source = checkpoint.source
    found = {}
    for name in checkpoint:
        if name in source.compressed:
            continue
        entry = source.entries[name]
        rule = next((rule for rule in rules if rule.matches(name)), None)
        # Alone: rules may match nothing but tensors that were compressed.
        choice = choose({name: entry}, () if rule is None else (rule,), "keep")[name]
        reason = choice.kept
        if choice == Choice(None, None):
            reason = reason_to_keep(source, entry)
        found[name] = reason or UNKNOWN
    return found
