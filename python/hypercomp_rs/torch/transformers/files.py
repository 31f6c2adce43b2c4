"""The safetensors files that transformers has found for a model, as a source of tensors.

This package does not search the folder again, because the choice of files depends on arguments of
``from_pretrained`` such as ``variant``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...checkpoint.configuration import CONFIG
from ...checkpoint.shards import Shards
from ...checkpoint.source import Entry, Source
from ...errors import FormatError
from .._codes import DESCRIPTION

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class FoundFiles(Source):
    """The tensors of several safetensors files of one model."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.path = files[0].parent
        self._of: dict[str, Shards] = {}
        self._entries: dict[str, Entry] = {}
        self._files = [Shards(file) for file in files]
        for file in self._files:
            self._entries |= file.entries
            self._of |= dict.fromkeys(file.entries, file)

    @property
    def entries(self) -> Mapping[str, Entry]:
        """See :class:`Source`."""
        return self._entries

    def read(self, name: str) -> npt.NDArray[np.uint8]:
        """See :class:`Source`."""
        return self._of[name].read(name)

    def pieces(self, name: str, size: int) -> Iterator[memoryview]:
        """See :class:`Source`; read piece by piece."""
        return self._of[name].pieces(name, size)

    def sample(self, name: str, rows: Sequence[int]) -> npt.NDArray[np.uint8]:
        """See :class:`Source`."""
        return self._of[name].sample(name, rows)

    def files(self) -> Mapping[str, Path]:
        """The configuration, if there is one. No other file is needed, as nothing is copied."""
        config = self.path / CONFIG
        return {CONFIG: config} if config.is_file() else {}

    def weights_files(self) -> Sequence[Path]:
        """See :class:`Source`."""
        return [file.path for file in self._files]

    def metadata(self, shard: str) -> Mapping[str, str]:
        """See :class:`Source`."""
        return next(f.metadata(shard) for f in self._files if f.path.name == shard)

    def descriptions(self) -> dict[str, str]:
        """The descriptions of the compressed tensors, by their names.

        Raises
        ------
        FormatError
            A description is no text.
        """
        found = {}
        for key, entry in self._entries.items():
            if key.endswith(f"_{DESCRIPTION}") and entry.dtype == "U8" and len(entry.shape) == 1:
                name = key.removesuffix(f"_{DESCRIPTION}")
                try:
                    found[name] = self.read(key).tobytes().decode()
                except UnicodeDecodeError as error:
                    raise FormatError(f"{entry.shard}: {name}: {error}") from None
        return found

    def close(self) -> None:
        """See :class:`Source`."""
        for file in self._files:
            file.close()
