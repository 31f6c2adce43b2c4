"""GGUF files, the format of llama.cpp, as a source of tensors."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._extras import imported
from ..errors import DtypeError, FormatError
from .configuration import CONFIG
from .gguf_header import Stored, Value
from .gguf_names import row_order, transformers_names
from .gguf_parts import gguf_files, read_parts
from .other_files import other_files
from .shards import SINGLE
from .source import Entry, Source

if TYPE_CHECKING:
    import numpy.typing as npt

# Types whose bytes are used without decoding.
_STORED_TYPES = ("F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64")
# Types that the package gguf decodes, to float32: a block's numbers times its scale, exactly.
_BLOCK_TYPES = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
# Bytes that are decoded at a time. The package gguf needs some ten times as much memory.
_PIECE_BYTES = 1 << 21


class Gguf(Source):
    """The tensors of a GGUF model, those in blocks decoded to float32.

    For the architectures "llama" (also Mistral's), "qwen2" and "qwen3", names and rows are those of
    transformers, and the source has a ``config.json`` and a tokenizer's files, which transformers
    makes. For other architectures, and if any tensor has no name in transformers (such as those of
    experts), all tensors have the names and rows of the file. :meth:`notes` says so.

    Parameters
    ----------
    path
        A file; any part of a split model, which is read with all its parts; or a folder with one
        model.

    Raises
    ------
    FormatError
        It is no GGUF file or is damaged; or a part of a split model is missing or does not fit the
        others. The message names the file.
    InvalidArgumentError
        A folder has several models.
    DtypeError
        A tensor has a type that cannot be decoded.
    MissingExtraError
        The extra ``[gguf]`` is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts = gguf_files(path)
        headers = read_parts(self.parts)
        self.values: Mapping[str, Value] = headers[self.parts[0]].values
        self.stored: dict[str, Stored] = {}
        self._file: dict[str, Path] = {}
        self._entries: dict[str, Entry] = {}
        all_names = [name for header in headers.values() for name in header.tensors]
        self.unnamed, names = transformers_names(all_names, self.values)
        # Whether names and rows are those of transformers.
        self.known = self.unnamed is None
        for at, (file, header) in enumerate(headers.items(), 1):
            shard = SINGLE
            if len(headers) > 1:
                shard = f"model-{at:05d}-of-{len(headers):05d}.safetensors"
            for stored in sorted(header.tensors.values(), key=lambda stored: stored.start):
                name = names[stored.name]
                if name:
                    self.stored[name] = stored
                    self._file[name] = file
                    self._entries[name] = Entry(name, _dtype(file, stored), stored.shape, shard)
        self._made: Path | None = None

    def __getstate__(self) -> dict[str, Any]:
        """The path alone."""
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    @property
    def entries(self) -> Mapping[str, Entry]:
        """See :class:`Source`."""
        return self._entries

    def read(self, name: str) -> npt.NDArray[np.uint8]:
        """See :class:`Source`."""
        return self._rows(name, np.arange(_rows(self.stored[name])))

    def pieces(self, name: str, size: int) -> Iterator[memoryview]:
        """See :class:`Source`; whole rows at a time."""
        count = _rows(self.stored[name])
        step = max(1, size * count // max(1, self._entries[name].nbytes))
        for start in range(0, count, step):
            yield self._rows(name, np.arange(start, min(start + step, count))).data

    def sample(self, name: str, rows: Sequence[int]) -> npt.NDArray[np.uint8]:
        """See :class:`Source`; only these rows are read."""
        shape = self._entries[name].shape
        if len(shape) < 2:
            return super().sample(name, rows)
        within = np.arange(_rows(self.stored[name]) // max(1, shape[0]))
        places = np.asarray(rows)[:, None] * len(within) + within
        return self._rows(name, places.reshape(-1))

    def weights_files(self) -> Sequence[Path]:
        """See :class:`Source`."""
        return self.parts

    def files(self) -> Mapping[str, Path]:
        """See :class:`Source`: the files that transformers makes, and those beside the model.

        A model without transformers' names gets no configuration, as it would be loaded wrongly.
        """
        beside = {place: path for place, path, other in self._others() if not other}
        beside.pop(CONFIG, None)
        if not self.known:
            return beside
        if self._made is None:
            made = Path(tempfile.mkdtemp(prefix="hypercomp-"))
            weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
            _describe(self.parts[0], made, tied="lm_head.weight" not in self._entries)
            self._made = made
        return beside | {path.name: path for path in sorted(self._made.iterdir())}

    def passed_over(self) -> Sequence[str]:
        """See :class:`Source`."""
        return [place for place, _, other in self._others() if other]

    def notes(self) -> Sequence[str]:
        """See :class:`Source`."""
        if self.unnamed is None:
            return ()
        return [
            f"{self.path}: tensors keep llama.cpp's names and the result has no {CONFIG}, so that "
            f"Checkpoint reads it and transformers does not: {self.unnamed}"
        ]

    @property
    def root(self) -> Path | None:
        """See :class:`Source`; none where the source is a file of its own."""
        return self.path if self.path.is_dir() else None

    def _others(self) -> list[tuple[str, Path, bool]]:
        if self.root is None:
            return []
        return other_files({part.name for part in self.parts}, self.root)

    def _rows(self, name: str, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        """Rows along the last axis, decoded in small pieces."""
        stored, entry, path = self.stored[name], self._entries[name], self._file[name]
        count = _rows(stored)
        order = row_order(stored.name, count, self.values) if self.known else None
        places = rows if order is None else order[rows]
        width = stored.nbytes // max(1, count)
        out = np.empty((len(rows), entry.nbytes // max(1, count)), np.uint8)
        step = max(1, _PIECE_BYTES // max(1, width))
        with path.open("rb", buffering=0) as file:
            for at in range(0, len(rows), step):
                coded = np.empty((len(places[at : at + step]), width), np.uint8)
                self._read(file, coded, places[at : at + step], stored)
                out[at : at + step] = _decoded(coded, stored).reshape(len(coded), -1)
        return out.reshape(-1)

    def _read(
        self, file: Any, out: npt.NDArray[np.uint8], places: npt.NDArray[np.intp], stored: Stored
    ) -> None:
        """Fill `out` with these rows. Neighbouring rows are read at once."""
        width = out.shape[1]
        runs = np.flatnonzero(np.diff(places) != 1) + 1
        for run in np.split(np.arange(len(places)), runs):
            file.seek(stored.start + int(places[run[0]]) * width)
            wanted = out[run[0] : run[-1] + 1].reshape(-1).data
            while wanted:
                count = file.readinto(wanted)
                if not count:
                    raise FormatError(
                        f"{file.name}: {stored.name} is cut off: the file was longer when it was "
                        "opened"
                    )
                wanted = wanted[count:]


def _rows(stored: Stored) -> int:
    """Number of rows that can be read by themselves."""
    if len(stored.shape) < 2:
        return stored.shape[0] if stored.shape and stored.kind in _STORED_TYPES else 1
    return math.prod(stored.shape[:-1])


def _dtype(path: Path, stored: Stored) -> str:
    if stored.kind in _STORED_TYPES:
        return stored.kind
    if stored.kind in _BLOCK_TYPES:
        return "F32"
    raise DtypeError(
        f"{path}: {stored.name} is of type {stored.kind}: "
        f"{', '.join(_STORED_TYPES + _BLOCK_TYPES)} are decoded"
    )


def _decoded(coded: npt.NDArray[np.uint8], stored: Stored) -> npt.NDArray[np.uint8]:
    """The bytes of the elements, from whole rows of the file."""
    if stored.kind in _STORED_TYPES or coded.size == 0:
        return coded
    gguf = imported("gguf", "gguf", "a GGUF file")
    # A scale may be NaN or infinite. Compression refuses such weights.
    with np.errstate(all="ignore"):
        decoded: npt.NDArray[np.float32] = gguf.dequantize(
            coded, gguf.GGMLQuantizationType[stored.kind]
        )
    return np.ascontiguousarray(decoded, "<f4").view(np.uint8)


def _describe(path: Path, folder: Path, *, tied: bool) -> None:
    """Write the configuration and the tokenizer of a GGUF file as transformers has them.

    `tied` is whether the model has no last layer of its own. transformers looks for one only in
    this file, and in a split model it is in another part.
    """
    transformers = imported("transformers", "gguf", "a GGUF file's configuration")
    imported("torch", "gguf", "a GGUF file's configuration")
    options = {"gguf_file": path.name, "local_files_only": True}
    try:
        config = transformers.AutoConfig.from_pretrained(path.parent, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, **options)
    except Exception as error:
        # Any exception here is caused by the file's contents.
        raise FormatError(f"{path}: transformers cannot read what it says: {error}") from error
    by_type = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    config.architectures = config.architectures or [by_type[config.model_type]]
    config.tie_word_embeddings = tied
    # The dtype that the tensors are decoded to.
    config.dtype = "float32"
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
