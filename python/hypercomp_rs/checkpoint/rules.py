"""Which tensors are compressed, and how: rules for names. The first rule that matches applies."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from .._reals import checked_real
from ..compress import Effort
from ..errors import InvalidArgumentError
from .source import FLOATS, Entry

# Tensors of fewer weights are not compressed, as in bitsandbytes. For them the description alone
# would take a tenth of the bytes.
FEWEST_WEIGHTS = 4096

# The last components of the names of modules that are tables of positions or of tokens, in the
# models of transformers and llama.cpp. For a model in memory the classes of its modules are used
# too: see torch/tables.py.
POSITIONS = (
    "*position_embed*",
    "*positional_embed*",
    "*position_embd*",
    "positions_embed",
    "embed_positions*",
    "*pos_emb*",
    "wpe",
    "*rel_pos*",
    "rel_embeddings",
    "rel_attn_embed",
    "pe_k",
    "*relative_attention_bias",
    "relative_position_bias*",
    "*distance_embedding*",
    "attn_rel_b",
    "row_embed*",
    "column_embed*",
)
TOKENS = (
    "embed_tokens*",
    "embed_*_tokens",
    "*_embed_tokens",
    "*word_embedding*",
    "*tok_emb*",
    "*token_emb*",
    "tokens_embed",
    "wte",
    "shared",
    "embed_in",
    "embed_char",
    "embed_global",
    "embed_speaker",
    "embed_timestep",
    "input_embeds_layer*",
    "emb",
    "embed",
    "embedding",
    "embeddings",
    "*_embed",
    "*_embedding",
    "*_embeddings",
    "HashBucketCodepointEmbedder*",
    "queries_embedder",
    "queries_features",
    "query_feat",
    "codebook",
)
# Names that match a pattern above, but belong to layers or convolutions.
_NO_TABLES = (
    "*patch_*",
    "*linear_*",
    "*mask_embed*",
    "vision_embed_tokens",
    "class_embed",
    "bbox_embed",
    "predictor_embeddings",
    "*unitseq*",
)
# Names within a table's own module. They do not say what the table is of.
_WITHIN = ("weight", "weights", "table", "emb", "embed", "embedding", "embeddings")
# Tables of tokens whose last name alone is too short for a pattern: those of CTRL.
_WHOLE_NAMES = ("w", "transformer.w")

# Tensors that are kept beside tables of positions, unless a rule names them: token types, which are
# added to every token as positions are; the routers and biases of experts; and the state of
# state-space models. GGUF's quantisers keep them, too. They are small, and errors in them are not
# averaged out.
KEPT = (
    "*token_type_embed*",
    "*token_types*",
    "*segment_emb*",
    "*.class_embedding",
    "*.router*",
    "*.gate",
    "*.ffn_gate_inp*",
    "*experts.*_bias",
    "*.conv1d",
    "*.ssm_conv1d",
    "*.A_log",
    "*.ssm_a",
)

# The kinds of tables.
Table = Literal["tokens", "positions"]


@dataclass(frozen=True)
class Rule:
    """How tensors are compressed whose names match a pattern.

    Parameters
    ----------
    pattern
        As in a shell: ``*``, ``?``, ``[abc]``. It must match the whole name of a tensor, or that of
        its module: ``lm_head`` is ``lm_head.weight`` too. Of fused experts, ``*.experts.down_proj``
        is the tensor, and every slice of it such as ``model.layers.0.mlp.experts.down_proj[7]``.
    keep
        Whether the tensor is copied without compression.
    bits, target_sqnr_db
        As for :func:`compress_tensor`, instead of the model's parameters.
    effort
        As for :func:`compress_tensor`, instead of the model's.

    Examples
    --------
    >>> Rule.parse("*.attn.*=bits:5,effort:high")
    Rule(pattern='*.attn.*', keep=False, bits=5.0, target_sqnr_db=None, effort='high')
    >>> Rule.parse("lm_head=keep").matches("lm_head.weight")
    True
    """

    pattern: str
    keep: bool = False
    bits: float | None = None
    target_sqnr_db: float | None = None
    effort: Effort | None = None

    @classmethod
    def parse(cls, text: str) -> Rule:
        """A rule from ``PATTERN=keep`` or ``PATTERN=bits:5``, ``sqnr:30``, ``effort:high``.

        Several are joined by commas.
        """
        pattern, equals, actions = text.rpartition("=")
        wrong = InvalidArgumentError(
            f"rule {text!r}: PATTERN=keep, or PATTERN= and some of bits:NUMBER, sqnr:DECIBELS, "
            "effort:fast|balanced|high|max, joined by commas, is accepted"
        )
        if not equals or not pattern:
            raise wrong
        if actions == "keep":
            return cls(pattern, keep=True)
        said: dict[str, str] = {}
        for action in actions.split(","):
            what, colon, value = action.strip().partition(":")
            if what not in ("bits", "sqnr", "effort") or not colon or what in said:
                raise wrong
            said[what] = value
        if {"bits", "sqnr"} <= set(said) or said.get("effort", "fast") not in get_args(Effort):
            raise wrong
        try:
            bits, sqnr = (float(said[w]) if w in said else None for w in ("bits", "sqnr"))
        except ValueError:
            raise wrong from None
        return cls(
            pattern,
            bits=None if bits is None else checked_real(f"bits in rule {text!r}", bits, 1, 8),
            target_sqnr_db=None
            if sqnr is None
            else checked_real(f"sqnr in rule {text!r}", sqnr, 0, 60),
            effort=cast("Effort | None", said.get("effort")),
        )

    def matches(self, name: str) -> bool:
        """Whether the rule applies to the tensor of this name, or to one that it is a slice of."""
        names = [name, name.rpartition(".")[0]]
        if name.endswith("]"):
            names.append(name.rpartition("[")[0])
        return any(one and fnmatch.fnmatchcase(one, self.pattern) for one in names)

    def __str__(self) -> str:
        """The rule as text that :meth:`parse` reads."""
        if self.keep:
            return f"{self.pattern}=keep"
        said = {"bits": self.bits, "sqnr": self.target_sqnr_db, "effort": self.effort}
        actions = [
            f"{what}:{value:g}" if isinstance(value, float) else f"{what}:{value}"
            for what, value in said.items()
            if value is not None
        ]
        return f"{self.pattern}={','.join(actions)}"


def rules_of(rules: Iterable[str | Rule]) -> tuple[Rule, ...]:
    """Rules given as text or as they are."""
    return tuple(rule if isinstance(rule, Rule) else Rule.parse(rule) for rule in rules)


def _first(name: str, patterns: Iterable[str]) -> str | None:
    """The first of these patterns that a name matches."""
    return next((p for p in patterns if fnmatch.fnmatchcase(name, p)), None)


def _position_pattern(name: str) -> str | None:
    """The pattern that makes a tensor a table of positions; None if there is none."""
    parts = [part for part in name.split(".") if not part.isdigit()]
    while parts:
        found = _first(parts[-1], POSITIONS)
        if found is not None or parts[-1] not in _WITHIN:
            return found
        del parts[-1]
    return None


def _default_pattern(name: str) -> str | None:
    """The pattern that makes a tensor be kept if no rule names it; None if there is none."""
    others = (pattern for pattern in KEPT if Rule(pattern).matches(name))
    return _position_pattern(name) or next(others, None)


def table_by_name(name: str) -> Table | None:
    """What a tensor is a table of, by its name; None if it is no table.

    >>> table_by_name("gpt_neox.embed_in.weight"), table_by_name("wpe.weight")
    ('tokens', 'positions')
    """
    if _position_pattern(name) is not None:
        return "positions"
    module = name.removesuffix(".weight")
    parts = [part for part in module.split(".") if not part.isdigit()]
    if not parts or _default_pattern(name) is not None or _first(parts[-1], _NO_TABLES):
        return None
    return "tokens" if module in _WHOLE_NAMES or _first(parts[-1], TOKENS) else None


def eligible(entry: Entry) -> str | None:
    """Why a tensor can never be compressed; None if it can."""
    if entry.dtype not in FLOATS:
        return f"{entry.dtype} is no float that the codec takes"
    if len(entry.shape) < 2:
        return "fewer than two axes: a bias, a norm or a scale"
    if entry.size < FEWEST_WEIGHTS:
        return f"fewer than {FEWEST_WEIGHTS} weights"
    return None


def kept_by_name(entry: Entry, rules: Sequence[Rule]) -> bool:
    """Whether a tensor is kept whatever its values are: by its size, a rule or its name."""
    rule = next((rule for rule in rules if rule.matches(entry.name)), None)
    return _kept(entry, rule, "compress", None) is not None


@dataclass(frozen=True)
class Choice:
    """Whether one tensor is compressed, and by which rule.

    Attributes
    ----------
    kept
        Why it is copied without compression; None if it is compressed.
    rule
        The rule that applies to it, if any.
    """

    kept: str | None
    rule: Rule | None


def choose(
    entries: Mapping[str, Entry],
    rules: Sequence[Rule],
    embeddings: Literal["compress", "keep"],
    tables: Mapping[str, Table | None] | None = None,
) -> dict[str, Choice]:
    """A choice for every tensor.

    `tables` says which tensors are tables. If it is None, their names do.

    Raises
    ------
    InvalidArgumentError
        A rule that matches no tensor, or only tensors that earlier rules match.
    """
    unused = set(rules)
    choices = {}
    for name, entry in entries.items():
        rule = next((rule for rule in rules if rule.matches(name)), None)
        if rule is not None:
            unused.discard(rule)
        table = table_by_name(name) if tables is None else tables.get(name)
        choices[name] = Choice(_kept(entry, rule, embeddings, table), rule)
    for rule in rules:
        if rule in unused:
            others = any(rule.matches(name) for name in entries)
            why = "earlier rules take all that it matches" if others else "it matches no tensor"
            raise InvalidArgumentError(f"rule {str(rule)!r}: {why}")
    return choices


def _kept(
    entry: Entry,
    rule: Rule | None,
    embeddings: Literal["compress", "keep"],
    table: Table | None,
) -> str | None:
    never = eligible(entry)
    if never is not None:
        return never
    if rule is not None:
        return f"rule {rule}" if rule.keep else None
    if embeddings == "keep" and table == "tokens" and len(entry.shape) == 2:
        return "embeddings are kept"
    pattern = _default_pattern(entry.name)
    if pattern is not None:
        return f"kept by default: {pattern}"
    return "kept by default: a table of positions" if table == "positions" else None
