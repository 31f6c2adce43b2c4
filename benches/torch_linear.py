"""Compressed layers in torch beside its own and bitsandbytes' NF4; what a call costs; an overlap.

A contestant's turn is what a model does: a stack of layers one after the other, over and over for
some tens of milliseconds, and what is told is the time of one layer. The layers' weights lie apart
and exceed the last level of cache, so each is read from memory. A turn begins after a rest, in
which the threads of the one before go to sleep; a call alone after a rest (as this once timed)
takes half a millisecond of which most is a sleeping processor that wakes, for any contestant.

Two threads. ``--short`` takes small matrices and one round; ``--trace FOLDER`` writes the traces
of decoding ahead for a viewer (chrome://tracing). Speeds are those of a shared machine: a line
that is not reached is shown, and fails nothing.
"""

import argparse
import copy
import functools
import logging
import math
import pathlib
import time
from collections.abc import Callable, Sequence

import torch
from rich.console import Console
from rich.table import Table
from timing import seconds
from torch import nn
from torch.profiler import ProfilerActivity, _ExperimentalConfig, profile

import hypercomp_rs as hc
import hypercomp_rs.torch as hct

# On import it warns of a kernel that it would have liked to download.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
import bitsandbytes as bnb  # noqa: E402

THREADS = 2
BATCHES = (1, 8, 64)
# Seconds after which idle threads of OpenMP and of rayon no longer spin.
REST = 0.02
# Seconds that a turn takes at least.
TURN = 0.05
# Of a convolutional net: the order of its layers is known after the second.
PASSES = 3

# A line that is asked for: what, the least ratio (or most microseconds), and what was measured.
Line = tuple[str, float, float, bool]


def table(title: str, *headings: str) -> Table:
    made = Table(title=title)
    for heading in headings:
        made.add_column(heading, justify="right")
    return made


def nf4(dense: nn.Linear) -> nn.Module:
    layer = bnb.nn.Linear4bit(
        dense.in_features,
        dense.out_features,
        bias=False,
        compute_dtype=torch.float32,
        quant_type="nf4",
    )
    layer.load_state_dict(dense.state_dict())
    return layer.to("cpu")


def per_layer(
    stacks: dict[str, tuple[Sequence[nn.Module], torch.Tensor]], rounds: int
) -> dict[str, float]:
    """Seconds of one layer in a stack that runs back to back, by contestant."""
    turns: dict[str, Callable[[], None]] = {}
    layers: dict[str, int] = {}
    for name, (stack, x) in stacks.items():
        once = functools.partial(run, stack, x, 1)
        once()
        passes = math.ceil(TURN / seconds({name: once}, 1)[name])
        turns[name] = functools.partial(run, stack, x, passes)
        layers[name] = passes * len(stack)
    taken = seconds(turns, rounds, rest=REST)
    return {name: t / layers[name] for name, t in taken.items()}


def run(stack: Sequence[nn.Module], x: torch.Tensor, passes: int) -> None:
    for _ in range(passes):
        for layer in stack:
            layer(x)


