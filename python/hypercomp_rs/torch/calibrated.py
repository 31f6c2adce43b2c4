"""Linear layers compressed for what they get: passes, bits, and several searches at a time."""

from __future__ import annotations

import dataclasses
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from .. import _arrays
from .._core import Control
from .._integers import checked
from ..checkpoint.allocation import spread
from ..checkpoint.entries import named
from ..compress import Inputs, Trellis
from ..errors import HypercompError
from ..tensor import CompressedTensor
from .calibration import Calibration, Layer, Site
from .calibration_statistics import CalibrationStatistics
from .expert_moments import draw_to_mean
from .output_sensitivity import (
    OutputSensitivity,
    WaterFilling,
    drawn_together,
    reversed_factor,
)
from .owners import Candidate, classes

# Of a second moment's diagonal, in parts of its mean: inputs vary more than the samples showed, and
# the more so the fewer vectors there were for each input. Measured on layers of MiniLM with 32 to
# 4096 vectors: without the second, as many vectors as inputs gain half of what they can, and
# fewer may do worse than no calibration.
DAMPING, DAMPING_OF_FEW, MOST_DAMPING = 0.01, 0.1, 1.0
# Of a layer whose bits are by its weights, though those of others are by the model's output.
NO_COST = "bits by its weights alone: the output's gradient says nothing of it"

Job = tuple[Candidate, Trellis]
# What a report says of weights, by their names.
Notes = dict[str, str]
# Makes a pass or several anew at each call, the first of them with a backward pass if given.
Passes = Callable[["OutputSensitivity | None"], Iterator[list[Site]]]


def layer_of(candidate: Candidate, trellis: Trellis) -> Layer | None:
    """The linear layer, or several, that a weight is of and nothing else; None where it is not."""
    axes = {classes()[type(owner.module)].input_axis for owner in candidate.owners}
    if len(axes) > 1 or (axis := axes.pop()) is None or trellis.target_sqnr_db is not None:
        return None
    modules = tuple(owner.module for owner in candidate.owners)
    return Layer(candidate.name, candidate.weight.shape[axis], modules)


def why_not(candidate: Candidate, trellis: Trellis) -> str:
    """What a report says of a weight that :func:`layer_of` has no layer for."""
    if trellis.target_sqnr_db is not None:
        return "without calibration: decibels of its weights are asked for"
    names = sorted({type(owner.module).__name__ for owner in candidate.owners})
    return f"without calibration: a weight of {' and '.join(names)}"


