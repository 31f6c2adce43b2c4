"""``hypercomp-rs compress``: compresses a model's folder into another folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import click

from ..checkpoint import CalibrationText, Report, compress_checkpoint
from ..compress import Effort
from . import models
from .inspect import summary
from .loading import how_to_load


@click.command()
@click.argument("src", type=click.Path(exists=True, path_type=Path))
@click.argument("dst", type=click.Path(path_type=Path))
@click.option(
    "--bits", type=float, help="Bits for each weight of each tensor, 1 to 8.  [default: 4]"
)
@click.option(
    "--target-bits",
    type=float,
    help="Average bits a weight of the whole model, with all overhead.",
)
@click.option("--sqnr", "target_sqnr_db", type=float, help="SQNR of each tensor in dB, 0 to 60.")
@click.option(
    "--effort",
    type=click.Choice(["fast", "balanced", "high", "max"]),
    default="balanced",
    show_default=True,
    help="Search effort: each level takes about four times as long as the one before, max sixteen "
    "times.",
)
@click.option(
    "--sparsity", type=click.Choice(["keep"]), help="keep: zero weights stay exactly zero."
)
@click.option(
    "--incoherence",
    type=click.Choice(["hadamard", "none"]),
    default="hadamard",
    show_default=True,
    help="The transform of rows before coding.",
)
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, help="Seed of the transform.")
@click.option(
    "--layout",
    type=click.Choice(["chains", "tiles"]),
    default="chains",
    show_default=True,
    help="tiles: products with one vector take half of the time on a CPU with AVX-512 VBMI.",
)
@click.option("--keep-embeddings", is_flag=True, help="Copy token embeddings uncompressed.")
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="PATTERN=ACTION",
    help="What to do with tensors whose names match; the first matching rule applies: "
    '"lm_head=keep", "*.attn.*=bits:5", "*.mlp.*=sqnr:25,effort:high".',
)
@click.option(
    "--sensitivity",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="For --target-bits: the cost of errors in each tensor (.json), or squared gradients or "
    "activations, whose mean is the cost (.safetensors).",
)
@click.option(
    "--weight",
    "weights",
    multiple=True,
    metavar="PATTERN=FACTOR",
    help="For --target-bits: multiply the cost of errors in these tensors by FACTOR.",
)
@click.option(
    "--calibration",
    "text",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="TEXT",
    help="Choose codes for the outputs of layers on this text. Blocks of a model of transformers "
    "are loaded one at a time, so the model may be larger than the memory.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    help="For --calibration: windows of the text, or lines for an encoder.  [default: 128]",
)
@click.option(
    "--context",
    type=click.IntRange(min=1),
    help="For --calibration: tokens of a sample.  [default: 512]",
)
@click.option(
    "--memory",
    callback=lambda _context, _option, said: _bytes(said),
    metavar="SIZE",
    help="For --calibration: bytes to use in all, such as 8G.  [default: half of the memory]",
)
@click.option(
    "--device",
    help="For --calibration: where blocks run, such as cuda; codes are searched on the CPU.  "
    "[default: cpu]",
)
@click.option("--copy-all", is_flag=True, help="Also copy weights in other formats.")
@models.threads_option
@models.restart_option
@models.json_option
@models.progress_option
def compress(
    src: Path,
    dst: Path,
    target_bits: float | None,
    effort: str,
    keep_embeddings: bool,
    rules: tuple[str, ...],
    sensitivity: Path | None,
    weights: tuple[str, ...],
    text: Path | None,
    samples: int | None,
    context: int | None,
    memory: int | None,
    device: str | None,
    as_json: bool,
    progress: bool | None,
    **options: Any,
) -> int:
    """Compress the model in SRC, a folder of safetensors files or one file, into the folder DST.

    DST has shards with the same names, an index if SRC has one, a configuration with the parameters
    of the compression, and copies of other files, except the same weights in other formats. After
    an interruption at any moment, the same command continues; with other rules or bits it reuses
    the finished tensors that these do not change.

    Exit codes: 0 all is done, 1 the system failed (a full disk), 2 a file or an option is wrong,
    130 Ctrl-C.
    """
    if sensitivity is not None and weights:
        raise click.UsageError("--sensitivity and --weight: give one of them")
    if target_bits is None and (sensitivity is not None or weights):
        raise click.UsageError("--sensitivity and --weight apply only with --target-bits")
    with models.bar(progress, "compressing" if text is None else "calibrating") as bar:
        made = compress_checkpoint(
            src,
            dst,
            target_bits=target_bits,
            effort=cast(Effort, effort),
            embeddings="keep" if keep_embeddings else "compress",
            rules=rules,
            sensitivity=sensitivity or _factors(weights),
            calibration=_calibration(text, samples, context, memory, device),
            follow=bar.follow,
            **options,
        )
    said = summary(made)
    report = cast(Report, made.report)
    if as_json:
        models.print_json(said | models.report_json(report))
    else:
        click.echo(
            f"{dst}: {models.size_text(said['bytes'])} of "
            f"{models.size_text(said['dense_bytes'])}, {said['bits_per_weight']:.3f} bits a weight "
            f"in all; {said['compressed']} tensors are compressed, at "
            f"{models.decibels_text(said['sqnr_db'])} dB; "
            f"{said['tensors'] - said['compressed']} are kept as they are"
        )
        models.print_report(report, hint=" (--copy-all copies them)")
        click.echo(f"to load it: {how_to_load(made, dst)}")
    return 0


def _calibration(text: Path | None, *numbers: int | str | None) -> CalibrationText | None:
    names = ("samples", "context", "memory", "device")
    given: dict[str, Any] = {n: v for n, v in zip(names, numbers, strict=True) if v is not None}
    if text is not None:
        return CalibrationText(text, **given)
    if given:
        raise click.UsageError(f"--{next(iter(given))} is for --calibration")
    return None


# Units of `--memory`, of 1024 each.
_UNITS = "KMGT"


def _bytes(said: str | None) -> int | None:
    """A number of bytes that may have a unit."""
    if said is None:
        return None
    number, unit = said.upper().removesuffix("B").removesuffix("I"), 1
    if number and number[-1] in _UNITS:
        number, unit = number[:-1], 1024 ** (1 + _UNITS.index(number[-1]))
    try:
        found = int(float(number) * unit)
    except (ValueError, OverflowError):
        found = 0
    if found < 1:
        raise click.BadParameter(f"{said}: a number of bytes such as 8G or 500M is accepted")
    return found


def _factors(weights: tuple[str, ...]) -> dict[str, float] | None:
    factors = {}
    for text in weights:
        pattern, _, factor = text.rpartition("=")
        try:
            factors[pattern] = float(factor)
        except ValueError:
            raise click.UsageError(f"--weight {text}: PATTERN=FACTOR is accepted") from None
    return factors or None
