"""Models compressed in place, layer by layer, and back."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import nn

from .. import _arrays
from .._integers import checked_threads
from ..checkpoint.entries import named
from ..checkpoint.plan import Request, make_plan
from ..checkpoint.rules import Rule, choose, rules_of
from ..checkpoint.sensitivity import Sensitivity
from ..compress import Effort, Trellis
from ..errors import HypercompError
from ..tensor import CompressedTensor
from ._model_source import ModelSource
from .compressed_module import CompressedModule, buffers_of
from .modules import CompressedConv1d, CompressedConv2d, CompressedEmbedding, CompressedLinear
from .report import CompressedLayer, ModelReport, SkippedWeight

_CLASSES: tuple[type[CompressedModule], ...] = (
    CompressedLinear,
    CompressedEmbedding,
    CompressedConv1d,
    CompressedConv2d,
)


def classes() -> dict[type[nn.Module], type[CompressedModule]]:
    """The compressed class of each class of modules that has one."""
    found: dict[type[nn.Module], type[CompressedModule]] = {c.dense_class: c for c in _CLASSES}
    # GPT-2's layers, which are no module of torch.
    if "transformers.pytorch_utils" in sys.modules:
        from ._conv1d import CompressedConv1D

        found[CompressedConv1D.dense_class] = CompressedConv1D
    return found


class Owner(NamedTuple):
    """A module that has a parameter, and under which name."""

    module_name: str
    module: nn.Module
    parameter_name: str

    @property
    def name(self) -> str:
        """As the state dict has it."""
        return ".".join(filter(None, (self.module_name, self.parameter_name)))

    def refusal(self) -> str | None:
        """Why it cannot have a compressed weight, or None."""
        if isinstance(self.module, CompressedModule):
            return None
        compressed = classes().get(type(self.module))
        if compressed is None or self.parameter_name != "weight":
            return f"no compressed form of {type(self.module).__name__}.{self.parameter_name}"
        return compressed.refusal(self.module)


def owners(model: nn.Module) -> dict[int, list[Owner]]:
    """Who has each parameter: several where weights are tied. By the parameter's id."""
    found: dict[int, list[Owner]] = {}
    for module_name, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                found.setdefault(id(parameter), []).append(Owner(module_name, module, name))
    return found


class Candidate(NamedTuple):
    """A weight that can be compressed, and who has it."""

    name: str
    weight: nn.Parameter
    owners: list[Owner]


def _candidates(
    model: nn.Module, rules: tuple[Rule, ...]
) -> tuple[list[Candidate], list[SkippedWeight]]:
    candidates, skipped = [], []
    for group in owners(model).values():
        weight = cast(nn.Parameter, group[0].module._parameters[group[0].parameter_name])
        if weight.dim() < 2:
            continue
        name = _known_to_rules(group, rules)
        whys = [why for owner in group if (why := owner.refusal()) is not None]
        if weight.is_meta:
            whys.append("on the meta device, where it has no values")
        if whys:
            skipped.append(SkippedWeight(name, tuple(weight.shape), whys[0]))
        else:
            candidates.append(Candidate(name, weight, group))
    return candidates, skipped


def _known_to_rules(group: list[Owner], rules: tuple[Rule, ...]) -> str:
    """Of the names of tied weights the one that the first rule is about."""
    for rule in rules:
        for owner in group:
            if rule.matches(owner.name):
                return owner.name
    return group[0].name


