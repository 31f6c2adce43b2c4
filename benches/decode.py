"""Decoding and products beside their peers: bitsandbytes' NF4, and torch on the plain weights.

Contestants take turns, so each finds its weights in memory and not in a cache, as in a model of
many layers. Between them the threads of the one before are given time to go to sleep. ``--short``
takes small matrices and one round. Speeds are those of a shared machine: a line that is not reached
is shown, and fails nothing.
"""

import argparse
import functools
import logging
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from timing import seconds

import hypercomp_rs as hc

# On import it warns of a kernel that it would have liked to download.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
from bitsandbytes import functional as bnb  # noqa: E402
from bitsandbytes import matmul_4bit  # noqa: E402

THREADS = 2
BATCHES = (1, 8, 64)
# Seconds after which idle threads of OpenMP and of rayon no longer spin.
REST = 0.02

# A line that is asked for: what, the least ratio or speed, and what was measured.
Line = tuple[str, float, float]


def gaussian(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32) * np.float32(0.02)


def table(title: str, *headings: str) -> Table:
    made = Table(title=title)
    for heading in headings:
        made.add_column(heading, justify="right")
    return made


def decoding(w: np.ndarray, rounds: int) -> tuple[Table, list[Line]]:
    """One thread, in processor seconds, into memory that is there already but for NF4."""
    torch.set_num_threads(1)
    plain = torch.from_numpy(w)
    packed, state = bnb.quantize_4bit(plain, quant_type="nf4")
    single = torch.empty_like(plain)
    contestants: dict[str, Callable[[], object]] = {
        "float32 copy": functools.partial(single.copy_, plain),
        # It has no `out` on a CPU.
        "NF4, float32, new memory": functools.partial(bnb.dequantize_4bit, packed, state),
    }
    for bits in (2, 3.5, 4, 8):
        c = hc.compress_tensor(w, bits=bits, effort="fast")
        decode = functools.partial(c.decompress, out=single, threads=1)
        contestants[f"trellis {bits} bits, float32"] = decode
        if bits == 4:
            for dtype in (torch.float16, torch.bfloat16, torch.float64):
                out = torch.empty(w.shape, dtype=dtype)
                decode = functools.partial(c.decompress, out=out, threads=1)
                contestants[f"trellis {bits} bits, {str(dtype).removeprefix('torch.')}"] = decode
            new = functools.partial(c.decompress, threads=1)
            contestants[f"trellis {bits} bits, float32, new memory"] = new
    winding = hc.compress_tensor(w, codec="winding")
    decode = functools.partial(winding.decompress, out=single, threads=1)
    contestants["winding, float32"] = decode
    taken = seconds(contestants, rounds, rest=REST, clock=time.process_time)
    made = table(
        f"decoding {w.shape[0]} x {w.shape[1]}, one thread",
        "what",
        "G weights/s",
        "x NF4",
        "x copy",
    )
    for name, t in taken.items():
        speed = w.size / t / 1e9
        made.add_row(
            name,
            f"{speed:.2f}",
            f"{taken['NF4, float32, new memory'] / t:.1f}",
            f"{taken['float32 copy'] / t:.2f}",
        )
    lines = [
        (f"{name}: G weights/s a core", 1.0, w.size / taken[name] / 1e9)
        for name in ("trellis 4 bits, float32", "winding, float32")
    ]
    return made, lines


def products(w: np.ndarray, rounds: int) -> tuple[Table, dict[int, Mapping[str, float]]]:
    """Two threads, weights of 4 bits; the times by batch and contestant."""
    torch.set_num_threads(THREADS)
    plain = torch.from_numpy(w)
    half = plain.bfloat16()
    packed, state = bnb.quantize_4bit(plain, quant_type="nf4")
    half_state = bnb.quantize_4bit(half, quant_type="nf4")[1]
    c = hc.compress_tensor(w, bits=4, effort="fast")
    made = table(
        f"products with {w.shape[0]} x {w.shape[1]}, {THREADS} threads",
        "batch",
        "what",
        "ms",
        "G weights/s",
        "x torch bfloat16",
        "x torch float32",
        "x NF4",
    )
    times = {}
    for batch in BATCHES:
        x = torch.from_numpy(gaussian(batch, w.shape[1]))
        short = x.bfloat16()
        contestants = {
            "torch float32": functools.partial(torch.nn.functional.linear, x, plain),
            "torch bfloat16": functools.partial(torch.nn.functional.linear, short, half),
            "NF4, float32": functools.partial(matmul_4bit, x, packed.t(), quant_state=state),
            "NF4, bfloat16": functools.partial(
                matmul_4bit, short, packed.t(), quant_state=half_state
            ),
            "hypercomp": functools.partial(hc.matmul, c, x, threads=THREADS),
        }
        with torch.no_grad():
            taken = seconds(contestants, rounds, rest=REST)
        times[batch] = taken
        nf4 = min(taken["NF4, float32"], taken["NF4, bfloat16"])
        for name, t in taken.items():
            made.add_row(
                str(batch),
                name,
                f"{t * 1e3:.2f}",
                f"{w.size / t / 1e9:.2f}",
                f"{taken['torch bfloat16'] / t:.2f}",
                f"{taken['torch float32'] / t:.2f}",
                f"{nf4 / t:.1f}",
            )
        made.add_section()
    return made, times


def product_lines(times: Mapping[int, Mapping[str, float]]) -> list[Line]:
    one, many = times[1], times[64]
    nf4 = min(one["NF4, float32"], one["NF4, bfloat16"])
    return [
        (
            "matvec: x torch bfloat16 linear",
            1.0,
            one["torch bfloat16"] / one["hypercomp"],
        ),
        ("matvec: x NF4 linear, the faster", 8.0, nf4 / one["hypercomp"]),
        ("batch 64: x torch float32 linear", 0.7, many["torch float32"] / many["hypercomp"]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="small matrices, one round")
    short = parser.parse_args().short
    console = Console(width=None if Console().is_terminal else 120)
    size = 512 if short else 4096
    made, lines = decoding(gaussian(size, size), 1 if short else 9)
    console.print(made)
    for rows in (size,) if short else (size, 11008):
        made, times = products(gaussian(rows, size), 1 if short else 25)
        console.print(made)
        if rows == size:
            lines += product_lines(times)
    verdict = table(f"asked, at {size} x {size}", "line", "asked", "measured", "met")
    for what, asked, measured in lines:
        met = "-" if short else "yes" if measured >= asked else "[bold red]no[/]"
        verdict.add_row(what, f"{asked:.1f}", f"{measured:.2f}", met)
    console.print(verdict)


if __name__ == "__main__":
    main()
