"""A model's files compressed tensor by tensor, in bounded memory, resumable at any moment."""

from __future__ import annotations

import concurrent.futures
import importlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .._extras import imported
from .._integers import checked_threads
from ..compress import Effort, Layout, Trellis
from ..errors import InvalidArgumentError, SourceWarning
from . import configuration, folder
from .calibration_text import CalibrationText
from .entries import refuse_undescribed
from .load_guard import QUANTIZATION, guarded
from .opening import open_source
from .plan import Plan, Request, make_plan
from .reuse import take_over
from .rules import Rule, rules_of
from .run import Progress, Run
from .sensitivity import Sensitivity
from .shards import Shards
from .slices import SlicedExperts
from .source import Source
from .work import Work

if TYPE_CHECKING:
    from .checkpoint import Checkpoint


def compress_checkpoint(
    src: str | os.PathLike[str] | Source,
    dst: str | os.PathLike[str],
    *,
    bits: float | None = None,
    target_bits: float | None = None,
    target_sqnr_db: float | None = None,
    effort: Effort = "balanced",
    sparsity: Literal["keep"] | None = None,
    incoherence: Literal["hadamard", "none"] = "hadamard",
    seed: int = 0,
    layout: Layout = "chains",
    embeddings: Literal["compress", "keep"] = "compress",
    rules: Iterable[str | Rule] = (),
    sensitivity: Mapping[str, float] | str | Path | None = None,
    calibration: CalibrationText | str | os.PathLike[str] | Sequence[Sequence[int]] | None = None,
    executor: concurrent.futures.Executor | None = None,
    threads: int | None = None,
    restart: bool = False,
    copy_all: bool = False,
    follow: Callable[[Progress], None] | None = None,
) -> Checkpoint:
    """Compress a model's folder of safetensors files into a folder of the same shards, smaller.

    Parameters
    ----------
    src
        A folder, a file or an index, see :func:`open_source`; or a :class:`Source`.
    dst
        The folder to make. It must be empty or not exist; links are followed. It gets shards with
        the names of the source's, an index if the source has one, and copies of the source's other
        files except the same weights in other formats. ``config.json`` gets a
        ``quantization_config``.
    bits, target_sqnr_db, effort, sparsity, incoherence, seed, layout
        For each tensor, as for :func:`compress_tensor`.
    target_bits
        Instead of `bits`: bits per weight of the whole model. Everything counts, also tensors that
        are not compressed. Bits are spread over the tensors by equal slope. The result is within
        0.01 of the target if tensors have 10⁵ weights or more.
    embeddings
        "keep" copies tables of tokens without compression.
    rules
        For tensors whose names match a pattern, see :class:`Rule`: ``"*.attn.*=bits:5"``,
        ``"lm_head=keep"``. The first rule that matches applies. Tensors of fewer than two axes, of
        fewer than 4096 weights, or of another dtype than float16, bfloat16, float32 and float64 are
        always copied without compression. Unless a rule names them, so are embeddings of positions
        and token types, experts' routers, the state of state-space models, masks (tensors of two
        values) and scales of other quantisers.
    sensitivity
        The cost of errors in each tensor, by which `target_bits` are spread: see
        :class:`Sensitivity`.
    calibration
        A text that the model's layers are calibrated with, see :class:`CalibrationText`; or its
        path; or samples, each a sequence of tokens. The model is a folder of transformers that has
        one list of blocks, as decoders and encoders have. It is loaded and run block by block, so
        it may be larger than the memory. Codes of the linear layers are chosen for the errors of
        the layers' outputs. A block is calibrated on what the compressed blocks before it give.
        `target_bits` are spread by the errors of the weights, as without calibration.
    executor
        Compresses tensors on this ``concurrent.futures.Executor``, with one thread for each job.
        Its workers must see `src` and `dst` by the same paths. By default, threads of this process
        are used, and reading, search and writing overlap.
    threads
        Threads of each search. None means one per core, or one thread on the caller's executor.
    restart
        Delete what an interrupted run with the same `dst` has left. This is not necessary for a run
        of the same source with other parameters: finished tensors whose own parameters are the same
        are used.
    copy_all
        Copy all other files, including the same weights in other formats.
    follow
        Called several times a second with a :class:`Progress`.

    Returns
    -------
    Checkpoint
        The compressed model. Its `report` says which other files were copied, and how many tensors
        an interrupted run had finished. The bytes do not depend on threads, on the executor, or on
        how often the run was interrupted.

    Warns
    -----
    SourceWarning
        Tensors of the source are left out, or have other names than in transformers.

    Raises
    ------
    InvalidArgumentError
        An argument that is not accepted, a rule that matches nothing, a source that is compressed
        already, a destination that exists.
    FormatError
        A file of the source is damaged; the message says where.
    NonFiniteError
        A weight is NaN or infinite. The message names tensor and index, and the rule that keeps the
        tensor without compression. With this rule the same call continues from here.
    OSError
        The system failed, for instance because the disk is full. What is finished is kept.

    Notes
    -----
    Memory: 2.5 times the largest tensor and some tens of megabytes, whatever the size of the model;
    with `calibration` its `memory`, if that is more.
    Disk: the result, and one shard of it once more. A tensor that is finished is on the disk for
    good (fsync, rename) in ``DST.partial``; a run that was killed at any moment goes on from there
    when it is called again. Where `dst` is an empty folder that is ``DST/.partial``, and the files
    are moved up one by one at the end, the index and ``config.json`` last.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile
    >>> from safetensors.numpy import save_file
    >>> from hypercomp_rs.checkpoint import compress_checkpoint
    >>> place = pathlib.Path(tempfile.mkdtemp())
    >>> w = np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32)
    >>> save_file({"a.weight": w, "a.bias": w[0]}, place / "model.safetensors")
    >>> with compress_checkpoint(place / "model.safetensors", place / "small", bits=4) as small:
    ...     small["a.weight"]
    CompressedTensor(shape=(512, 512), dtype=float32, codec=trellis, 3.999 bits a weight, 23.47 dB)
    """
    from .checkpoint import Checkpoint

    threads = checked_threads(threads)
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
    text = None if calibration is None else CalibrationText.of(calibration)
    if text is not None:
        _refuse_with_calibration(trellis, executor)
    source = src if isinstance(src, Source) else open_source(os.fspath(src))
    for note in source.notes():
        warnings.warn(note, SourceWarning, stacklevel=2)
    _refuse_compressed(source)
    if not source.entries:
        raise InvalidArgumentError(f"{source.path}: a model without tensors")
    source = SlicedExperts.of(source, request.rules)
    folder.refuse_inside(Path(dst), source)
    with Work(Path(dst)) as work:
        said = {"asked": request.key(), "source": source.fingerprint()}
        calibrated = None
        if text is not None:
            calibrated = _blockwise(source, text)
            said["calibration"] = calibrated.key()
        key = json.loads(json.dumps(said))
        # What a calibrated tensor is depends on those before it, so none serves another request.
        stored = work.begin(key, restart=restart, replan=calibrated is None)
        report = folder.report_on(source, copy_all=copy_all)
        if not work.finished:
            if stored is None:

                def planned() -> dict[str, Any]:
                    plan = make_plan(source, request)
                    if calibrated is not None:
                        # A model that is refused leaves no folder behind.
                        calibrated.prepare(work, plan, threads, follow)
                    return {"plan": plan.to_json()}

                stored = work.planned(key, planned)
            elif calibrated is not None:
                calibrated.prepare(work, Plan.from_json(stored["plan"]), threads, follow)
            elif stored["key"] != key:
                made = {"plan": make_plan(source, request).to_json()}
                take_over(
                    work, source, Plan.from_json(stored["plan"]), Plan.from_json(made["plan"])
                )
                stored = work.keep_plan(key, made)
            plan = Plan.from_json(stored["plan"])
            work.clear_other_files({entry.shard for entry in source.entries.values()})
            run = Run(source, work, plan, threads, follow)
            reused = run.find_finished()
            if calibrated is not None:
                notes = calibrated.compress()
                report = report._replace(notes=notes)
            run.finish(executor)
            report = report._replace(reused=reused)
            others = folder.left_out(source) if copy_all else {}
            folder.copy_files({**source.files(), **others}, work.result)
            config = source.files().get(configuration.CONFIG)
            if config is not None:
                said = {QUANTIZATION: folder.quantization_config(request, plan)}
                configuration.write_config(
                    work.result, guarded({**configuration.read_config(config), **said})
                )
        source.close()
        work.finish()
    made_here = Checkpoint.open(os.fspath(dst))
    made_here.report = report
    return made_here


def _blockwise(source: Source, text: CalibrationText) -> Any:
    """The calibration of a model block by block. It needs torch and transformers."""
    for package in ("torch", "transformers"):
        imported(package, "transformers", "calibration")
    blockwise = importlib.import_module("...torch.blockwise.compression", __name__)
    return blockwise.BlockwiseCalibration(source, text)


def _refuse_with_calibration(
    trellis: Trellis, executor: concurrent.futures.Executor | None
) -> None:
    if trellis.sparsity is not None or trellis.target_sqnr_db is not None:
        raise InvalidArgumentError(
            "calibration with sparsity or target_sqnr_db: bits and target_bits are accepted"
        )
    if executor is not None:
        raise InvalidArgumentError(
            "calibration with an executor: blocks are calibrated one after the other, in this "
            "process; threads are accepted"
        )


def _refuse_compressed(source: Source) -> None:
    if isinstance(source, Shards):
        for name, entries in source.compressed.items():
            place = source.place(entries.description)
            raise InvalidArgumentError(f"{place}: {name} is compressed already")
        refuse_undescribed(source)
    folder.refuse_quantised(source)
