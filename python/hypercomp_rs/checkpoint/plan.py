"""The plan for a model: the parameters of each compressed tensor, and why others are kept."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .. import _core
from .._reals import checked_real
from ..compress import Trellis
from ..errors import HypercompError, InvalidArgumentError
from ..tensor import CompressedTensor
from .allocation import HIGHEST_RATE, LOWEST_RATE, Curve, line, spread
from .entries import DESCRIPTION, entry_name, named, refuse_taken
from .masks import reason_to_keep
from .rules import Choice, Rule, Table, choose, table_by_name
from .sensitivity import Sensitivity, as_float32, flat_of, only_looked_up
from .shard_writer import FORMAT, METADATA
from .source import Entry, Source

if TYPE_CHECKING:
    import numpy.typing as npt

# Number of weights in the sample of rows that stands for a tensor.
_SAMPLE_WEIGHTS = 1 << 16


@dataclass(frozen=True)
class Request:
    """The parameters for a whole model; see :func:`compress_checkpoint`."""

    trellis: Trellis
    target_bits: float | None
    embeddings: Literal["compress", "keep"]
    rules: tuple[Rule, ...]
    sensitivity: Sensitivity

    def __post_init__(self) -> None:
        if self.embeddings not in ("compress", "keep"):
            raise InvalidArgumentError(
                f"embeddings={self.embeddings!r}: 'compress' and 'keep' are accepted"
            )
        if self.target_bits is not None:
            target = checked_real("target_bits", self.target_bits, 1, 64)
            object.__setattr__(self, "target_bits", target)
            if self.trellis.bits is not None or self.trellis.target_sqnr_db is not None:
                raise InvalidArgumentError(
                    "target_bits, bits and target_sqnr_db: one of them is accepted"
                )

    def key(self) -> dict[str, Any]:
        """A JSON object that is different for different requests."""
        return {
            **dataclasses.asdict(self.trellis),
            "target_bits": self.target_bits,
            "embeddings": self.embeddings,
            "rules": [str(rule) for rule in self.rules],
            "sensitivity": self.sensitivity.key(),
        }


class Plan(NamedTuple):
    """The parameters of each tensor that is compressed, and the reason for each that is not.

    Attributes
    ----------
    compressed
        The codec's parameters for each tensor that is compressed.
    kept
        Why each other tensor is copied without compression.
    """

    compressed: Mapping[str, Trellis]
    kept: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The plan as a JSON object that :meth:`from_json` reads."""
        compressed = {name: dataclasses.asdict(t) for name, t in self.compressed.items()}
        return {"compressed": compressed, "kept": dict(self.kept)}

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> Plan:
        """A plan from the JSON object of :meth:`to_json`."""
        compressed = {name: Trellis(**said) for name, said in read["compressed"].items()}
        return cls(compressed, read["kept"])


def choices_of(
    source: Source, request: Request, tables: Mapping[str, Table | None] | None = None
) -> dict[str, Choice]:
    """Whether each tensor is compressed: by rules, by its name, and by its values.

    `tables` says which tensors are tables. If it is None, their names do.

    Raises
    ------
    InvalidArgumentError
        A rule that matches nothing.
    """
    choices = choose(source.entries, request.rules, request.embeddings, tables)
    for name, choice in choices.items():
        if choice == Choice(None, None):
            choices[name] = Choice(reason_to_keep(source, source.entries[name]), None)
    return choices


def make_plan(
    source: Source, request: Request, tables: Mapping[str, Table | None] | None = None
) -> Plan:
    """A plan for a model.

    Reads the beginning of each tensor to find masks. With `target_bits` also reads a sample of each
    tensor that is compressed.

    `tables` says which tensors are tables. If it is None, their names do.

    Raises
    ------
    InvalidArgumentError
        A rule that matches nothing; a `target_bits` that cannot be met; an entry of a compressed
        tensor that would have the name of another tensor.
    NonFiniteError
        A sampled weight is NaN or infinite.
    """
    choices = choices_of(source, request, tables)
    kept = {name: choice.kept for name, choice in choices.items() if choice.kept is not None}
    compressed = {
        name: _parameters(request.trellis, choice)
        for name, choice in choices.items()
        if choice.kept is None
    }
    refuse_taken(source.entries, compressed)
    if request.target_bits is not None and compressed:
        free = {n for n in compressed if not _has_a_rate(choices[n].rule)}
        if tables is None:
            tables = {name: table_by_name(name) for name in compressed}
        tokens = {name for name, table in tables.items() if table == "tokens"}
        compressed |= _spread(source, compressed, kept, free, request, tokens)
    return Plan(compressed, kept)


def _has_a_rate(rule: Rule | None) -> bool:
    return rule is not None and (rule.bits is not None or rule.target_sqnr_db is not None)


def _parameters(trellis: Trellis, choice: Choice) -> Trellis:
    rule = choice.rule
    if rule is None:
        return trellis
    changed = dataclasses.replace(trellis, effort=rule.effort or trellis.effort)
    if not _has_a_rate(rule):
        return changed
    return dataclasses.replace(changed, bits=rule.bits, target_sqnr_db=rule.target_sqnr_db)


