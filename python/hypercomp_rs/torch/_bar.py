"""A progress bar over the weights of a model that is being compressed."""

from __future__ import annotations

import sys
from typing import Any


class Bar:
    """A progress bar, shown only if the error output is a terminal and rich is installed."""

    def __init__(self, wanted: bool, weights: int) -> None:
        self._progress: Any = None
        if not (wanted and weights and sys.stderr.isatty()):
            return
        try:
            from rich.console import Console
            from rich.progress import Progress
        except ImportError:
            return
        self._progress = Progress(console=Console(stderr=True))
        self._task = self._progress.add_task("compressing", total=weights)

    def __enter__(self) -> Bar:
        if self._progress is not None:
            self._progress.start()
        return self

    def advance(self, weights: int) -> None:
        """Count this number of weights as done."""
        if self._progress is not None:
            self._progress.advance(self._task, weights)

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()
