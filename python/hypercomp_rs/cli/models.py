"""Shared by the commands on models: a progress bar, tables, and numbers in readable form."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from ..checkpoint import Progress, Report

progress_option = click.option(
    "--progress/--no-progress",
    default=None,
    help="Progress bar on standard error.  [default: if that is a terminal]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
threads_option = click.option(
    "--threads", type=click.IntRange(1, 1 << 16), help="Number of threads.  [default: all]"
)
restart_option = click.option(
    "--restart", is_flag=True, help="Discard the state of another run with the same DST."
)


class Bar:
    """A progress bar: finished weights and total, weights per second, and remaining time."""

    def __init__(self, shown: bool | None, what: str) -> None:
        self._progress: Any = None
        self._task: Any = None
        self._what = what
        if shown or (shown is None and sys.stderr.isatty()):
            self._progress = _progress()

    def follow(self, progress: Progress) -> None:
        """Show the progress."""
        if self._progress is None:
            return
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(self._what, total=progress.of_weights)
            # Weights that an interrupted run has finished do not count for the speed.
            self._progress.reset(self._task, completed=progress.weights)
        self._progress.update(
            self._task, completed=progress.weights, total=max(1, progress.of_weights)
        )

    def stop(self) -> None:
        """Stop the bar. It stays visible."""
        if self._task is not None:
            self._progress.stop()


@contextmanager
def bar(shown: bool | None, what: str) -> Iterator[Bar]:
    """A bar until the end of the block; none if there is no terminal."""
    made = Bar(shown, what)
    try:
        yield made
    finally:
        made.stop()


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Throughput(ProgressColumn):
        """Weights per second."""

        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed / 1e6:.1f} M weights/s")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        Throughput(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        # Standard output is for the result.
        console=Console(stderr=True),
    )


def table(headings: list[str]) -> Any:
    """A table. Columns whose heading begins with a blank contain numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        numbers = heading.startswith(" ")
        made.add_column(heading.strip(), justify="right" if numbers else "left", no_wrap=numbers)
    return made


def add_row(made: Any, *cells: str) -> None:
    """Add a row to a table. Markup of rich and control characters in names are escaped."""
    from rich.text import Text

    made.add_row(*(Text(shown(cell)) for cell in cells))


def shown(name: str) -> str:
    """A name with escaped control characters, so that it can be printed."""
    return name if name.isprintable() else ascii(name)


def print_table(made: Any) -> None:
    """Print a table: as wide as the terminal, or as wide as necessary in a file."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console().print(made)
        return
    console = Console(width=1 << 10, file=sys.stdout)
    with console.capture() as captured:
        console.print(made)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def print_json(value: Any) -> None:
    """A value for JSON, which has no infinity: such numbers become null."""
    click.echo(json.dumps(_finite(value), indent=2))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# Number of names in a line.
_NAMED = 6


def print_report(report: Report, hint: str = "") -> None:
    """Print which files were copied or left out, and how many tensors were finished before.

    `hint` says how to get what was left out.
    """
    if report.reused:
        click.echo(f"{report.reused} tensors had been finished by an earlier run")
    for why, names in _by_reason(report.notes).items():
        click.echo(f"{len(names)} tensors: {why}: {_names(names)}")
    if report.copied:
        said = f"copied {_files_text(report.copied)}"
        if report.copied_weights:
            said += f"; weights among them are not compressed: {_names(report.copied_weights)}"
        click.echo(said)
    if report.left_out:
        click.echo(
            f"left out {_files_text(report.left_out)}, weights in other formats: "
            f"{_names(report.left_out)}{hint}"
        )


def _by_reason(notes: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, why in notes.items():
        found.setdefault(why, []).append(name)
    return found


def report_json(report: Report) -> dict[str, Any]:
    """The same as an object for JSON."""
    return {
        "reused": report.reused,
        "copied": dict(report.copied),
        "copied_weights": report.copied_weights,
        "left_out": dict(report.left_out),
        **({"notes": dict(report.notes)} if report.notes else {}),
    }


def _files_text(files: Mapping[str, int]) -> str:
    count = "1 other file" if len(files) == 1 else f"{len(files)} other files"
    return f"{count}, {size_text(sum(files.values()))}"


def _names(places: Iterable[str]) -> str:
    """Names of files. Several files of one folder are given as the folder."""
    folders = Counter(place.rpartition("/")[0] for place in places)
    found = dict.fromkeys(
        f"{folder}/" if folder and folders[folder] > 1 else place
        for place in places
        for folder in (place.rpartition("/")[0],)
    )
    names = [shown(name) for name in found]
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join(names[:_NAMED] + more)


def size_text(nbytes: float) -> str:
    """A number of bytes with a unit, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.2f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.2f} TB"


def decibels_text(decibels: float | None) -> str:
    """A ratio in dB; a dash if nothing was lost or the ratio is not known."""
    return "–" if decibels is None or math.isinf(decibels) else f"{decibels:.2f}"