def _spread(
    source: Source,
    compressed: Mapping[str, Trellis],
    kept: Iterable[str],
    free: set[str],
    request: Request,
    tokens: set[str],
) -> dict[str, Trellis]:
    """The parameters of the tensors without a fixed rate, so that the model takes `target_bits`."""
    target = request.target_bits
    assert target is not None
    looked_up = tokens if only_looked_up(source) else set()
    samples = {
        name: _sampled(source, name, trellis, request, name in looked_up)
        for name, trellis in compressed.items()
    }
    weights = sum(entry.size for entry in source.entries.values())
    budget = target * weights
    budget -= 8 * sum(source.entries[name].nbytes for name in kept)
    budget -= 8 * _beside(source, samples)
    for name, (curve, _) in samples.items():
        trellis = compressed[name]
        if name in free or curve is None:
            continue
        bits = trellis.bits
        if bits is None:
            bits = curve.bits_for(trellis.target_sqnr_db or 0.0)
        budget -= bits * curve.weights
    curves = {n: curve for n, (curve, _) in samples.items() if n in free and curve is not None}
    found = dict.fromkeys(free, LOWEST_RATE)
    if curves:
        coded = sum(curve.weights for curve in curves.values())
        least, most = (
            target + (bits * coded - budget) / weights for bits in (LOWEST_RATE, HIGHEST_RATE)
        )
        if not least <= target <= most:
            raise InvalidArgumentError(
                f"target_bits={target:g}: for this model {least:.2f} to {most:.2f} are accepted, "
                "tensors that are kept and everything stored beside the codes counted"
            )
        found |= zip(curves, spread(list(curves.values()), budget), strict=True)
    return {name: dataclasses.replace(compressed[name], bits=found[name]) for name in free}


def _sampled(
    source: Source, name: str, trellis: Trellis, request: Request, looked_up: bool
) -> tuple[Curve | None, int]:
    """The curve of a tensor, None if its sample is all zeros; and the bytes of its description."""
    entry = source.entries[name]
    target = request.target_bits or HIGHEST_RATE
    data, shape = _sample(source, entry)
    values = as_float32(data, entry.dtype)
    with np.errstate(over="ignore"):
        mean_square = float(np.mean(np.square(values, dtype=np.float64)))
    points = []
    c = None
    within = min(HIGHEST_RATE, max(LOWEST_RATE, target))
    for bits in (max(LOWEST_RATE, within - 1), min(HIGHEST_RATE, within + 1)):
        fast = dataclasses.replace(trellis, bits=bits, target_sqnr_db=None, effort="fast")
        try:
            code = fast.compress(flat_of(data, entry.dtype, shape), None)
        except HypercompError as error:
            raise named(error, name, " (a sample of its rows)") from None
        c = CompressedTensor._of(code, "numpy")
        points.append((c.bits_per_weight, c.sqnr_db))
    assert c is not None
    description = len(c.to_parts()[0]) + len(str(entry.size))
    if c.codec != "trellis" or not all(math.isfinite(decibels) for _, decibels in points):
        return None, description
    cost = request.sensitivity.of(name, mean_square, looked_up=looked_up)
    return line(entry.size, cost * mean_square * entry.size, *points), description


def _sample(source: Source, entry: Entry) -> tuple[npt.NDArray[np.uint8], tuple[int, ...]]:
    """The bytes of rows that are spread evenly over the first axis, and their shape."""
    length = entry.shape[0]
    row = entry.size // length
    count = min(length, max(1, _SAMPLE_WEIGHTS // row))
    step = length // count
    data = source.sample(entry.name, range(step // 2, length, step)[:count])
    if row <= _SAMPLE_WEIGHTS:
        return data, (count, *entry.shape[1:])
    # Of a very long row only the beginning is used.
    return data[: entry.nbytes // entry.size * _SAMPLE_WEIGHTS], (_SAMPLE_WEIGHTS // 1024, 1024)


def _beside(source: Source, samples: Mapping[str, tuple[Curve | None, int]]) -> int:
    """Bytes of headers and descriptions, less what the codec counts as its own header."""
    layout: dict[str, list[tuple[str, str, list[int]]]] = {}
    checksums: dict[str, dict[str, str]] = {}
    total = 0
    for name, entry in source.entries.items():
        here = layout.setdefault(entry.shard, [])
        sums = checksums.setdefault(entry.shard, {})
        if name not in samples:
            here.append((name, entry.dtype, list(entry.shape)))
            sums[name] = "0" * 8
            continue
        description = samples[name][1]
        sums[entry_name(name, DESCRIPTION)] = "0" * 8
        # The codec counts the header of its own stored form, which here is replaced by the
        # description.
        total += description - _STORED_HEADER_BYTES
        parts = {DESCRIPTION: description}
        parts |= dict.fromkeys(("path", "cells", "scales", "rates"), entry.size // 8)
        here += [(entry_name(name, part), "U8", [nbytes]) for part, nbytes in parts.items()]
    for shard, tensors in layout.items():
        said = json.dumps({"format": FORMAT, "crc32": checksums.get(shard, {})})
        metadata = {**source.metadata(shard), METADATA: said}
        total += len(_core.write_header(tensors, metadata)[0])
    return total


# Bytes that `nbytes` of a compressed tensor counts beside its parts: see docs/format.md.
_STORED_HEADER_BYTES = 38
