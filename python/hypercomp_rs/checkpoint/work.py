"""A result that is not finished: what a run leaves behind when it is killed, and finds again.

Beside the destination ``DST`` lies ``DST.partial``:

* ``plan.json`` says what is made of which source. A run with another plan does not go on from here.
* ``tensors/`` has a file for each finished tensor whose shard is not finished.
* ``lock`` is held by the run that is at work on it, where the system has such locks.
* ``result/`` has the finished files of the result. When all are there it is renamed to ``DST``.

Every file is written under a temporary name, synchronised and renamed, so a file that is there is
complete, and what a run does depends on nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._durable import TEMPORARY, synchronise, written
from ..errors import FormatError, InvalidArgumentError

_PLAN = "plan.json"
_LOCK = "lock"


class Work:
    """The folder of an unfinished result.

    Parameters
    ----------
    dst
        Where the result is to be.

    Raises
    ------
    InvalidArgumentError
        There is something already, or it would be a folder with a file's name.
    FileNotFoundError
        The folder that it is to be in.
    """

    def __init__(self, dst: Path) -> None:
        self.dst = dst
        self.path = dst.with_name(f"{dst.name}.partial")
        self.result = self.path / "result"
        self._tensors = self.path / "tensors"
        if dst.suffix == ".safetensors":
            raise InvalidArgumentError(f"{dst}: the result is a folder, this is a file's name")
        self.finished = self._is_finished()
        if not self.finished and _is_filled(dst):
            raise InvalidArgumentError(f"{dst} exists: give another place, or remove it")
        if not dst.parent.is_dir():
            raise FileNotFoundError(2, "No such folder", str(dst.parent))

    def _is_finished(self) -> bool:
        """Whether a run was cut off after it gave the result its name: what is left is to tidy.

        Nothing is begun where there is a result, and the plan goes last but for lock and folder.
        """
        if not self.path.exists() or not _is_filled(self.dst) or self.result.exists():
            return False
        return (self.path / _PLAN).exists() or {p.name for p in self.path.iterdir()} <= {_LOCK}

    def begin(self, key: dict[str, Any], *, restart: bool) -> dict[str, Any] | None:
        """The plan of a run with the same key that was cut off, if there is one.

        Raises
        ------
        InvalidArgumentError
            The folder is of a run with another key, which `restart` throws away; or another
            process is at work on it.
        """
        self.path.mkdir(exist_ok=True)
        self._lock()
        if restart:
            self._throw_away()
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

    def _lock(self) -> None:
        """Be the only one at work on it, until the result is finished or this process ends."""
        try:
            import fcntl
        except ImportError:
            return
        descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        self._held = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidArgumentError(f"{self.path}: another process is at work on it") from None
        except OSError:
            # Some network file systems have no locks.
            return

    def planned(self, key: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` says is to be done, kept with its key. Where it raises, nothing is left."""
        try:
            plan = {"key": key, **make()}
        except BaseException:
            self._throw_away()
            self._remove()
            raise
        with written(self.path / _PLAN) as file:
            file.write(json.dumps(plan).encode())
        return plan

    def _remove(self) -> None:
        (self.path / _LOCK).unlink(missing_ok=True)
        self.path.rmdir()

    def _throw_away(self) -> None:
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()

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
        self._remove()


def _is_filled(path: Path) -> bool:
    """Whether there is something: a file, or a folder that is not empty."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))