def compress_model(
    model: nn.Module,
    *,
    target_bits: float | None = None,
    bits: float | None = None,
    target_sqnr_db: float | None = None,
    effort: Effort = "balanced",
    sparsity: Literal["keep"] | None = None,
    incoherence: Literal["hadamard", "none"] = "hadamard",
    seed: int = 0,
    embeddings: Literal["compress", "keep"] = "compress",
    rules: Iterable[str | Rule] = (),
    sensitivity: Mapping[str, float] | str | Path | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> ModelReport:
    """Compress the weights of a model's layers, in place and one after the other.

    Parameters
    ----------
    model
        Any module. ``nn.Linear``, ``nn.Embedding``, ``nn.Conv1d`` and ``nn.Conv2d`` in it (and
        transformers' ``Conv1D``) become :class:`CompressedLinear` and so on: the same objects, so
        hooks, training flags and whoever refers to them stay. Tied weights stay tied.
    target_bits
        Bits a weight of all that is compressed together, 4 by default: spread over the layers by
        equal slope, so that nothing is gained by taking a bit from one and giving it to another.
    bits, target_sqnr_db, effort, sparsity, incoherence, seed
        Instead, the same for each layer; as for :func:`hypercomp_rs.compress_tensor`.
    embeddings
        "keep" leaves tables of tokens as they are.
    rules
        For weights whose names match a pattern, see :class:`hypercomp_rs.checkpoint.Rule`:
        ``"*.attn.*=bits:5"``, ``"lm_head=keep"``. The first that matches wins. Weights of fewer
        than 4096 elements are always kept; position and token type embeddings and experts' routers
        are unless a rule names them.
    sensitivity
        What errors cost, see :class:`hypercomp_rs.checkpoint.Sensitivity`.
    threads
        Threads of each search; None for one a core.
    progress
        Whether a bar is shown, where the error output is a terminal and rich is installed.

    Returns
    -------
    ModelReport
        What was compressed to what, and what was not and why.

    Raises
    ------
    InvalidArgumentError
        An argument outside what is accepted, or a rule that matches nothing.
    NonFiniteError
        A weight is NaN or infinite; the message names layer and index. Layers before it stay
        compressed, as they do after Ctrl-C.

    Notes
    -----
    Memory: one layer's weights beside the model, which shrinks as it goes.

    Examples
    --------
    >>> import torch, hypercomp_rs.torch as hct
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(512, 512), torch.nn.ReLU(), torch.nn.Linear(512, 256)
    ... )
    >>> report = hct.compress_model(model, bits=4)
    >>> [(layer.name, round(layer.bits_per_weight, 1)) for layer in report.layers]
    [('0.weight', 4.0), ('2.weight', 4.0)]
    >>> print(str(report).splitlines()[-1])
    2 weights compressed, 4.00 bits a weight, 1.6 MB in 0.2 MB
    """
    threads = checked_threads(threads)
    if bits is None and target_sqnr_db is None and target_bits is None:
        target_bits = 4
    trellis = Trellis(
        bits=bits,
        target_sqnr_db=target_sqnr_db,
        effort=effort,
        sparsity=sparsity,
        incoherence=incoherence,
        seed=seed,
    )
    request = Request(trellis, target_bits, embeddings, rules_of(rules), Sensitivity(sensitivity))
    candidates, skipped = _candidates(model, request.rules)
    plan, kept = _planned(candidates, request)
    skipped += kept
    layers = []
    # Taken off the list one by one: nothing but the model must hold on to a dense weight.
    waiting = deque(candidate for candidate in candidates if candidate.name in plan)
    del candidates
    with _Bar(progress, sum(candidate.weight.numel() for candidate in waiting)) as bar:
        while waiting:
            layer = _compress(waiting[0], plan[waiting[0].name], threads)
            layers.append(layer)
            bar.advance(waiting.popleft().weight.numel())
    if "transformers" in sys.modules:
        from .transformers import mark_compressed

        mark_compressed(model, request)
    return ModelReport(tuple(layers), tuple(skipped))


def _planned(
    candidates: list[Candidate], request: Request
) -> tuple[Mapping[str, Trellis], list[SkippedWeight]]:
    weights = {candidate.name: candidate.weight for candidate in candidates}
    entries = ModelSource(weights).entries
    kept = {
        name: choice.kept
        for name, choice in choose(entries, request.rules, request.embeddings).items()
        if choice.kept is not None
    }
    rest = {name: weight for name, weight in weights.items() if name not in kept}
    # Rules for what is kept have been heard.
    rules = tuple(rule for rule in request.rules if any(map(rule.matches, rest)))
    plan = make_plan(
        ModelSource(rest),
        Request(
            request.trellis,
            request.target_bits,
            request.embeddings,
            rules,
            request.sensitivity,
        ),
    )
    skipped = [SkippedWeight(n, tuple(weights[n].shape), why) for n, why in kept.items()]
    return plan.compressed, skipped


def _compress(candidate: Candidate, trellis: Trellis, threads: int | None) -> CompressedLayer:
    name, weight, group = candidate
    try:
        flat = _arrays.flatten(weight.detach())
        compressed = CompressedTensor._of(trellis.compress(flat, threads), "torch")
    except HypercompError as error:
        raise named(error, name) from None
    install(*buffers_of(compressed, weight.device), group)
    return CompressedLayer(
        name,
        tuple(weight.shape),
        compressed.nbytes,
        weight.numel() * weight.element_size(),
        compressed.sqnr_db,
    )


def install(description: str, buffers: list[torch.Tensor], group: list[Owner]) -> None:
    """Give a weight to the modules that have it."""
    first, *others = group
    classes()[type(first.module)].replace(first.module, description, buffers)
    for other in others:
        classes()[type(other.module)].tie(other.module, cast(CompressedModule, first.module))


def compressed_modules(model: nn.Module) -> Iterator[tuple[str, CompressedModule]]:
    """The compressed modules of a model by name."""
    for name, module in model.named_modules():
        if isinstance(module, CompressedModule):
            yield name, module


def decompress_model(model: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """Make a model dense again, in place and one layer after the other.

    Parameters
    ----------
    model
        What :func:`compress_model` was applied to, or what was loaded from compressed weights.
    dtype
        Of the decoded weights; by default what the model had, or has been cast to.

    Returns
    -------
    torch.nn.Module
        `model`. Its layers are torch's own; their weights are parameters, as trainable as they
        were; tied ones are tied.

    Examples
    --------
    >>> import torch, hypercomp_rs.torch as hct
    >>> model = torch.nn.Sequential(torch.nn.Linear(512, 512))
    >>> _ = hct.compress_model(model)
    >>> hct.decompress_model(model)
    Sequential(
      (0): Linear(in_features=512, out_features=512, bias=True)
    )
    """
    decoded: dict[int, nn.Parameter] = {}
    for _, module in list(compressed_modules(model)):
        key = id(module.weight_buffers()[0])
        decoded[key] = module.decompress(decoded.get(key), dtype)
    if "transformers" in sys.modules:
        from .transformers import unmark_compressed

        unmark_compressed(model)
    return model


class _Bar:
    """A bar of weights, where there is somebody to see it."""

    def __init__(self, wanted: bool, weights: int) -> None:
        self._progress: Any = None
        if not (wanted and weights and sys.stderr.isatty()):
            return
        try:
            from rich.console import Console
            from rich.progress import Progress
        except ImportError:
            return
        self._progress = Progress(console=Console(stderr=True))
        self._task = self._progress.add_task("compressing", total=weights)

    def __enter__(self) -> _Bar:
        if self._progress is not None:
            self._progress.start()
        return self

    def advance(self, weights: int) -> None:
        """So many more are done."""
        if self._progress is not None:
            self._progress.advance(self._task, weights)

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()
