"""Decoding and products on a CUDA device, beside cuBLAS in bfloat16 and bitsandbytes' 4 bits.

Every contestant works through enough layers of its own that none finds its weights in the cache, as
in a model, and is captured in a CUDA graph, so that what is timed is the device and not Python; the
last table says what a call costs Python. Contestants take turns. ``--short`` takes small matrices.
Without a device this says so, and fails nothing.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

import hypercomp_rs as hc
import hypercomp_rs.torch
from hypercomp_rs import gpu
from hypercomp_rs.torch.compressed_module import buffers_of

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

# Layouts and rates.
CODES: tuple[tuple[Literal["chains", "tiles"], int], ...] = (
    *(("chains", bits) for bits in (2, 3, 4, 5, 8)),
    *(("tiles", bits) for bits in (2, 3, 4)),
)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 512)
SHAPES = ((4096, 4096), (11008, 4096), (4096, 11008))
# More than any cache holds.
WORKING_SET = 512 << 20


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="small matrices, few rounds")
    short = parser.parse_args().short
    console = Console(width=120)
    try:
        devices = gpu.devices()
    except hc.GpuError as error:
        console.print(f"nothing is measured: {error}")
        return
    if not torch.cuda.is_available():
        console.print(f"nothing is measured: torch {torch.__version__} has no CUDA ({devices})")
        return
    console.print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    rounds = 3 if short else 15
    for shape in ((512, 1024),) if short else SHAPES:
        layers = [Layers(shape, bits, short, layout) for layout, bits in CODES]
        console.print(decoding(shape, layers, rounds))
        console.print(products(shape, layers, rounds, short))
    console.print(calls(rounds))


class Layers:
    """Copies of one compressed matrix, as many as do not fit a cache."""

    def __init__(
        self,
        shape: tuple[int, int],
        bits: float,
        short: bool,
        layout: Literal["chains", "tiles"] = "chains",
    ) -> None:
        w = np.random.default_rng(0).standard_normal(shape, np.float32) * np.float32(0.02)
        c = hc.compress_tensor(w, bits=bits, effort="fast", layout=layout)
        self.name = f"{bits} bits, {layout}"
        self.nbytes = c.nbytes
        self.description, buffers = buffers_of(c)
        count = 2 if short else copies(c.nbytes)
        self.parts = [[buffer.cuda() for buffer in buffers] for _ in range(count)]

    def decode(self) -> list[Callable[[], object]]:
        """A call for each layer."""
        decode = torch.ops.hypercomp.decode.default
        return [lambda p=parts: decode(p, self.description, torch.float16) for parts in self.parts]

    def linear(self, x: torch.Tensor) -> list[Callable[[], object]]:
        """A call for each layer."""
        linear = torch.ops.hypercomp.linear.default
        return [lambda p=parts: linear(x, p, self.description) for parts in self.parts]


def copies(nbytes: int) -> int:
    """How many copies of so many bytes are more than a cache holds; two at least."""
    return max(2, min(64, WORKING_SET // nbytes))


def captured(calls: Sequence[Callable[[], object]]) -> torch.cuda.CUDAGraph:
    """All calls as one graph, after each was made once."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for call in calls:
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    return graph


def microseconds(
    contestants: dict[str, Sequence[Callable[[], object]]], rounds: int
) -> dict[str, float]:
    """The median time of one call of each contestant, on the device; they take turns."""
    graphs = {name: captured(calls) for name, calls in contestants.items()}
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, graph in graphs.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            graph.replay()
            end.record()
            end.synchronize()
            times[name].append(1000 * start.elapsed_time(end) / len(contestants[name]))
    return {name: statistics.median(taken) for name, taken in times.items()}


def table(title: str, *headings: str) -> Table:
    """An empty table."""
    made = Table(title=title)
    for heading in headings:
        made.add_column(heading, justify="right")
    return made


def plain_weights(shape: tuple[int, int], short: bool) -> list[torch.Tensor]:
    """Copies of a bfloat16 matrix, as many as do not fit a cache."""
    w = 0.02 * torch.randn(shape, dtype=torch.bfloat16, device="cuda")
    return [w.clone() for _ in range(2 if short else copies(w.nbytes))]


def four_bits(shape: tuple[int, int], short: bool) -> list[tuple[torch.Tensor, object]]:
    """The same of bitsandbytes' NF4; none where it does not run here."""
    try:
        from bitsandbytes import functional

        made = []
        for w in plain_weights(shape, short=True):
            made.append(functional.quantize_4bit(w, quant_type="nf4"))
        while not short and len(made) < copies(made[0][0].nbytes):
            packed, state = made[0]
            made.append((packed.clone(), state))
        return made
    except Exception as error:  # whatever it raises, the others are measured
        print(f"bitsandbytes does not run here: {type(error).__name__}: {error}")
        return []


def decoding(shape: tuple[int, int], layers: list[Layers], rounds: int) -> Table:
    """Decoding to float16."""
    contestants = {made.name: made.decode() for made in layers}
    taken = microseconds(contestants, rounds)
    made = table(f"decoding {shape} to float16", "", "µs", "G weights/s", "GB/s read and written")
    weights = shape[0] * shape[1]
    for layer in layers:
        time_taken = taken[layer.name]
        moved = (layer.nbytes + 2 * weights) / time_taken / 1e3
        made.add_row(
            layer.name,
            f"{time_taken:.1f}",
            f"{weights / time_taken / 1e3:.1f}",
            f"{moved:.0f}",
        )
    return made


def products(shape: tuple[int, int], layers: list[Layers], rounds: int, short: bool) -> Table:
    """Products with a few vectors of bfloat16."""
    plain, nf4 = plain_weights(shape, short), four_bits(shape, short)
    headings = [layer.name for layer in layers]
    made = table(
        f"x·Wᵀ, W {shape}: µs, and how many times as fast as bfloat16 by cuBLAS",
        "vectors", "bfloat16", "NF4", *headings,
    )  # fmt: skip
    for batch in BATCHES:
        x = torch.randn(batch, shape[1], dtype=torch.bfloat16, device="cuda")
        contestants: dict[str, Sequence[Callable[[], object]]] = {
            "bfloat16": [lambda w=w, x=x: F.linear(x, w) for w in plain],
            **{layer.name: layer.linear(x) for layer in layers},
        }
        if nf4:
            import bitsandbytes

            contestants["NF4"] = [
                lambda p=packed, s=state, x=x: bitsandbytes.matmul_4bit(x, p.t(), s)
                for packed, state in nf4
            ]
        taken = microseconds(contestants, rounds)
        base = taken["bfloat16"]
        cells = [
            f"{taken[name]:.1f} ({base / taken[name]:.2f})" if name in taken else "–"
            for name in ("NF4", *headings)
        ]
        made.add_row(str(batch), f"{base:.1f}", *cells)
    return made


def calls(rounds: int) -> Table:
    """What a call costs Python, where the device has nothing to do."""
    layer = Layers((128, 128), 4, short=True)
    x = torch.randn(1, 128, dtype=torch.bfloat16, device="cuda")
    w = torch.randn(128, 128, dtype=torch.bfloat16, device="cuda")
    made = table("a call of a small layer, in Python", "", "µs")
    ours = layer.linear(x)[0]
    for name, call in (("bfloat16", lambda: F.linear(x, w)), ("4 bits", ours)):
        times = []
        for _ in range(rounds):
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(200):
                call()
            times.append((time.perf_counter() - start) / 200)
            torch.cuda.synchronize()
        made.add_row(name, f"{1e6 * statistics.median(times):.1f}")
    return made


if __name__ == "__main__":
    with torch.inference_mode():
        main()
