"""A bar of the weights that are compressed."""

from __future__ import annotations

import sys
from typing import Any


class Bar:
    """A bar of weights, where there is somebody to see it."""

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
        """So many more are done."""
        if self._progress is not None:
            self._progress.advance(self._task, weights)

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()
