"""The folder of an unfinished result, from which an interrupted run is resumed.

The folder is ``DST.partial``, beside the destination ``DST``. If ``DST`` already exists as an empty
folder, it is not replaced: it may be a mount point, the current folder of a shell, or in a folder
without permission to write. Then the folder is ``DST/.partial``. It contains:

* ``plan.json``: the source and the plan.
* ``tensors/``: a file for each finished tensor whose shard is not finished; and what the next block
  is called with, if the model is calibrated and this does not fit in memory.
* ``lock``: held by the run that works on the folder, if the system has such locks.
* ``result/``: the finished files of the result. When all are there, it is renamed to ``DST``, or
  its files are moved to ``DST`` one by one.
* ``moving.json``: the list of these files, written before the first is moved. Weights are moved
  after other files, the index after the weights, and ``config.json`` at the end, so that a part of
  a model is not taken for the whole.

Every file is written under a temporary name, synchronised and renamed. So a file that exists is
complete, and a resumed run needs nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._durable import TEMPORARY, copy_file, synchronise, written
from ..errors import FormatError, InvalidArgumentError
from .configuration import CONFIG
from .other_files import is_weights

_PLAN = "plan.json"
_LOCK = "lock"
_MOVING = "moving.json"
_INSIDE = ".partial"
# This file exists in a destination whose result is not complete.
UNFINISHED = f"{_INSIDE}/{_PLAN}"
# A folder that an empty volume has on some file systems.
_OF_THE_SYSTEM = "lost+found"


class Work:
    """The folder of an unfinished result; a context manager in which it is locked.

    Parameters
    ----------
    dst
        The destination; links are followed.

    Raises
    ------
    InvalidArgumentError
        The destination exists and is not empty; its name is that of a file; or it is a broken link.
    FileNotFoundError
        The destination's parent folder does not exist.
    """

    def __init__(self, dst: Path) -> None:
        self.dst = Path(os.path.realpath(dst))
        self._said = str(dst)
        if dst.suffix == ".safetensors":
            raise InvalidArgumentError(f"{dst}: the result is a folder, this is a file's name")
        if self.dst.is_symlink():
            raise InvalidArgumentError(f"{dst}: a link that leads nowhere; give another place")
        inside = self.dst / _INSIDE
        beside = self.dst.with_name(f"{self.dst.name}.partial") if self.dst.name else inside
        # If the run began before the destination existed, it continues beside it.
        self._inside = self.dst.is_dir() and (inside.exists() or not beside.exists())
        self.path = inside if self._inside else beside
        self.result = self.path / "result"
        self._tensors = self.path / "tensors"
        self._held: weakref.finalize[..., Any] | None = None
        self.finished = self._is_finished()
        if not self.finished:
            self._refuse_filled()
        if not self.dst.parent.is_dir():
            raise FileNotFoundError(2, "No such folder", str(self.dst.parent))

    def _refuse_filled(self) -> None:
        if self._is_filled():
            raise InvalidArgumentError(f"{self._said} exists: give another place, or remove it")

    def _is_filled(self) -> bool:
        """Whether the destination is a file, or a folder that is not empty."""
        if not self.dst.is_dir():
            return self.dst.exists()
        return any(path.name not in (_INSIDE, _OF_THE_SYSTEM) for path in self.dst.iterdir())

    def _is_finished(self) -> bool:
        """Whether a run was interrupted while it moved the result, or removed its own files.

        A run does not begin if the destination is filled, and the plan is removed after everything
        except lock and folder.
        """
        if (self.path / _MOVING).exists():
            return True
        if not self.path.exists() or not self._is_filled() or self.result.exists():
            return False
        return (self.path / _PLAN).exists() or {p.name for p in self.path.iterdir()} <= {_LOCK}

    def begin(
        self, key: dict[str, Any], *, restart: bool, replan: bool = False
    ) -> dict[str, Any] | None:
        """Lock the folder, and return the plan of an interrupted run of the same source, if any.

        With `replan` the interrupted run may have had other parameters, which are in the plan's
        "key".

        Raises
        ------
        InvalidArgumentError
            The folder belongs to a run with another key, and `restart`, which deletes it, is not
            set; or another process works on it.
        """
        self.path.mkdir(exist_ok=True)
        self._lock()
        if restart:
            self._throw_away()
            self._refuse_filled()
        plan = self._plan()
        if plan is not None and plan["key"] != key:
            names = dict.fromkeys((*key, *plan["key"]))
            what = [name for name in names if plan["key"].get(name) != key.get(name)]
            asked = plan["key"].get("asked")
            same_kind = isinstance(asked, dict) and isinstance(key.get("asked"), dict)
            if self.finished or not replan or what != ["asked"] or not same_kind:
                raise InvalidArgumentError(
                    f"{self.path} is of another run ({', '.join(what)} differ): finish that one, "
                    "or restart to throw it away"
                )
        if self.finished:
            return plan
        for folder in (self._tensors, self.result):
            folder.mkdir(parents=True, exist_ok=True)
        # Files that a killed run did not finish.
        for path in self.path.rglob(f".*{TEMPORARY}"):
            path.unlink()
        return plan

    def _lock(self) -> None:
        """Keep other runs out, until the result is finished or this process ends."""
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

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock, even if the traceback of an error still refers to this object."""
        if self._held is not None:
            self._held()

    def planned(self, key: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Make a plan and write it with its key. If `make` raises, the folder is removed."""
        try:
            made = make()
        except BaseException:
            self._throw_away()
            self._remove()
            raise
        return self.keep_plan(key, made)

    def keep_plan(self, key: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
        """Write a plan with its key, in place of any other."""
        plan = {"key": key, **made}
        # Files that do not belong to this plan must be gone from the disk before.
        for folder in (self._tensors, self.result):
            synchronise(folder)
        with written(self.path / _PLAN) as file:
            file.write(json.dumps(plan).encode())
        return plan

    def _remove(self) -> None:
        (self.path / _LOCK).unlink(missing_ok=True)
        self.path.rmdir()

    def _throw_away(self) -> None:
        moved = self._moved()
        for place in moved:
            (self.dst / place).unlink(missing_ok=True)
        below = {parent for place in moved for parent in Path(place).parents} - {Path()}
        for folder in sorted(below, reverse=True):
            with contextlib.suppress(FileNotFoundError):
                (self.dst / folder).rmdir()
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()
        self.finished = False

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

    def states(self, block: int) -> Path:
        """The file of what calibration calls a block with."""
        return self._tensors / f"states-{block:06d}"

    def clear_other_files(self, shards: set[str]) -> None:
        """Remove all files but the shards. An earlier run may have put other files there."""
        for path in self.result.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in shards:
                path.unlink()

    def finish(self) -> None:
        """Move the result to the destination, and remove everything else."""
        if not self.finished:
            for folder in {path.parent for path in self.result.rglob("*")} | {self.result}:
                synchronise(folder)
            if self._inside or not self._renamed():
                self._list_moves()
        self._move_up()
        for folder in (self._tensors, self.result):
            if folder.exists():
                shutil.rmtree(folder)
        for name in (_MOVING, _PLAN):
            (self.path / name).unlink(missing_ok=True)
        self._remove()

    def _renamed(self) -> bool:
        """Rename the result to the destination.

        False if a folder is there that cannot be removed.
        """
        if self.dst.exists():
            try:
                self.dst.rmdir()
            except OSError:
                return False
        self.result.rename(self.dst)
        synchronise(self.dst.parent)
        return True

    def _list_moves(self) -> None:
        self._refuse_filled()
        places = [
            path.relative_to(self.result).as_posix()
            for path in self.result.rglob("*")
            if path.is_file()
        ]
        with written(self.path / _MOVING) as file:
            file.write(json.dumps(sorted(places, key=_order)).encode())

    def _moved(self) -> list[str]:
        """The files that are moved to the destination one by one, in their order."""
        path = self.path / _MOVING
        try:
            places: list[str] = json.loads(path.read_bytes())
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise FormatError(f"{path}: {error}") from None
        return places

    def _move_up(self) -> None:
        """Move the listed files that have not been moved yet."""
        places = self._moved()
        for place in places:
            here, there = self.result / place, self.dst / place
            if not here.exists():
                continue
            there.parent.mkdir(parents=True, exist_ok=True)
            try:
                here.replace(there)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                # The destination is on another volume, which was mounted after the run had begun.
                copy_file(here, there)
                here.unlink()
            # On the disk before the next file is moved, to keep the order.
            synchronise(there.parent)


def _order(place: str) -> tuple[int, str]:
    """The order in which files are moved. Files by which programs recognise a model come last."""
    if place == CONFIG:
        return 3, place
    if "/" in place or not is_weights(place):
        return 0, place
    return (2 if place.endswith(".json") else 1), place
