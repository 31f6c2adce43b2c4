"""Models compressed in place, layer by layer, and back."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import nn

from .. import _arrays
from .._core import Control
from .._integers import checked, checked_threads
from ..checkpoint.entries import named
from ..checkpoint.plan import Request, make_plan
from ..checkpoint.rules import Rule, choose, rules_of
from ..checkpoint.sensitivity import Sensitivity
from ..compress import Effort, Inputs, Trellis
from ..errors import HypercompError, InvalidArgumentError
from ..tensor import CompressedTensor
from ._bar import Bar
from ._model_source import ModelSource
from .calibration import Calibration, Layer, Site
from .compressed_module import CompressedModule, buffers_of
from .modules import CompressedConv1d, CompressedConv2d, CompressedEmbedding, CompressedLinear
from .report import CompressedLayer, ModelReport, SkippedWeight

# Of a second moment's diagonal, in parts of its mean: inputs vary more than the samples showed.
DAMPING = 0.01

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


Job = tuple[Candidate, Trellis]


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
    calibration: Iterable[Any] | None = None,
    calibration_nbytes: int | None = None,
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
    calibration
        Batches of what the model is used for: each a tensor, a tuple of arguments, or a mapping of
        keyword arguments such as a tokenizer gives (or of what a sentence encoder takes). The model
        is run on them, and the codes of linear layers are chosen for the errors of their outputs
        there (:func:`hypercomp_rs.compress_tensor`, ``second_moment``). A list, a loader, or
        anything that can be gone through several times; an iterator is made a list. An
        ``attention_mask`` of (batch, length) keeps padding out of inputs (batch, length, ...). Each
        of `report.layers` says whether it was `calibrated`: others were not called, or are no
        linear layers, or share their weight with one that is none.
    calibration_nbytes
        The most that second moments may take at one time, inputs² numbers of 4 bytes for what each
        layer gets; layers for which there is no room are calibrated in a further pass. By default a
        quarter of the model, and at least a gibibyte.
    threads
        Threads to search with; None for one a core. The codes do not depend on it.
    progress
        Whether a bar is shown, where the error output is a terminal and rich is installed.

    Returns
    -------
    ModelReport
        What was compressed to what, and what was not and why.

    Raises
    ------
    InvalidArgumentError
        An argument outside what is accepted, or a rule that matches nothing; no batches to
        calibrate with, or one that the model does not take. The model is as it was.
    NonFiniteError
        A weight is NaN or infinite; the message names layer and index. Layers before it stay
        compressed, as they do after Ctrl-C. An input of a layer is, in calibration: the message
        names layer and batch.

    Notes
    -----
    Memory: one layer's weights beside the model, which shrinks as it goes. Calibrated, what
    `calibration_nbytes` says, one batch's activations, and for each thread the layer's weights and
    twice its second moment in float64.

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
    if calibration is not None and (sparsity is not None or target_sqnr_db is not None):
        raise InvalidArgumentError(
            "calibration with sparsity or target_sqnr_db: bits and target_bits are accepted"
        )
    candidates, skipped = _candidates(model, request.rules)
    plan, kept = _planned(candidates, request)
    skipped += kept
    # Taken off the list one by one: nothing but the model must hold on to a dense weight.
    waiting = deque((c, plan[c.name]) for c in candidates if c.name in plan)
    del candidates
    order = [candidate.name for candidate, _ in waiting]
    done: dict[str, CompressedLayer] = {}
    with Bar(progress, sum(candidate.weight.numel() for candidate, _ in waiting)) as bar:
        if calibration is not None:
            most = _moments_nbytes(model, calibration_nbytes)
            jobs = {c.name: (c, trellis) for c, trellis in waiting if _layer(c, trellis)}
            waiting = deque(job for job in waiting if job[0].name not in jobs)
            for candidate, compressed in _calibrated(
                Calibration(model, calibration), jobs, most, threads
            ):
                done[candidate.name] = _install(candidate, compressed, calibrated=True)
                bar.advance(candidate.weight.numel())
            waiting.extend(jobs.values())
            del jobs
        while waiting:
            candidate, trellis = waiting.popleft()
            done[candidate.name] = _install(candidate, _code(candidate, trellis, threads))
            bar.advance(candidate.weight.numel())
    if "transformers" in sys.modules:
        from .transformers import mark_compressed

        mark_compressed(model, request)
    return ModelReport(tuple(done[name] for name in order), tuple(skipped))


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


def _layer(candidate: Candidate, trellis: Trellis) -> Layer | None:
    """The linear layer, or several, that a weight is of and nothing else; None where it is not."""
    axes = {classes()[type(owner.module)].input_axis for owner in candidate.owners}
    if len(axes) > 1 or (axis := axes.pop()) is None or trellis.target_sqnr_db is not None:
        return None
    modules = tuple(owner.module for owner in candidate.owners)
    return Layer(candidate.name, candidate.weight.shape[axis], modules)


def _moments_nbytes(model: nn.Module, asked: int | None) -> int:
    if asked is not None:
        return checked("calibration_nbytes", asked, 0, 2**63 - 1)
    nbytes: int = sum(p.numel() * p.element_size() for p in model.parameters())
    return max(1 << 30, nbytes // 4)


def _calibrated(
    calibration: Calibration, jobs: dict[str, Job], most: int, threads: int | None
) -> Iterator[tuple[Candidate, CompressedTensor]]:
    """The weights of the layers that are called, pass by pass, each to be installed when it comes.

    They are taken out of `jobs`.
    """
    layers = [layer for job in jobs.values() if (layer := _layer(*job)) is not None]
    sites = calibration.sites(layers)
    while sites:
        now = [sites.popleft()]
        while sites and sum(site.nbytes for site in (*now, sites[0])) <= most:
            now.append(sites.popleft())
        calibration.collect(now)
        for site in now:
            if site.apart:
                sites.extend(Site([layer]) for layer in site.layers)
        work = [
            (jobs.pop(layer.name), site)
            for site in now
            if site.vectors and not site.apart
            for layer in site.layers
        ]
        # Each second moment goes when the last layer has used it.
        del now, site
        yield from _side_by_side(work, threads)


def _side_by_side(
    work: list[tuple[Job, Site]], threads: int | None
) -> Iterator[tuple[Candidate, CompressedTensor]]:
    """Several searches at a time, for each has one thread; results in their order."""
    threads = threads or os.cpu_count() or 1
    workers = max(1, min(threads, len(work)))
    control = Control()
    with ThreadPoolExecutor(workers, "hypercomp-layer") as executor:
        futures = deque(
            executor.submit(_calibrated_code, job, site, threads // workers, control)
            for job, site in work
        )
        waiting = deque(job[0] for job, _ in work)
        work.clear()
        try:
            while futures:
                yield waiting.popleft(), futures.popleft().result()
        except BaseException:
            control.cancel()
            executor.shutdown(cancel_futures=True)
            raise


def _calibrated_code(job: Job, site: Site, threads: int, control: Control) -> CompressedTensor:
    candidate, trellis = job
    axis = classes()[type(candidate.owners[0].module)].input_axis
    moment = site.second_moment()
    assert axis is not None
    assert moment is not None
    inputs = Inputs.of(moment, DAMPING, axis, tuple(candidate.weight.shape))
    return _code(candidate, trellis, threads, control, inputs)


def _code(
    candidate: Candidate,
    trellis: Trellis,
    threads: int | None,
    control: Control | None = None,
    inputs: Inputs | None = None,
) -> CompressedTensor:
    try:
        flat = _arrays.flatten(candidate.weight.detach())
        return CompressedTensor._of(trellis.compress(flat, threads, control, inputs), "torch")
    except HypercompError as error:
        raise named(error, candidate.name) from None


def _install(
    candidate: Candidate, compressed: CompressedTensor, *, calibrated: bool = False
) -> CompressedLayer:
    name, weight, group = candidate
    install(*buffers_of(compressed, weight.device), group)
    return CompressedLayer(
        name,
        tuple(weight.shape),
        compressed.nbytes,
        weight.numel() * weight.element_size(),
        compressed.sqnr_db,
        calibrated,
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
