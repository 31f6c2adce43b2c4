"""``hypercomp-rs report``: a page on a compressed model, with figures."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .._durable import written
from ..errors import InvalidArgumentError
from . import models


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Output file; - is standard output.  [default: NAME-report.html in this folder]",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def report(path: Path, output: Path | None, force: bool) -> int:
    """Write an HTML page about the compressed model in PATH: size, bits and error by layer.

    It also lists the tensors that were kept. The page is one self-contained file. Needs the extra
    [plot]. Reads only headers, descriptions and the beginnings of tensors that were kept.

    Exit codes: 0 all is done, 1 the system failed (a full disk), 2 a file is no such model or
    damaged, an option is wrong, or matplotlib is missing.
    """
    from .. import plot

    if output is None:
        name = Path(os.path.abspath(path)).name
        output = Path(f"{name.removesuffix('.safetensors') or 'model'}-report.html")
    to_stdout = str(output) == "-"
    if not to_stdout and not force and output.exists():
        raise InvalidArgumentError(f"{output} is there already: --force replaces it")
    page = plot.report(path).encode()
    if to_stdout:
        click.echo(page, nl=False)
        return 0
    with written(output) as file:
        file.write(page)
    click.echo(f"wrote {models.shown(str(output))}, {models.size_text(len(page))}")
    return 0
