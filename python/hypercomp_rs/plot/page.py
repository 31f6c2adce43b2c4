"""The report of a compressed model: one HTML page that needs nothing beside itself."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .. import __version__
from ..checkpoint import Checkpoint, TensorInfo
from ..checkpoint.kept import reasons_to_keep
from ..checkpoint.load_guard import METHOD, QUANTIZATION
from ..checkpoint.source import DTYPE_BITS
from . import model, style

# What the codec does with a tensor that no code is worth it for.
_EXACT = {"raw": "stored exactly", "zeros": "all zeros, no codes"}
# Entries of the configuration that are shown, and what they mean.
_ASKED = {
    "bits": "bits a weight of each tensor",
    "target_bits": "bits a weight of the whole model",
    "target_sqnr_db": "signal to noise of each tensor, dB",
    "effort": "effort of the search",
    "sparsity": "zeros",
    "incoherence": "transform",
    "seed": "seed of the signs",
    "rules": "rules",
}
_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 74rem; padding: 1.5rem; background: #fff; color: #1a1a1a;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
p, figcaption { max-width: 46rem; }
figure { margin: 1rem 0; }
figcaption { color: #4d4d4d; font-size: .9rem; }
svg { display: block; width: 100%; height: auto; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0; }
dl div { border: 1px solid #c8c8c8; border-radius: .4rem; padding: .5rem .75rem; }
dt { color: #4d4d4d; font-size: .85rem; }
dd { font-size: 1.3rem; margin: 0; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; width: 100%; }
caption { text-align: left; color: #4d4d4d; padding-bottom: .4rem; }
th, td { border-bottom: 1px solid #dcdcdc; padding: .25rem .6rem; text-align: left;
  vertical-align: top; }
thead th.n { white-space: normal; }
thead th { border-bottom: 2px solid #4d4d4d; vertical-align: bottom; }
tbody th { font-weight: normal; overflow-wrap: anywhere; min-width: 15rem; }
tbody td:last-child { min-width: 11rem; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
footer { color: #4d4d4d; font-size: .85rem; margin-top: 3rem; }
@media print { body { max-width: none; padding: 0; } }
"""


def report(checkpoint: Checkpoint | str | os.PathLike[str], *, seconds: float | None = None) -> str:
    """A page on a compressed model: totals, bits and error by tensor, and what was kept and why.

    The page is a whole HTML document. It loads nothing, from a network or from a file, and has no
    scripts. Every number in its figures is also in its tables.

    Parameters
    ----------
    checkpoint
        A :class:`Checkpoint`, or the path of one.
    seconds
        How long compressing took, where that is known: it is shown among the totals.

    Returns
    -------
    str
        The page, to be written as UTF-8.

    Raises
    ------
    FormatError
        A file is no such model, or damaged.
    MissingExtraError
        matplotlib is not installed.

    Notes
    -----
    Reads headers and descriptions, and the beginnings of tensors that were kept. A checkpoint does
    not store why a tensor was kept. The reasons are found again as :func:`compress_checkpoint`
    found them: from the rules in ``config.json``, from names, types and shapes, and from values.

    Examples
    --------
    >>> import pathlib, tempfile, numpy as np, hypercomp_rs
    >>> from safetensors.numpy import save_file
    >>> from hypercomp_rs import plot
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> w = np.random.default_rng(0).standard_normal((64, 128)).astype(np.float32)
    >>> save_file({"layer.weight": w}, folder / "model.safetensors")
    >>> small = hypercomp_rs.compress_checkpoint(folder / "model.safetensors", folder / "small")
    >>> page = plot.report(small)
    >>> "layer.weight" in page, "Shannon" in page
    (True, True)
    """
    if isinstance(checkpoint, Checkpoint):
        return _page(checkpoint, seconds)
    with Checkpoint.open(checkpoint) as opened:
        return _page(opened, seconds)


