"""A result that is not finished: what a run leaves behind when it is killed, and finds again.

Beside the destination ``DST`` lies ``DST.partial``:

* ``plan.json`` says what is made of which source. A run with another plan does not go on from here.
* ``tensors/`` has a file for each finished tensor whose shard is not finished.
* ``result/`` has the finished files of the result. When all are there it is renamed to ``DST``.

Every file is written under a temporary name, synchronised and renamed, so a file that is there is
complete, and what a run does depends on nothing else.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from .._durable import TEMPORARY, synchronise, written
from ..errors import FormatError, InvalidArgumentError

_PLAN = "plan.json"


class Work:
    """The folder of an unfinished result.

    Parameters
    ----------
    dst
        Where the result is to be.

    Raises
    ------
    InvalidArgumentError
        There is something already.
    """

    def __init__(self, dst: Path) -> None:
        self.dst = dst
        self.path = dst.with_name(f"{dst.name}.partial")
        self.result = self.path / "result"
        self._tensors = self.path / "tensors"
        if not self.finished and dst.exists() and (not dst.is_dir() or any(dst.iterdir())):
            raise InvalidArgumentError(f"{dst} exists: give another place, or remove it")
        if not dst.parent.is_dir():
            raise FileNotFoundError(2, "No such folder", str(dst.parent))

    @property
    def finished(self) -> bool:
        """Whether a run was cut off after it gave the result its name: what is left is to tidy.

        The plan goes last but for the folder, so a folder of nothing is what such a run leaves.
        """
        renamed = self.path.exists() and self.dst.exists() and not self.result.exists()
        return renamed and ((self.path / _PLAN).exists() or not any(self.path.iterdir()))

    def begin(self, key: dict[str, Any], *, restart: bool) -> dict[str, Any] | None:
        """The plan of a run with the same key that was cut off, if there is one.

        Raises
        ------
        InvalidArgumentError
            The folder is of a run with another key; `restart` throws it away.
        """
        if restart and self.path.exists():
            shutil.rmtree(self.path)
        plan = self._plan()
        if plan is not None and plan["key"] != key:
            what = [name for name in key if plan["key"].get(name) != key[name]]
            raise InvalidArgumentError(
                f"{self.path} is of another run ({', '.join(what)} differ): finish that one, or "
                "restart to throw it away"
            )
        if self.finished:
            return plan
        for folder in (self._tensors, self.result):
            folder.mkdir(parents=True, exist_ok=True)
        # What a run that was killed was writing.
        for path in self.path.rglob(f".*{TEMPORARY}"):
            path.unlink()
        return plan

    def _plan(self) -> dict[str, Any] | None:
        path = self.path / _PLAN
        try:
            plan = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise FormatError(f"{path}: {error}; restart to throw it away") from None
        if not isinstance(plan, dict) or "key" not in plan:
            raise FormatError(f"{path}: no plan; restart to throw it away")
        return plan

    def save(self, plan: dict[str, Any]) -> None:
        """Keep the plan, its key among it."""
        with written(self.path / _PLAN) as file:
            file.write(json.dumps(plan).encode())

    def tensor(self, number: int) -> Path:
        """The file of a finished tensor."""
        return self._tensors / f"{number:06d}.safetensors"

    def finish(self) -> None:
        """Give the result its name; the rest goes."""
        if not self.finished:
            for folder in {path.parent for path in self.result.rglob("*")} | {self.result}:
                synchronise(folder)
            if self.dst.exists():
                self.dst.rmdir()
            self.result.rename(self.dst)
            synchronise(self.dst.parent)
        if self._tensors.exists():
            shutil.rmtree(self._tensors)
        (self.path / _PLAN).unlink(missing_ok=True)
        self.path.rmdir()
