"""``hypercomp-rs decompress``: decodes a compressed model into files like the original ones."""

from __future__ import annotations

from pathlib import Path

import click

from ..checkpoint import decompress_checkpoint
from . import models


@click.command()
@click.argument("src", type=click.Path(exists=True, path_type=Path))
@click.argument("dst", type=click.Path(path_type=Path))
@models.threads_option
@models.restart_option
@models.progress_option
def decompress(
    src: Path, dst: Path, threads: int | None, restart: bool, progress: bool | None
) -> int:
    """Decode the compressed model in SRC into the folder DST.

    DST has the shards, names, shapes and dtypes of the model that SRC was made from, and copies of
    its other files. After an interruption at any moment, the same command continues after the last
    finished shard.

    Exit codes: 0 all is done, 1 the system failed (a full disk), 2 a file or an option is wrong,
    130 Ctrl-C.
    """
    with models.bar(progress, "decoding") as bar:
        report = decompress_checkpoint(
            src, dst, threads=threads, restart=restart, follow=bar.follow
        )
    models.print_report(report)
    return 0