def _page(checkpoint: Checkpoint, seconds: float | None) -> str:
    infos = checkpoint.tensors
    kept = reasons_to_keep(checkpoint)
    path = Path(os.path.abspath(checkpoint.path))
    title = f"Compressed model: {_shown(path.name)}"
    parts = [
        f"<h1>{title}</h1>",
        _summary(infos),
        _totals(checkpoint, infos, seconds),
        _asked(checkpoint),
        "<h2>Bits and error by tensor</h2>",
        _figure(
            model.allocation(infos),
            "Bits a weight and signal to noise ratio of each compressed tensor",
            "The numbers are in the table of all tensors, in the same order.",
            "allocation",
        ),
        "<h2>Rate and distortion</h2>",
        _figure(
            model.rate_distortion(infos),
            "Signal to noise ratio of each compressed tensor over its bits a weight",
            _gap(infos),
            "rates",
        ),
        "<h2>What was kept, and why</h2>",
        _kept(infos, kept),
        "<h2>All tensors</h2>",
        _tensors(infos, kept),
        f"<footer>Written by hypercomp-rs {escape(__version__)}. This page loads nothing and has "
        "no scripts.</footer>",
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n"
        "</main>\n</body>\n</html>\n"
    )


def _shown(text: str) -> str:
    """Text as HTML: markup is escaped, and characters that cannot be printed are numbers."""
    return escape(text if text.isprintable() else ascii(text)[1:-1])


def _counts(infos: Sequence[TensorInfo]) -> str:
    compressed = [info for info in infos if info.codec is not None]
    exact = sum(not model.has_an_error(info) for info in compressed)
    said = f"{len(compressed)} of {len(infos)} tensors are compressed."
    return said + (f" {exact} of them lost nothing." if exact else "")


def _summary(infos: Sequence[TensorInfo]) -> str:
    return f"<p>{escape(_counts(infos))}</p>"


def totals(checkpoint: Checkpoint, infos: Sequence[TensorInfo]) -> dict[str, float]:
    """The whole in numbers: bytes of all files of weights, with their headers, and as decoded."""
    size = sum(path.stat().st_size for path in checkpoint.source.weights_files())
    weights = sum(info.size for info in infos)
    dense = sum(info.size * DTYPE_BITS[info.dtype] // 8 for info in infos)
    lossy = [info for info in infos if info.codec is not None]
    coded = sum(info.size for info in lossy)
    lost = sum(info.size * 10 ** (-info.sqnr_db / 10) for info in lossy)
    return {
        "bytes": size,
        "dense_bytes": dense,
        "ratio": dense / size if size else math.nan,
        "weights": weights,
        "bits_per_weight": 8 * size / weights if weights else math.nan,
        "sqnr_db": 10 * math.log10(coded / lost) if lost else math.inf,
    }


def _totals(checkpoint: Checkpoint, infos: Sequence[TensorInfo], seconds: float | None) -> str:
    found = totals(checkpoint, infos)
    compressed = sum(info.codec is not None for info in infos)
    cells = [
        ("size", _size(found["bytes"])),
        ("as dense weights", _size(found["dense_bytes"])),
        ("times smaller", _number(found["ratio"], 2)),
        ("bits a weight, everything counted", _number(found["bits_per_weight"], 3)),
        ("mean signal to noise", f"{_number(found['sqnr_db'], 2)} dB"),
        ("weights", f"{found['weights']:,}"),
        ("tensors compressed", f"{compressed:,}"),
        ("tensors kept", f"{len(infos) - compressed:,}"),
    ]
    if seconds is not None:
        cells.append(("time to compress", f"{seconds:,.1f} s"))
    inner = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(said)}</dd></div>" for name, said in cells
    )
    return f"<dl>{inner}</dl>"


def _asked(checkpoint: Checkpoint) -> str:
    """What the configuration says was asked for; nothing where there is none."""
    said = (checkpoint.config or {}).get(QUANTIZATION)
    if not isinstance(said, dict) or said.get("quant_method") != METHOD:
        return ""
    rows = []
    for key, meaning in _ASKED.items():
        value = said.get(key)
        if value is None or value == []:
            continue
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        rows.append(f"<tr><th scope=row>{escape(meaning)}</th><td>{_shown(text)}</td></tr>")
    if not rows:
        return ""
    return f"<h2>What was asked for</h2>\n{_table('From config.json', (), rows)}"


