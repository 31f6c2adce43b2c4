"""A model in safetensors files: one, or shards with an index."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FormatError, InvalidArgumentError
from .safetensors_file import SafetensorsFile
from .source import Entry, Source

if TYPE_CHECKING:
    import numpy.typing as npt

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

# The same weights in other formats: what a model's folder may hold beside safetensors files.
_OTHER_WEIGHTS = (
    ".safetensors",
    ".safetensors.index.json",
    ".bin",
    ".bin.index.json",
    ".pt",
    ".pth",
    ".ckpt",
    ".h5",
    ".msgpack",
    ".ot",
    ".onnx",
    ".onnx_data",
    ".gguf",
    ".tflite",
)
# An index names tensors as a header does, so it is no longer than a header may be.
_LONGEST_INDEX = 100_000_000


class Shards(Source):
    """The safetensors files of a folder, or one such file.

    Parameters
    ----------
    path
        A file; or a folder with ``model.safetensors``, or with shards and
        ``model.safetensors.index.json``, or with one other safetensors file.

    Raises
    ------
    FormatError
        A file or the index is not what it should be; names a file beyond the folder; or lacks
        tensors that the index promises.
    InvalidArgumentError
        A folder without such files, or with several and no index.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path if path.is_dir() else path.parent
        names = _shard_names(path) if path.is_dir() else [path.name]
        self.shards = {name: SafetensorsFile(self.folder / name) for name in names}
        self._entries: dict[str, Entry] = {}
        for shard, file in self.shards.items():
            for stored in file.stored.values():
                if stored.name in self._entries:
                    raise FormatError(
                        f"{path}: {stored.name} is both in {self._entries[stored.name].shard} "
                        f"and in {shard}"
                    )
                self._entries[stored.name] = Entry(stored.name, stored.dtype, stored.shape, shard)
        if path.is_dir() and (self.folder / INDEX).exists() and SINGLE not in names:
            self._check_index()

    def __getstate__(self) -> dict[str, Any]:
        """The path alone."""
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    @property
    def entries(self) -> Mapping[str, Entry]:
        """See :class:`Source`; as stored: parts of compressed tensors are among them."""
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

    def files(self) -> Mapping[str, Path]:
        """See :class:`Source`; none where the source is a file of its own."""
        return {name: path for name, path in self._others() if not is_weights(name)}

    def passed_over(self) -> Sequence[str]:
        """See :class:`Source`: the same weights in other formats."""
        return [name for name, _ in self._others() if is_weights(name)]

    def _others(self) -> list[tuple[str, Path]]:
        if not self.path.is_dir():
            return []
        return files_beside({*self.shards, INDEX}, self.folder)

    def _check_index(self) -> None:
        index = self.folder / INDEX
        for name, shard in weight_map(index).items():
            entry = self._entries.get(name)
            if entry is None or entry.shard != shard:
                raise FormatError(f"{index}: {name} is not in {shard}")

    def close(self) -> None:
        """Give the files back; reading opens them again."""
        for file in self.shards.values():
            file.close()


def files_beside(taken: Collection[str], folder: Path) -> list[tuple[str, Path]]:
    """Files beneath a folder but for those `taken`, by their place; hidden ones are left out."""
    found = []
    for below, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(below) / name
            place = path.relative_to(folder).as_posix()
            hidden = name.startswith(".") and name != ".gitattributes"
            if place not in taken and not hidden and path.is_file():
                found.append((place, path))
    return found


def is_weights(place: str) -> bool:
    """Whether a file beneath the folder has the same weights in another format.

    What is in folders below are other models' weights, as of sentence-transformers' modules, but
    for exports to other runtimes.
    """
    runtimes = (".onnx", ".onnx_data")
    return place.endswith(runtimes if "/" in place else _OTHER_WEIGHTS)


def _shard_names(folder: Path) -> list[str]:
    if (folder / SINGLE).exists():
        return [SINGLE]
    index = folder / INDEX
    if index.exists():
        names = sorted(set(weight_map(index).values()))
        for name in names:
            if not (folder / name).is_file():
                raise FormatError(f"{index}: shard {name} is missing")
        return names
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    if len(names) == 1:
        return names
    have = f"has {', '.join(names)} and no {INDEX}" if names else "has no *.safetensors"
    raise InvalidArgumentError(
        f"{folder} {have}: {SINGLE}, or shards with {INDEX}, or one other such file is accepted"
    )


def weight_map(index: Path, suffix: str = ".safetensors") -> dict[str, str]:
    """The shard of each tensor, each a file of the index's own folder."""
    size = index.stat().st_size
    if size > _LONGEST_INDEX:
        raise FormatError(f"{index}: {size} bytes, at most {_LONGEST_INDEX} are read")
    try:
        read = json.loads(index.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{index}: {error or 'nested too deeply'}") from None
    found = read.get("weight_map") if isinstance(read, dict) else None
    if not isinstance(found, dict) or not found:
        raise FormatError(f'{index}: no "weight_map" of tensors to files')
    for name, shard in found.items():
        # Neither another folder's files, nor devices or streams that some systems name with colons.
        if (
            not isinstance(shard, str)
            or not shard.endswith(suffix)
            or any(mark in shard for mark in "/\\:\0")
        ):
            raise FormatError(
                f"{index}: {name} is in {shard!r}: the name of a {suffix} file in the same "
                "folder is accepted"
            )
    return found
