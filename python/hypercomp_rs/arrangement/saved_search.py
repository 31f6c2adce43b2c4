"""The state of a search on disk.

A file is a magic line, the length of a JSON header in eight bytes, the header, and the coordinates
found so far as little-endian 64-bit words. It is written beside its place, synchronised and moved
there, so at any moment it is a whole file or none.
"""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import time
import warnings
import zlib

import numpy as np

from .._durable import check_writable, written
from ..errors import CheckpointWarning, FormatError, InvalidArgumentError
from .search import Method, Problem, State

MAGIC = b"hypercomp-rs vertices checkpoint 1\n"
# A write may take this part of the time.
SHARE = 0.05


class SavedSearch:
    """Keeps the state of a search in a file.

    Raises
    ------
    OSError
        The file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], seconds: float, problem: Problem) -> None:
        self.path = pathlib.Path(path)
        self.seconds = seconds
        self.problem = problem
        self._due = time.monotonic() + seconds
        check_writable(self.path)

    def load(self) -> State:
        """The state in the file, or a new one where there is no file."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return State()
        state, digest = decoded(data, self.path)
        problem = self.problem
        if digest == problem.digest:
            return state
        methods: list[Method] = ["flats", "zero"] if problem.asked == "auto" else [problem.method]
        for method in methods:
            # Versions before the shuffle numbered hyperplanes as they were given.
            if digest in problem.older_digests(method):
                problem.go_on_as(method, False)
                return state
        for method, shuffled in itertools.product(methods, (False, True)):
            problem.go_on_as(method, shuffled)
            if digest == problem.digest:
                break
        else:
            raise InvalidArgumentError(
                f"checkpoint={str(self.path)!r} is of another arrangement or method: give the same "
                "A, b and method, or another path"
            )
        return state

    def follow(self, state: State) -> None:
        """Save, if it is time to."""
        if time.monotonic() >= self._due:
            self.save(state)

    def save(self, state: State) -> None:
        """Replace the file, or warn that this cannot be done.

        What was found is worth more than the file, so the search goes on.
        """
        try:
            self._write(state)
        except OSError as error:
            warnings.warn(
                f"the checkpoint {str(self.path)!r} cannot be written ({error}): the search goes "
                "on, and tries again later",
                CheckpointWarning,
                stacklevel=2,
            )
            self._due = time.monotonic() + self.seconds

    def _write(self, state: State) -> None:
        start = time.monotonic()
        words = state.numbers()
        header = {
            "problem": self.problem.digest,
            "jobs": state.jobs,
            "vertices": state.vertices,
            "cobases": state.cobases,
            "words": len(words),
            "crc32": zlib.crc32(words.data),
        }
        text = json.dumps(header).encode()
        with written(self.path) as file:
            file.write(MAGIC + len(text).to_bytes(8, "little") + text)
            file.write(zlib.crc32(text).to_bytes(4, "little"))
            file.write(words.astype("<u8", copy=False).data)
        now = time.monotonic()
        self._due = now + max(self.seconds, (now - start) / SHARE)


def decoded(data: bytes, path: pathlib.Path) -> tuple[State, str]:
    """The state in a file's bytes, and the digest of its problem."""
    damaged = FormatError(f"{path} is no checkpoint of vertices(), or a damaged one")
    start = len(MAGIC) + 8
    if not data.startswith(MAGIC) or len(data) < start:
        raise damaged
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    if (
        len(data) < end + 4
        or zlib.crc32(data[start:end]).to_bytes(4, "little") != data[end : end + 4]
    ):
        raise damaged
    header = json.loads(data[start:end])
    content = data[end + 4 :]
    if len(content) != 8 * header["words"] or zlib.crc32(content) != header["crc32"]:
        raise damaged
    state = State(
        jobs=[(list(node), int(first), int(last)) for node, first, last in header["jobs"]],
        vertices=header["vertices"],
        cobases=header["cobases"],
        blocks=[np.frombuffer(content, "<u8").astype(np.uint64, copy=False)],
    )
    return state, header["problem"]