def _figure(figure: Any, title: str, caption: str, prefix: str) -> str:
    drawn = style.inline_svg(figure, title, caption, prefix)
    return f"<figure>\n{drawn}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def _gap(infos: Sequence[TensorInfo]) -> str:
    """How far the tensors are from the bound, in a sentence."""
    lossy = [info for info in infos if model.has_an_error(info)]
    if not lossy:
        return "No compressed tensor has an error."
    weights = sum(info.size for info in lossy)
    mean = sum(info.size * _below(info) for info in lossy) / weights
    return (
        f"The mean distance to Shannon's bound for a Gaussian source is {mean:.2f} dB, each weight "
        "counted once. A tensor can lie above the bound: one with zeros, or with rows of different "
        "size, is easier to code than a Gaussian source of one variance."
    )


def _below(info: TensorInfo) -> float:
    """Decibels below the bound at a tensor's rate."""
    return style.SHANNON_DB * info.bits_per_weight - info.sqnr_db


def _kept(infos: Sequence[TensorInfo], kept: dict[str, str]) -> str:
    by_reason: dict[str, list[TensorInfo]] = {}
    for info in infos:
        if info.name in kept:
            by_reason.setdefault(kept[info.name], []).append(info)
    if not by_reason:
        return "<p>No tensor was kept as it was: all are compressed.</p>"
    total = sum(info.nbytes for info in infos)
    rows = []
    for reason, group in sorted(
        by_reason.items(), key=lambda item: -sum(i.nbytes for i in item[1])
    ):
        nbytes = sum(info.nbytes for info in group)
        names = ", ".join(_shown(info.name) for info in group)
        if len(group) > 3:
            names = f"<details><summary>{len(group)} names</summary>{names}</details>"
        rows.append(
            f"<tr><th scope=row>{_shown(reason)}</th>{_cell(f'{len(group):,}')}"
            f"{_cell(f'{sum(info.size for info in group):,}')}{_cell(_size(nbytes))}"
            f"{_cell(f'{nbytes / total:.1%}' if total else '–')}<td>{names}</td></tr>"
        )
    return _table(
        "Tensors that are stored as they are. Reasons follow from the rules in config.json, and "
        "from names, types, shapes and values.",
        ("reason", "#tensors", "#weights", "#size", "#of all bytes", "which"),
        rows,
    )


def _tensors(infos: Sequence[TensorInfo], kept: dict[str, str]) -> str:
    rows, number = [], 0
    for info in infos:
        compressed = info.codec is not None
        number += compressed
        lossy = model.has_an_error(info)
        outcome = info.codec or f"kept: {kept[info.name].removeprefix('kept ')}"
        if info.codec in _EXACT:
            outcome = f"{info.codec}: {_EXACT[info.codec]}"
        rows.append(
            f"<tr>{_cell(str(number) if compressed else '')}<th scope=row>{_shown(info.name)}</th>"
            f"<td>{'×'.join(map(str, info.shape)) or 'scalar'}</td><td>{escape(info.dtype)}</td>"
            f"{_cell(_number(info.bits_per_weight, 3))}"
            f"{_cell(_number(info.sqnr_db, 2) if lossy else 'exact')}"
            f"{_cell(_number(_below(info), 2) if lossy else '–')}{_cell(f'{info.nbytes:,}')}"
            f"<td>{_shown(outcome)}</td></tr>"
        )
    headings = (
        *("#no.", "tensor", "shape", "type", "#bits a weight", "#signal to noise, dB"),
        *("#dB below the bound", "#bytes", "stored as"),
    )
    return _table("All tensors, in the order of the model's files", headings, rows)


def _table(caption: str, headings: Iterable[str], rows: Iterable[str]) -> str:
    """A table; a heading that begins with # is above numbers."""
    head = "".join(
        f"<th scope=col class=n>{escape(text[1:])}</th>"
        if text.startswith("#")
        else f"<th scope=col>{escape(text)}</th>"
        for text in headings
    )
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    body = "\n".join(rows)
    return (
        f"<div class=scroll><table><caption>{escape(caption)}</caption>{head}\n<tbody>\n{body}\n"
        "</tbody></table></div>"
    )


def _cell(text: str) -> str:
    return f"<td class=n>{escape(text)}</td>"


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}" if math.isfinite(value) else "–"


def _size(nbytes: float) -> str:
    """Bytes in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.2f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.2f} TB"
