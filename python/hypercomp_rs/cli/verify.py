"""``hypercomp-rs verify``: checks a compressed model for damage."""

from __future__ import annotations

from pathlib import Path

import click

from ..checkpoint import verify_checkpoint
from . import models

# The exit code if the model is damaged.
DAMAGED = 4


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--against",
    type=click.Path(exists=True, path_type=Path),
    help="The original model: measure every tensor's error again.",
)
@models.threads_option
@models.json_option
@models.progress_option
def verify(
    path: Path,
    against: Path | None,
    threads: int | None,
    as_json: bool,
    progress: bool | None,
) -> int:
    """Check every tensor of the model in PATH: checksum, structure, and error (with --against).

    Exit codes: 0 all is well, 1 the system failed, 2 a header or an index is damaged, so that the
    tensors cannot be checked, 4 some tensors are wrong, 130 Ctrl-C.
    """
    with models.bar(progress, "verifying") as bar:
        verdicts = verify_checkpoint(path, against=against, threads=threads, follow=bar.follow)
    wrong = [verdict for verdict in verdicts if verdict.problem is not None]
    if as_json:
        models.print_json({"ok": not wrong, "tensors": [verdict._asdict() for verdict in verdicts]})
        return DAMAGED if wrong else 0
    if against is not None:
        table = models.table(["tensor", " dB measured", "verdict"])
        for verdict in verdicts:
            models.add_row(
                table,
                verdict.name,
                models.decibels_text(verdict.sqnr_db),
                verdict.problem or "well",
            )
        models.print_table(table)
    for verdict in wrong if against is None else ():
        click.echo(models.shown(f"{verdict.name}: {verdict.problem}"))
    unchecked = sum(not verdict.checked for verdict in verdicts)
    said = f"{len(verdicts) - len(wrong)} of {len(verdicts)} tensors are well"
    click.echo(said + (f", {unchecked} have no checksum" if unchecked else ""))
    return DAMAGED if wrong else 0