def moments_nbytes(model: nn.Module, asked: int | None) -> int:
    """What second moments may take at one time."""
    if asked is not None:
        return checked("calibration_nbytes", asked, 0, 2**63 - 1)
    nbytes: int = sum(p.numel() * p.element_size() for p in model.parameters())
    return max(1 << 30, nbytes // 4)


def calibrated(
    calibration: Calibration,
    jobs: dict[str, Job],
    free: set[str],
    most: int,
    threads: int | None,
    notes: Notes,
    statistics: CalibrationStatistics | None = None,
) -> Generator[tuple[Candidate, CompressedTensor], None, None]:
    """The weights of the layers that are called, pass by pass, each to be installed when it comes.

    They are taken out of `jobs`. The layers that are `free` have their bits together, which go to
    where the model's output minds. `notes` are taken of layers for which something is missing.
    `statistics` keep what is measured, or have it already.
    """
    layers = [layer for job in jobs.values() if (layer := layer_of(*job)) is not None]
    sensitivity = None
    if free:
        sensitive = [layer for layer in layers if layer.name in free]
        sensitivity = OutputSensitivity(calibration.model, sensitive, most)
    if statistics is not None:
        kept, sensitivity = _kept(calibration, statistics, layers, sensitivity, most, notes)

        def passes(backward: OutputSensitivity | None) -> Iterator[list[Site]]:
            return iter([list(kept)])
    else:
        sites = calibration.sites(layers)

        def passes(backward: OutputSensitivity | None) -> Iterator[list[Site]]:
            return _collected(calibration, sites, backward, most, notes)

    if sensitivity is not None:
        found = _spread(sensitivity, jobs, free, passes, notes)
    else:
        found = passes(None)
    for now in found:
        work = [(jobs.pop(layer.name), site) for site in now for layer in site.layers]
        # Each second moment goes when the last layer has used it.
        now.clear()
        yield from _side_by_side(work, threads)


def _kept(
    calibration: Calibration,
    statistics: CalibrationStatistics,
    layers: Sequence[Layer],
    sensitivity: OutputSensitivity | None,
    most: int,
    notes: Notes,
) -> tuple[list[Site], OutputSensitivity | None]:
    """The places with second moments that are kept, and what is kept of the sensitivity.

    What is not kept yet is measured.
    """
    if not statistics._layers:
        said: Notes = {}
        collected = _collected(calibration, calibration.sites(layers), sensitivity, most, said)
        statistics._keep(layers, [site for now in collected for site in now], said)
        statistics._sensitivity = sensitivity
    sites = statistics._kept(layers)
    names = {layer.name for layer in layers}
    notes |= {name: note for name, note in statistics._notes.items() if name in names}
    if sensitivity is not None:
        sensitivity = statistics._sensitivity_like(sensitivity, calibration)
    return sites, sensitivity


def _collected(
    calibration: Calibration,
    sites: Sequence[Site],
    sensitivity: OutputSensitivity | None,
    most: int,
    notes: Notes,
) -> Iterator[list[Site]]:
    """The places with second moments, as many at a time as may be; without those never met.

    The sensitivity is measured on the way of the first ones.
    """
    # New ones, for nobody else to hold on to their sums.
    waiting = deque(Site(site.layers) for site in sites)
    while waiting:
        now = [waiting.popleft()]
        while waiting and sum(site.nbytes for site in (*now, waiting[0])) <= most:
            now.append(waiting.popleft())
        calibration.collect(now, sensitivity)
        if sensitivity is not None:
            sensitivity.end()
            sensitivity = None
        of_experts = draw_to_mean(now, calibration.model)
        waiting.extend(Site([layer]) for site in now if site.apart for layer in site.layers)
        for site in now:
            if site.note and not site.apart:
                notes |= dict.fromkeys((layer.name for layer in site.layers), site.note)
        notes |= of_experts
        found = [site for site in now if site.met and not site.apart]
        now.clear()
        yield found


def _spread(
    sensitivity: OutputSensitivity,
    jobs: dict[str, Job],
    free: set[str],
    passes: Passes,
    notes: Notes,
) -> Iterator[list[Site]]:
    """The same, when `jobs` have been given other bits."""
    curves: dict[str, WaterFilling] = {}
    kept: list[list[Site]] = []
    for now in passes(sensitivity):
        for site in now:
            factor = _factor(site)
            for layer in site.layers:
                if layer.name in free:
                    weight = jobs[layer.name][0].weight
                    curve = sensitivity.curve(layer, weight, _axis(jobs[layer.name][0]), factor)
                    # What the output does not hang on keeps the bits that it has.
                    if curve is None:
                        notes.setdefault(layer.name, NO_COST)
                    else:
                        curves[layer.name] = curve
        # Kept where one pass is all.
        kept = [now] if not kept else [[]]
    budget = sum((jobs[name][1].bits or 0.0) * curve.weights for name, curve in curves.items())
    together = drawn_together(list(curves.values()))
    for name, bits in zip(curves, spread(together, budget), strict=True):
        candidate, trellis = jobs[name]
        jobs[name] = candidate, dataclasses.replace(trellis, bits=bits)
    if kept and kept[0]:
        return iter(kept)
    return passes(None)


def _factor(site: Site) -> torch.Tensor:
    """The factor of the damped second moment, by :func:`reversed_factor`."""
    moment = site.second_moment()
    assert moment is not None
    moment.diagonal().add_(_damping(site) * moment.diagonal().mean())
    # Damped, it is nearly always regular in single precision, which takes half of the time.
    factor, failed = reversed_factor(moment)
    return reversed_factor(moment.double())[0] if failed else factor


def _damping(site: Site) -> float:
    return min(MOST_DAMPING, DAMPING + DAMPING_OF_FEW * site.layers[0].inputs / site.vectors)


def _axis(candidate: Candidate) -> int:
    axis = classes()[type(candidate.owners[0].module)].input_axis
    assert axis is not None
    return axis


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
    moment = site.second_moment()
    assert moment is not None
    shape = tuple(candidate.weight.shape)
    inputs = Inputs.of(moment, _damping(site), _axis(candidate), shape)
    return code_of(candidate, trellis, threads, control, inputs)


def code_of(
    candidate: Candidate,
    trellis: Trellis,
    threads: int | None,
    control: Control | None = None,
    inputs: Inputs | None = None,
) -> CompressedTensor:
    """The codes of a weight."""
    try:
        flat = _arrays.flatten(candidate.weight.detach())
        return CompressedTensor._of(trellis.compress(flat, threads, control, inputs), "torch")
    except HypercompError as error:
        raise named(error, candidate.name) from None
