"""Models compressed in place, layer by layer, and back."""

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
from ..compress import Effort, Trellis
from ..errors import HypercompError, InvalidArgumentError
from ..tensor import CompressedTensor
from ._bar import Bar
from ._model_source import ModelSource
from ._with_transformers import transformers_knows
from .calibrated import calibrated, code_of, layer_of, moments_nbytes, why_not
from .calibration import Calibration
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
        hooks, training flags and whoever refers to them stay. Tied weights stay tied. Fused
        experts of transformers are taken apart into layers for each expert: see
        :class:`CompressedExperts`.
    target_bits
        Bits a weight of all that is compressed together, 4 by default: spread over the layers by
        equal slope, so that nothing is gained by taking a bit from one and giving it to another.
        Among calibrated layers, if no `sensitivity` is given, by what errors in each do to the
        model's output.
    bits, target_sqnr_db, effort, sparsity, incoherence, seed
        Instead, the same for each layer; as for :func:`hypercomp_rs.compress_tensor`.
    embeddings
        "keep" leaves tables of tokens as they are: every ``nn.Embedding`` but those of positions
        and token types, whatever its name, and also where it is the last layer's weight too.
    rules
        For weights whose names match a pattern, see :class:`hypercomp_rs.checkpoint.Rule`:
        ``"*.attn.*=bits:5"``, ``"lm_head=keep"``. The first that matches wins. Weights of fewer
        than 4096 elements are always kept; position and token type embeddings and experts' routers
        are unless a rule names them. What is a position is told by its name, or by a length that
        the configuration gives to positions alone.
    sensitivity
        What errors cost, see :class:`hypercomp_rs.checkpoint.Sensitivity`.
    calibration
        Batches of what the model is used for: each a tensor, a tuple of arguments, or a mapping of
        keyword arguments such as a tokenizer gives (or of what a sentence encoder takes). The model
        is run on them, and the codes of linear layers are chosen for the errors of their outputs
        there (:func:`hypercomp_rs.compress_tensor`, ``second_moment``). A list, a loader, or
        anything that can be gone through several times; an iterator is made a list. An
        ``attention_mask`` of (batch, length) keeps padding out of inputs (batch, length, ...). Each
        of `report.layers` says whether it was `calibrated`. Others are compressed as they are
        without calibration, and their `note` says why: no vector came to them, as to an expert that
        no token is sent to, or they are no linear layers, or share their weight with one that is
        none.
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
    with ExpertsApart(model) as experts:
        candidates, skipped = find_candidates(model, request.rules)
        plan, kept = _planned(candidates, request, tables_of(model, candidates))
        skipped = experts.settle(candidates, plan, skipped + kept)
    # Taken off the list one by one: nothing but the model must hold on to a dense weight.
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
            # Bits that were asked for the whole go where they help, unless they were told where.
            free = set(jobs) if target_bits is not None and sensitivity is None else set()
            free -= {name for name in free if _has_a_rate(name, request.rules)}
            most = moments_nbytes(model, calibration_nbytes)
            # Closed, for searches to end where this does, by whatever error.
            with closing(
                calibrated(Calibration(model, calibration), jobs, free, most, threads, notes)
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
    if transformers_knows():
        from .transformers import mark_compressed

        mark_compressed(model, request)
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
        What :func:`compress_model` was applied to, or what was loaded from compressed weights. Or a
        part of it, ``model.lm_head``: then the rest stays compressed, but for weights that are tied
        to the part's. Adapters of peft around its layers stay, and can be merged afterwards.
    dtype
        Of the decoded weights; by default what the model had, or has been cast to.

    Returns
    -------
    torch.nn.Module
        `model`. Its layers are torch's own; their weights are parameters, as trainable as they
        were; tied ones are tied.

    Raises
    ------
    FormatError
        Codes that are damaged; the message names the layer. The model is as it was.

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
        # With another that it is tied to, it has become dense.
        if isinstance(module, CompressedModule):
            module.decompress_tied(dtype)
    put_dense_together(model.modules())
    if transformers_knows():
        from .transformers import unmark_compressed

        unmark_compressed(model)
    return model
