"""The group of commands, and the handling of errors and signals.

It uses click and not typer. typer is built on click; click needs no other package, and leaves
standard output and exit codes to the program. Exit codes: 0 all is done, 1 the system failed (a
full disk, no memory), 2 the input or an option is wrong, 3 a limit was reached and the result is
partial, 4 a verified model is damaged, 130 Ctrl-C, 141 the reader of the output has closed it.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

from .. import __version__
from ..errors import HypercompError, SourceWarning
from .compress import compress
from .decompress import decompress
from .evaluate import evaluate
from .info import info
from .inspect import inspect
from .report import report
from .verify import verify
from .vertices import vertices

FAILED, WRONG, INTERRUPTED, UNREAD = 1, 2, 130, 141


class Program(click.Group):
    """A group of commands that has its own exit code for a closed pipe; click exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise click.exceptions.Exit(_unread()) from None


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="hypercomp-rs")
def program() -> None:
    """Exact vertices of hyperplane arrangements, and compressed network weights."""


for command in (compress, decompress, evaluate, info, inspect, report, verify, vertices):
    program.add_command(command)


def run(arguments: Sequence[str]) -> int:
    """The exit code of the command line with these arguments."""
    with warnings.catch_warnings():
        warnings.showwarning = partial(_show, warnings.showwarning)
        return _run(arguments)


def _show(
    others: Callable[..., None], message: Warning | str, category: type[Warning], *more: Any
) -> None:
    """Print warnings of this package like errors. Python prints all others."""
    if issubclass(category, SourceWarning):
        click.echo(f"hypercomp-rs: warning: {message}", err=True)
    else:
        others(message, category, *more)


def _run(arguments: Sequence[str]) -> int:
    try:
        code = program.main(list(arguments), prog_name="hypercomp-rs", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return WRONG
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        return _unread()
    except HypercompError as error:
        return _failed(error, WRONG)
    except FileNotFoundError as error:
        return _failed(error, WRONG)
    except (OSError, MemoryError) as error:
        return _failed(error, FAILED)


def _unread() -> int:
    # Python flushes standard output again at exit, and would report the closed pipe.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return UNREAD


def _failed(error: BaseException, code: int) -> int:
    says = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        says = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    click.echo(f"hypercomp-rs: {says}", err=True)
    return code
