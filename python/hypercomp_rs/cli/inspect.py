"""``hypercomp-rs inspect``: the tensors of a compressed model, with sizes and errors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from ..checkpoint import Checkpoint, TensorInfo
from ..checkpoint.source import DTYPE_BITS
from . import models


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@models.json_option
def inspect(path: Path, as_json: bool) -> int:
    """Print a table of the tensors of the model in PATH: shape, bits a weight, dB, bytes.

    Reads only headers and descriptions. Exit codes: 0 all is done, 1 the system failed, 2 a file is
    not such a model, or is damaged.
    """
    with Checkpoint.open(path) as checkpoint:
        infos = checkpoint.tensors
        said = summary(checkpoint)
    if as_json:
        rows = [{**info._asdict(), "bits_per_weight": info.bits_per_weight} for info in infos]
        models.print_json({"tensors": rows, "total": said})
        return 0
    table = models.table(["tensor", "shape", "dtype", "codec", " bits", " dB", " size"])
    for info in infos:
        models.add_row(
            table,
            info.name,
            "×".join(map(str, info.shape)),
            info.dtype,
            info.codec or "kept",
            f"{info.bits_per_weight:.3f}",
            models.decibels_text(info.sqnr_db),
            models.size_text(info.nbytes),
        )
    table.add_section()
    models.add_row(
        table,
        f"{said['tensors']} tensors",
        f"{said['weights']} weights",
        "",
        "",
        f"{said['bits_per_weight']:.3f}",
        models.decibels_text(said["sqnr_db"]),
        models.size_text(said["bytes"]),
    )
    models.print_table(table)
    return 0


def summary(checkpoint: Checkpoint) -> dict[str, Any]:
    """Totals: bytes of all shards with their headers, and bytes of the decoded model."""
    infos = checkpoint.tensors
    files = [path.stat().st_size for path in checkpoint.source.weights_files()]
    weights = sum(info.size for info in infos)
    compressed = [info for info in infos if info.codec is not None]
    return {
        "tensors": len(infos),
        "compressed": len(compressed),
        "weights": weights,
        "bytes": sum(files),
        "dense_bytes": sum(info.size * DTYPE_BITS[info.dtype] // 8 for info in infos),
        "bits_per_weight": 8 * sum(files) / weights if weights else 0.0,
        "sqnr_db": _mean_sqnr(compressed),
    }


def _mean_sqnr(infos: list[TensorInfo]) -> float:
    """The mean of the tensors' relative errors, weighted by their numbers of weights, in dB."""
    weights = sum(info.size for info in infos)
    lost = sum(info.size * 10 ** (-info.sqnr_db / 10) for info in infos)
    return 10 * math.log10(weights / lost) if lost else math.inf
