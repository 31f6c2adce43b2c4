"""``compress_model`` and ``decompress_model``: models in memory, in place, layer by layer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from .._integers import checked_threads
from ..checkpoint.entries import named
from ..checkpoint.plan import Request, choices_of, make_plan
from ..checkpoint.rules import Rule, Table, rules_of
from ..checkpoint.sensitivity import Sensitivity
from ..compress import Effort, Layout, Trellis
from ..errors import HypercompError, InvalidArgumentError
from ..tensor import CompressedTensor
from . import _integrations
from ._bar import Bar
from ._model_source import ModelSource
from .calibrated import calibrated, code_of, layer_of, moments_nbytes, why_not
from .calibration import Calibration
from .calibration_statistics import CalibrationStatistics
from .compressed_module import CompressedModule, buffers_of
from .experts import put_dense_together
from .experts_in_models import ExpertsApart
from .owners import Candidate, compressed_modules, find_candidates, install
from .report import CompressedLayer, ModelReport, SkippedWeight
from .tables import tables_of


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
    layout: Layout = "chains",
    embeddings: Literal["compress", "keep"] = "compress",
    rules: Iterable[str | Rule] = (),
    sensitivity: Mapping[str, float] | str | Path | None = None,
    calibration: Iterable[Any] | CalibrationStatistics | None = None,
    calibration_nbytes: int | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> ModelReport:
    """Compress the weights of a model's layers, in place and one after the other.

    Parameters
    ----------
    model
        Any module. The layers ``nn.Linear``, ``nn.Embedding``, ``nn.Conv1d`` and ``nn.Conv2d`` in
        it (and transformers' ``Conv1D``) become :class:`CompressedLinear` and so on. They stay the
        same objects, so hooks, training flags and references to them stay. Tied weights stay tied.
        Fused experts of transformers are taken apart into layers for each expert: see
        :class:`CompressedExperts`.
    target_bits
        Mean bits per weight over all compressed layers; 4 by default. Bits are spread over the
        layers by equal slope: moving bits from one layer to another would not lower the total
        error. Among calibrated layers, if no `sensitivity` is given, the error that counts is that
        of the model's output.
    bits, target_sqnr_db, effort, sparsity, incoherence, seed, layout
        Instead, the same for each layer; as for :func:`hypercomp_rs.compress_tensor`.
    embeddings
        "keep" leaves tables of tokens dense. These are all ``nn.Embedding`` but those of positions
        and of token types, whatever their names, also if the last layer has the same weight.
    rules
        For weights whose names match a pattern, see :class:`hypercomp_rs.checkpoint.Rule`:
        ``"*.attn.*=bits:5"``, ``"lm_head=keep"``. The first rule that matches applies. Weights of
        fewer than 4096 elements are always kept dense. Embeddings of positions and token types, and
        routers of experts, are kept dense unless a rule names them. An embedding of positions is
        recognised by its name, or by a length that the configuration uses only for positions.
    sensitivity
        How much errors in each weight cost, see :class:`hypercomp_rs.checkpoint.Sensitivity`.
    calibration
        Batches of typical inputs. Each is a tensor, a tuple of arguments, or a mapping of keyword
        arguments such as a tokenizer returns (or the input of a sentence encoder). The model is run
        on them, and the codes of linear layers are chosen for the errors of the layers' outputs
        (:func:`hypercomp_rs.compress_tensor`, ``second_moment``). A list, a loader, or another
        iterable that can be read several times; an iterator is made a list. An ``attention_mask``
        of shape (batch, length) excludes padding from inputs of shape (batch, length, ...).
        :class:`CalibrationStatistics` keep what is measured, for several rates. Each of
        `report.layers` says whether it was `calibrated`. The others are compressed as without
        calibration, and their `note` says why: the layer got no input, as an expert that no token
        is sent to; or it is no linear layer; or it shares its weight with another kind of layer.
    calibration_nbytes
        The most bytes that second moments may take at one time. A layer needs 4 · inputs² bytes.
        Layers that do not fit are calibrated in further passes over the batches. As many bytes of
        activations are kept for gradients (`target_bits`); where they need more, the backward pass
        computes the model's blocks anew (gradient checkpointing). By default a quarter of the
        model's size, and at least a gibibyte.
    threads
        Number of threads; None for one per core. The codes do not depend on it.
    progress
        Whether to show a bar. It needs rich, and a terminal as error output.

    Returns
    -------
    ModelReport
        The size and error of each compressed weight, and why others were not compressed.

    Raises
    ------
    InvalidArgumentError
        An argument that is not accepted, or a rule that matches no weight; no batch to calibrate
        with, or a batch that the model does not accept. The model is unchanged.
    NonFiniteError
        A weight is NaN or infinite; the message names layer and index. Or an input of a layer in
        calibration is; the message names layer and batch. Layers that were finished before stay
        compressed, as they do after Ctrl-C.

    Notes
    -----
    Memory: the weights of one layer, beside the model, which shrinks meanwhile. With calibration
    also `calibration_nbytes`, the activations of one batch (with `target_bits` `calibration_nbytes`
    more, or those that one block keeps for gradients), and for each thread a layer's weights and
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
        layout=layout,
    )
    request = Request(trellis, target_bits, embeddings, rules_of(rules), Sensitivity(sensitivity))
    if calibration is not None and (sparsity is not None or target_sqnr_db is not None):
        raise InvalidArgumentError(
            "calibration with sparsity or target_sqnr_db: bits and target_bits are accepted"
        )
    with ExpertsApart(model) as experts:
        candidates, skipped = find_candidates(model, request.rules)
        plan, kept = _planned(candidates, request, tables_of(model, candidates))
        skipped = experts.settle(candidates, plan, skipped + kept)
    # Candidates are removed from the list one by one, so that only the model refers to a dense
    # weight.
    waiting = deque((c, plan[c.name]) for c in candidates if c.name in plan)
    del candidates
    order = [candidate.name for candidate, _ in waiting]
    done: dict[str, CompressedLayer] = {}
    notes: dict[str, str] = {}
    with Bar(progress, sum(candidate.weight.numel() for candidate, _ in waiting)) as bar:
        if calibration is not None:
            jobs = {c.name: (c, trellis) for c, trellis in waiting if layer_of(c, trellis)}
            waiting = deque(job for job in waiting if job[0].name not in jobs)
            notes |= {c.name: why_not(c, trellis) for c, trellis in waiting}
            # `target_bits` are spread over calibrated layers by the error of the model's output,
            # except for layers to which a rule gives a rate.
            free = set(jobs) if target_bits is not None and sensitivity is None else set()
            free -= {name for name in free if _has_a_rate(name, request.rules)}
            most = moments_nbytes(model, calibration_nbytes)
            # Closed, so that searches end with this block, whatever error ends it.
            statistics = None
            if isinstance(calibration, CalibrationStatistics):
                statistics, calibration = calibration, calibration.batches
            with closing(
                calibrated(
                    Calibration(model, calibration), jobs, free, most, threads, notes, statistics
                )
            ) as codes:
                for candidate, compressed in codes:
                    done[candidate.name] = _install(
                        candidate, compressed, notes.get(candidate.name, ""), calibrated=True
                    )
                    bar.advance(candidate.weight.numel())
            waiting.extend(jobs.values())
            del jobs
        while waiting:
            candidate, trellis = waiting.popleft()
            compressed = code_of(candidate, trellis, threads)
            done[candidate.name] = _install(candidate, compressed, notes.get(candidate.name, ""))
            bar.advance(candidate.weight.numel())
    _integrations.model_compressed(model, request)
    return ModelReport(tuple(done[name] for name in order), tuple(skipped))


