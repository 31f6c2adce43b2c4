"""A progress bar, drawn by rich."""

from __future__ import annotations

from types import TracebackType

from ..errors import MissingExtraError
from .search import State


class Bar:
    """Shows how many vertices of an estimated number are found."""

    def __init__(self, estimate: float) -> None:
        try:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )
        except ImportError as error:
            raise MissingExtraError(
                "progress=True needs rich: pip install 'hypercomp-rs[cli]'"
            ) from error
        self._progress = Progress(
            TextColumn("vertices"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("(total estimated)"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            # Standard output belongs to the result.
            console=Console(stderr=True),
        )
        self._estimate = max(1, round(estimate))
        self._task = self._progress.add_task("vertices", total=self._estimate)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def follow(self, state: State) -> None:
        """Show a state. An estimate that was too low gives way."""
        total = max(self._estimate, state.vertices) if state.jobs else max(1, state.vertices)
        self._progress.update(self._task, completed=state.vertices, total=total)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