def products(rows: int, columns: int, depth: int, rounds: int) -> tuple[Table, list[Line]]:
    """Linear layers at 4 bits, in stacks of so many."""
    torch.manual_seed(0)
    dense = nn.Linear(columns, rows, bias=False)
    short = copy.deepcopy(dense).bfloat16()
    ours = hct.CompressedLinear.from_module(dense, bits=4, effort="fast")
    tiled = hct.CompressedLinear.from_module(dense, bits=4, effort="fast", layout="tiles")
    # The values may be the same, the memory may not.
    wide, narrow, quantised, compressed, tiles = (
        [copy.deepcopy(layer) for _ in range(depth)]
        for layer in (dense, short, nf4(dense), ours, tiled)
    )
    name = f"{rows} x {columns}"
    made = table(
        f"a layer of {name} in a stack of {depth}, {THREADS} threads",
        *("batch", "layer", "ms", "x bf16", "x f32", "x NF4"),
    )
    lines: list[Line] = []
    for batch in BATCHES:
        x = torch.randn(batch, columns)
        with torch.inference_mode():
            taken = per_layer(
                {
                    "torch float32": (wide, x),
                    "torch bfloat16": (narrow, x.bfloat16()),
                    "bitsandbytes NF4": (quantised, x),
                    "hypercomp, float32 in": (compressed, x),
                    "hypercomp, bfloat16 in": (compressed, x.bfloat16()),
                    "hypercomp in tiles, bfloat16 in": (tiles, x.bfloat16()),
                },
                rounds,
            )
        peers = [taken[p] for p in ("torch bfloat16", "torch float32", "bitsandbytes NF4")]
        for contestant, t in taken.items():
            ratios = [f"{peer / t:.2f}" for peer in peers]
            made.add_row(str(batch), contestant, f"{t * 1e3:.3f}", *ratios)
        made.add_section()
        one = taken["hypercomp, float32 in"]
        if batch == 1:
            fastest = min(one, taken["hypercomp, bfloat16 in"])
            lines += [
                (f"{name}, batch 1: x torch bfloat16", 1.0, peers[0] / fastest, True),
                (f"{name}, batch 1: x NF4", 8.0, peers[2] / fastest, True),
            ]
        else:
            lines.append((f"{name}, batch {batch}: x torch float32", 0.7, peers[1] / one, True))
    return made, lines


def call_overhead(rounds: int) -> tuple[Table, list[Line]]:
    """What a layer's call takes above the core's product, on a matrix of next to nothing."""
    dense = nn.Linear(128, 16)
    layer = hct.CompressedLinear.from_module(dense)
    c = hc.compress_tensor(dense.weight.detach().numpy())
    x = torch.randn(1, 128)
    flat, out = x.numpy().reshape(-1), torch.empty(16).numpy()

    def core() -> None:
        c._code.matmul_into(flat, 1, out, "float32", THREADS)

    contestants: dict[str, Callable[[], object]] = {
        "the core's mat-vec": core,
        "CompressedLinear": functools.partial(layer, x),
        "nn.Linear": functools.partial(dense, x),
    }
    calls = 200
    made = table("a call on 16 x 128, microseconds", "what", "no_grad", "inference_mode")
    found: dict[str, dict[str, float]] = {}
    for mode in (torch.no_grad, torch.inference_mode):
        times: dict[str, list[float]] = {name: [] for name in contestants}
        with mode():
            for _ in range(rounds * 10):
                for name, call in contestants.items():
                    start = time.perf_counter()
                    for _ in range(calls):
                        call()
                    times[name].append((time.perf_counter() - start) / calls * 1e6)
        # The least: what others do on the machine only ever adds.
        found[mode.__name__] = {name: min(taken) for name, taken in times.items()}
    for name in contestants:
        made.add_row(name, *(f"{found[mode][name]:.1f}" for mode in found))
    lines: list[Line] = []
    for mode, taken in found.items():
        above = taken["CompressedLinear"] - taken["the core's mat-vec"]
        lines.append((f"call above the core's mat-vec, {mode}: at most us", 10.0, above, False))
    return made, lines


def ahead(net: nn.Module, x: torch.Tensor, enabled: bool) -> None:
    hct.decode_ahead(enabled)
    for _ in range(PASSES):
        net(x)