def _planned(
    candidates: list[Candidate], request: Request, tables: Mapping[str, Table | None]
) -> tuple[Mapping[str, Trellis], list[SkippedWeight]]:
    weights = {candidate.name: candidate.weight for candidate in candidates}
    kept = {
        name: choice.kept
        for name, choice in choices_of(ModelSource(weights), request, tables).items()
        if choice.kept is not None
    }
    rest = {name: weight for name, weight in weights.items() if name not in kept}
    # Rules that match only weights that are kept have been applied above.
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
        tables,
    )
    skipped = [SkippedWeight(n, tuple(weights[n].shape), why) for n, why in kept.items()]
    return plan.compressed, skipped


def _has_a_rate(name: str, rules: tuple[Rule, ...]) -> bool:
    rule = next((rule for rule in rules if rule.matches(name)), None)
    return rule is not None and (rule.bits is not None or rule.target_sqnr_db is not None)


def _install(
    candidate: Candidate, compressed: CompressedTensor, note: str, *, calibrated: bool = False
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
        note,
    )


def decompress_model(model: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """Make a model dense again, in place and one layer after the other.

    Parameters
    ----------
    model
        A model that :func:`compress_model` was applied to, or that was loaded from compressed
        weights. Or a part of one, such as ``model.lm_head``: then the rest stays compressed, except
        for weights that are tied to those of the part. Adapters of peft stay, and can be merged
        afterwards.
    dtype
        Of the decoded weights; by default that of the model.

    Returns
    -------
    torch.nn.Module
        `model`. Its layers are torch's own. Their weights are parameters, trainable if they were
        before, and tied if they were before.

    Raises
    ------
    FormatError
        Codes are damaged; the message names the layer. The model is unchanged.

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
    modules = list(compressed_modules(model))
    for name, module in modules:
        try:
            module.check()
        except HypercompError as error:
            raise named(error, f"{name}.weight") from None
    for _, module in modules:
        # A module may have become dense already, with one that it is tied to.
        if isinstance(module, CompressedModule):
            module.decompress_tied(dtype)
    put_dense_together(model.modules())
    _integrations.model_decompressed(model)
    return model
