"""GGUF files, the format of llama.cpp, as a source of tensors."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._extras import imported
from ..errors import DtypeError, FormatError
from .gguf_header import Stored, read_header
from .gguf_names import ARCHITECTURES, row_order, transformers_name
from .shards import SINGLE
from .source import Entry, Source

if TYPE_CHECKING:
    import numpy.typing as npt

# Types that are kept as they are.
_PLAIN = ("F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64")
# Types that the package gguf decodes, to float32: a block's numbers times its scale, exactly.
_BLOCKS = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
# Bytes that are decoded at a time; that package takes some ten times as much beside them.
_PIECE = 1 << 21


class Gguf(Source):
    """The tensors of a GGUF file, those in blocks decoded to float32.

    For the architectures "llama" (also Mistral's), "qwen2" and "qwen3" names and rows are those of
    transformers, and the model has a ``config.json`` and its tokenizer's files, as transformers
    makes them. Of other files the tensors have the names of the file, and nothing is beside them.

    Parameters
    ----------
    path
        Of the file.

    Raises
    ------
    FormatError
        It is no GGUF file, or not what it says it is.
    DtypeError
        A tensor of a type that is not decoded.
    MissingExtraError
        The extra ``[gguf]`` is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = read_header(path)
        self.known = self.header.values.get("general.architecture") in ARCHITECTURES
        self.stored: dict[str, Stored] = {}
        self._entries: dict[str, Entry] = {}
        for stored in sorted(self.header.tensors.values(), key=lambda stored: stored.start):
            name = self._name(stored.name)
            if name:
                self.stored[name] = stored
                self._entries[name] = Entry(name, _dtype(path, stored), stored.shape, SINGLE)
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
        if len(self._entries[name].shape) < 2:
            return super().sample(name, rows)
        return self._rows(name, np.asarray(rows))

    def weights_files(self) -> Sequence[Path]:
        """See :class:`Source`."""
        return [self.path]

    def files(self) -> Mapping[str, Path]:
        """See :class:`Source`; made by transformers from what the file says."""
        if not self.known:
            return {}
        if self._made is None:
            made = Path(tempfile.mkdtemp(prefix="hypercomp-"))
            weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
            _describe(self.path, made)
            self._made = made
        return {path.name: path for path in sorted(self._made.iterdir())}

    def _name(self, name: str) -> str:
        if not self.known:
            return name
        found = transformers_name(name)
        if found is None:
            raise FormatError(
                f"{self.path}: {name} is no tensor of a model of the architecture "
                f"{self.header.values['general.architecture']}"
            )
        return found

    def _rows(self, name: str, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        """Entries along the first axis, decoded, in pieces that are small beside a tensor."""
        stored, entry = self.stored[name], self._entries[name]
        count = _rows(stored)
        order = row_order(stored.name, count, self.header.values) if self.known else None
        places = rows if order is None else order[rows]
        width = stored.nbytes // max(1, count)
        out = np.empty((len(rows), entry.nbytes // max(1, count)), np.uint8)
        step = max(1, _PIECE // max(1, width))
        with self.path.open("rb", buffering=0) as file:
            for at in range(0, len(rows), step):
                coded = np.empty((len(places[at : at + step]), width), np.uint8)
                self._read(file, coded, places[at : at + step], stored)
                out[at : at + step] = _decoded(coded, stored).reshape(len(coded), -1)
        return out.reshape(-1)

    def _read(
        self, file: Any, out: npt.NDArray[np.uint8], places: npt.NDArray[np.intp], stored: Stored
    ) -> None:
        """Fill `out` with these rows, neighbours at once."""
        width = out.shape[1]
        runs = np.flatnonzero(np.diff(places) != 1) + 1
        for run in np.split(np.arange(len(places)), runs):
            file.seek(stored.start + int(places[run[0]]) * width)
            wanted = out[run[0] : run[-1] + 1].reshape(-1).data
            while wanted:
                count = file.readinto(wanted)
                if not count:
                    raise FormatError(
                        f"{self.path}: {stored.name} is cut off: the file was longer when it was "
                        "opened"
                    )
                wanted = wanted[count:]


def _rows(stored: Stored) -> int:
    """How many rows there are that can be read by themselves."""
    whole = len(stored.shape) < 2 and stored.kind not in _PLAIN
    return 1 if whole or not stored.shape else stored.shape[0]


def _dtype(path: Path, stored: Stored) -> str:
    if stored.kind in _PLAIN:
        return stored.kind
    if stored.kind in _BLOCKS:
        return "F32"
    raise DtypeError(
        f"{path}: {stored.name} is of type {stored.kind}: {', '.join(_PLAIN + _BLOCKS)} are decoded"
    )


def _decoded(coded: npt.NDArray[np.uint8], stored: Stored) -> npt.NDArray[np.uint8]:
    """The bytes of the elements, from whole rows of the file."""
    if stored.kind in _PLAIN or coded.size == 0:
        return coded
    gguf = imported("gguf", "gguf", "a GGUF file")
    # A scale may be any float16, also one that is no number: whoever compresses it will say so.
    with np.errstate(all="ignore"):
        decoded: npt.NDArray[np.float32] = gguf.dequantize(
            coded, gguf.GGMLQuantizationType[stored.kind]
        )
    return np.ascontiguousarray(decoded, "<f4").view(np.uint8)


def _describe(path: Path, folder: Path) -> None:
    """Write the configuration and the tokenizer of a GGUF file as transformers has them."""
    transformers = imported("transformers", "gguf", "a GGUF file's configuration")
    imported("torch", "gguf", "a GGUF file's configuration")
    options = {"gguf_file": path.name, "local_files_only": True}
    try:
        config = transformers.AutoConfig.from_pretrained(path.parent, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, **options)
    except Exception as error:
        # Whatever it stumbles over in there is something that the file says.
        raise FormatError(f"{path}: transformers cannot read what it says: {error}") from error
    by_type = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    config.architectures = config.architectures or [by_type[config.model_type]]
    # What the tensors are decoded to.
    config.dtype = "float32"
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
