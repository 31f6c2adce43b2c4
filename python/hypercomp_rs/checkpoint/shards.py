"""A model in safetensors files: one, or shards with an index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _core
from ..errors import FormatError, InvalidArgumentError
from .other_files import other_files
from .safetensors_file import SafetensorsFile
from .source import Entry, Source
from .weight_sets import SAFETENSORS, WeightSet, find_set, set_of_index, weight_map
from .work import UNFINISHED

if TYPE_CHECKING:
    import numpy.typing as npt

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


class Compressed(NamedTuple):
    """The names of the entries that form one compressed tensor."""

    description: str
    parts: Mapping[str, str]


class Shards(Source):
    """The safetensors files of a model: those of a folder, of an index, or one file.

    Parameters
    ----------
    path
        A folder with ``model.safetensors``, or with shards and ``model.safetensors.index.json``, or
        with the same files of diffusers; otherwise with one other such file or index, which may be
        a variant (``model.fp16.safetensors``). Or an index, to choose one of several; the other
        files of its folder belong to the model. Or a single file.

    Raises
    ------
    FormatError
        A file or the index is damaged; the index names a file outside of the folder, or tensors
        that are not there.
    InvalidArgumentError
        A folder without such files, or with several sets of files of which none is the usual one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        indexed = SAFETENSORS.read_index_name(path.name) is not None and path.is_file()
        self.folder = path if path.is_dir() else path.parent
        self._root = self.folder if path.is_dir() or indexed else None
        if indexed:
            found = set_of_index(path, SAFETENSORS)
        elif path.is_dir():
            found = _set_of_folder(path)
        else:
            found = WeightSet((path.name,), None)
        self._index = found.index
        self.shards = {name: SafetensorsFile(self.folder / name) for name in found.shards}
        self._entries: dict[str, Entry] = {}
        for shard, file in self.shards.items():
            for stored in file.stored.values():
                if stored.name in self._entries:
                    raise FormatError(
                        f"{path}: {stored.name} is both in {self._entries[stored.name].shard} "
                        f"and in {shard}"
                    )
                self._entries[stored.name] = Entry(stored.name, stored.dtype, stored.shape, shard)
        if self._index is not None:
            self._check_index(self.folder / self._index)
        self.compressed = self._grouped()

    def __getstate__(self) -> dict[str, Any]:
        """The path alone."""
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    @property
    def entries(self) -> Mapping[str, Entry]:
        """See :class:`Source`. The parts of compressed tensors are separate entries."""
        return self._entries

    def read(self, name: str) -> npt.NDArray[np.uint8]:
        """See :class:`Source`."""
        return self.shards[self._entries[name].shard].read(name)

    def pieces(self, name: str, size: int) -> Iterator[memoryview]:
        """See :class:`Source`; read piece by piece."""
        return self.shards[self._entries[name].shard].pieces(name, size)

    def sample(self, name: str, rows: Sequence[int]) -> npt.NDArray[np.uint8]:
        """See :class:`Source`; only these rows are read."""
        entry = self._entries[name]
        file = self.shards[entry.shard]
        stored = file.stored[name]
        row = entry.nbytes // entry.shape[0]
        out = np.empty(len(rows) * row, np.uint8)
        for at, i in enumerate(rows):
            place = out.data[at * row : (at + 1) * row]
            file.read_into(place, stored.start + i * row, name)
        return out

    def metadata(self, shard: str) -> Mapping[str, str]:
        """See :class:`Source`."""
        return self.shards[shard].metadata

    def weights_files(self) -> Sequence[Path]:
        """See :class:`Source`."""
        return [file.path for file in self.shards.values()]

    @property
    def root(self) -> Path | None:
        """See :class:`Source`; none where the source is a file of its own."""
        return self._root

    @property
    def index(self) -> str | None:
        """See :class:`Source`; that of the source, by its name."""
        return self._index

    def files(self) -> Mapping[str, Path]:
        """See :class:`Source`; none where the source is a file of its own."""
        return {place: path for place, path, other in self._others() if not other}

    def passed_over(self) -> Sequence[str]:
        """See :class:`Source`: the same weights in other formats."""
        return [place for place, _, other in self._others() if other]

    def _others(self) -> list[tuple[str, Path, bool]]:
        if self._root is None:
            return []
        return other_files({*self.shards, self._index or ""}, self._root)

    def _check_index(self, index: Path) -> None:
        for name, shard in weight_map(index).items():
            entry = self._entries.get(name)
            if entry is None or entry.shard != shard:
                raise FormatError(f"{index}: {name} is not in {shard}")

    def _grouped(self) -> dict[str, Compressed]:
        """The compressed tensors, whose parts may be in several shards."""
        names = list(self._entries)
        entries = [(entry.name, entry.dtype, entry.shape) for entry in self._entries.values()]
        try:
            groups = _core.group_entries(entries)
        except FormatError as error:
            raise FormatError(f"{self.path}: {error}") from None
        return {
            name: Compressed(names[at], {part: names[i] for part, i in parts.items()})
            for name, at, parts in groups
        }

    def place(self, name: str) -> Path:
        """The file that contains an entry."""
        return self.folder / self._entries[name].shard

    def close(self) -> None:
        """Close the files. Reading opens them again."""
        for file in self.shards.values():
            file.close()


def _set_of_folder(folder: Path) -> WeightSet:
    if (folder / UNFINISHED).exists():
        raise FormatError(
            f"{folder} is an unfinished result ({UNFINISHED} is in it): run the command that makes "
            "it again"
        )
    found = find_set(folder, SAFETENSORS)
    if found is not None:
        return found
    pipeline = (folder / "model_index.json").exists()
    raise InvalidArgumentError(
        f"{folder} has no *.safetensors: {SINGLE}, or shards with {INDEX}, or one other such file "
        "is accepted"
        + ("; a pipeline of diffusers is compressed folder by folder" if pipeline else "")
    )