def overlap(
    title: str, net: nn.Module, x: torch.Tensor, rounds: int, trace: pathlib.Path | None
) -> tuple[Table, list[Line]]:
    """How much of the decoding of a net goes on while other layers compute.

    One thread computes and the other decodes. (Where both compute, a third has no core to run on.)
    Of five passes that with the greatest share: what others do on the machine only takes from it.
    """
    hct.compress_model(net, bits=4, effort="fast", progress=False)
    net.to(x.dtype)
    torch.set_num_threads(THREADS - 1)
    hct.decode_ahead(True)
    every_thread = _ExperimentalConfig(profile_all_threads=True)
    best: tuple[float, float, float, profile] | None = None
    with torch.inference_mode():
        for _ in range(5):
            for _ in range(PASSES):
                net(x)
            with profile(activities=[ProfilerActivity.CPU], experimental_config=every_thread) as p:
                net(x)
            found = (*spans(p), p)
            if best is None or found[0] * best[1] > best[0] * found[1]:
                best = found
        turns = {
            str(enabled): functools.partial(ahead, net, x, enabled) for enabled in (True, False)
        }
        taken = seconds(turns, rounds)
    hct.decode_ahead(None)
    torch.set_num_threads(THREADS)
    assert best is not None
    together, decoding, computing, traced = best
    if trace is not None:
        traced.export_chrome_trace(str(trace))
    made = table(f"{title}, one thread", "what", "ms")
    made.add_row("computing", f"{computing:.2f}")
    made.add_row("decoding ahead", f"{decoding:.2f}")
    made.add_row("of it while another computes", f"{together:.2f}")
    made.add_row("a pass, decoded ahead", f"{taken['True'] * 1e3 / PASSES:.2f}")
    made.add_row("a pass, decoded when needed", f"{taken['False'] * 1e3 / PASSES:.2f}")
    share = together / decoding if decoding else 0.0
    return made, [(f"{title}: share of decoding ahead that overlaps", 0.5, share, True)]


def convolutions(channels: int) -> tuple[str, nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(6)))
    return f"6 convolutions of {channels} channels", net, torch.randn(2, channels, 28, 28)


def large_batch(size: int) -> tuple[str, nn.Module, torch.Tensor]:
    """Of bfloat16: where the processor multiplies it, layers are decoded for so many vectors."""
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Linear(size, size, bias=False) for _ in range(4)))
    x = torch.randn(512, size, dtype=torch.bfloat16)
    return f"4 layers of {size} x {size}, 512 vectors", net, x


def spans(traced: profile) -> tuple[float, float, float]:
    """Milliseconds of decoding ahead while a layer computes, of decoding ahead, of computing."""
    decoding, computing = (
        [
            (event.time_range.start, event.time_range.end)
            for event in traced.events()
            if event.name in names
        ]
        for names in (("hypercomp::decode_ahead",), ("aten::convolution", "aten::mm"))
    )
    together = sum(
        max(0.0, min(end, other_end) - max(start, other_start))
        for start, end in decoding
        for other_start, other_end in computing
    )
    total, whole = (sum(end - start for start, end in events) for events in (decoding, computing))
    return together / 1e3, total / 1e3, whole / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="small matrices, one round")
    parser.add_argument(
        "--trace", type=pathlib.Path, metavar="FOLDER", help="write the traces of both nets"
    )
    arguments = parser.parse_args()
    if arguments.trace is not None:
        arguments.trace.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(THREADS)
    console = Console(width=None if Console().is_terminal else 120)
    rounds = 1 if arguments.short else 15
    lines: list[Line] = []
    shapes = [(512, 512, 2)] if arguments.short else [(4096, 4096, 8), (11008, 4096, 3)]
    for rows, columns, depth in shapes:
        made, found = products(rows, columns, depth, rounds)
        console.print(made)
        lines += found
    made, found = call_overhead(rounds)
    console.print(made)
    lines += found
    for name, net in (
        ("convolutions", convolutions(64 if arguments.short else 256)),
        ("large_batch", large_batch(512 if arguments.short else 4096)),
    ):
        trace = None if arguments.trace is None else arguments.trace / f"{name}.json"
        made, found = overlap(*net, rounds, trace)
        console.print(made)
        lines += found
    verdict = table("asked", "line", "asked", "measured", "met")
    for what, asked, measured, least in lines:
        reached = measured >= asked if least else measured <= asked
        met = "-" if arguments.short else "yes" if reached else "[bold red]no[/]"
        verdict.add_row(what, f"{asked:.1f}", f"{measured:.2f}", met)
    console.print(verdict)


if __name__ == "__main__":
    main()
