"""PyTorch's files, ``.bin``, ``.pt``, ``.pth`` and ``.ckpt``, as a source of tensors.

These files are pickles, and a pickle may run any code. They are read only by
``torch.load(weights_only=True)``, which makes tensors, containers and numbers, and refuses
everything else.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .._extras import imported
from ..errors import DtypeError, FormatError, InvalidArgumentError
from .other_files import other_files
from .source import Entry, Source
from .state_dict import find_state_dict
from .weight_sets import PYTORCH, WeightSet, find_set, set_of_index, weight_map

if TYPE_CHECKING:
    import numpy.typing as npt

SINGLE = "pytorch_model.bin"
INDEX = "pytorch_model.bin.index.json"

# The first bytes of a zip archive, by which torch recognises one.
_ARCHIVE = b"PK\x03\x04"

_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
}

# A tensor with strides of 0 may have up to this number of bytes, even if its file has fewer.
_LARGEST_REPEATED = 1 << 26

# Patterns for torch's error about a file with something else.
_REFUSED_GLOBAL = re.compile(r"GLOBAL (\S+)")
_REASON = re.compile(r"WeightsUnpickler error:\s*(.+)")


class TorchFiles(Source):
    """A file that ``torch.save`` wrote, or a folder of transformers with such files.

    Parameters
    ----------
    path
        A file with a state dict, by itself or under a key such as "state_dict" or "model"; or a
        folder with ``pytorch_model.bin``, or with shards and ``pytorch_model.bin.index.json``, or
        with a variant of these; or such an index.

    Raises
    ------
    FormatError
        It is no file of torch; it has more than tensors and plain containers, which the message
        names; it is truncated; it has no state dict, or several; or an index is wrong.
    DtypeError
        A tensor is sparse, quantised or of a dtype that safetensors files do not have. The message
        names it.
    MissingExtraError
        torch is not installed.

    Notes
    -----
    Files are mapped into memory, except those of torch before 1.6, which are read whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path if path.is_dir() else path.parent
        self._tensors: dict[str, Any] = {}
        self._entries: dict[str, Entry] = {}
        self._notes: list[str] = []
        indexed = PYTORCH.read_index_name(path.name) is not None and path.is_file()
        self._root = self.folder if path.is_dir() or indexed else None
        found = self._find(indexed)
        self.names, self._index = found.shards, found.index
        for name in self.names:
            tensors, notes = _state_dict(self.folder / name)
            self._notes += notes
            for key, tensor in tensors.items():
                if key in self._entries:
                    raise FormatError(f"{path}: {key} is both in {name} and in another file")
                dtype = _checked(self.folder / name, key, tensor)
                shard = _safetensors_name(name) if self._root else "model.safetensors"
                self._entries[key] = Entry(key, dtype, tuple(tensor.shape), shard)
                self._tensors[key] = tensor
        if self._index is not None:
            self._check_index(self.folder / self._index)

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
        return _bytes(self._tensors[name])

    def pieces(self, name: str, size: int) -> Iterator[memoryview]:
        """See :class:`Source`; read piece by piece where the elements lie in order."""
        torch = imported("torch", "torch", "a PyTorch file")
        flat = _flat(self._tensors[name]).view(torch.uint8)
        for start in range(0, len(flat), size):
            yield np.array(flat[start : start + size].numpy()).data

    def sample(self, name: str, rows: Sequence[int]) -> npt.NDArray[np.uint8]:
        """See :class:`Source`; only these rows are read."""
        return _bytes(self._tensors[name][list(rows)])

    def weights_files(self) -> Sequence[Path]:
        """See :class:`Source`."""
        return [self.folder / name for name in self.names]

    @property
    def root(self) -> Path | None:
        """See :class:`Source`; none where the source is a file of its own."""
        return self._root

    @property
    def index(self) -> str | None:
        """See :class:`Source`."""
        return None if self._index is None else _safetensors_name(self._index)

    def files(self) -> Mapping[str, Path]:
        """See :class:`Source`; none where the source is a file of its own."""
        return {place: path for place, path, other in self._others() if not other}

    def passed_over(self) -> Sequence[str]:
        """See :class:`Source`: the same weights in other formats."""
        return [place for place, _, other in self._others() if other]

    def notes(self) -> Sequence[str]:
        """See :class:`Source`: what is left out, and which of several models is read."""
        return self._notes

    def _others(self) -> list[tuple[str, Path, bool]]:
        if self._root is None:
            return []
        return other_files({*self.names, self._index or ""}, self._root)

    def _find(self, indexed: bool) -> WeightSet:
        if indexed:
            return set_of_index(self.path, PYTORCH)
        if self._root is None:
            return WeightSet((self.path.name,), None)
        found = find_set(self.folder, PYTORCH)
        if found is None:
            raise InvalidArgumentError(
                f"{self.folder}: {SINGLE}, or shards with {INDEX}, is accepted"
            )
        return found

    def _check_index(self, index: Path) -> None:
        for key, name in weight_map(index, PYTORCH.ending).items():
            if key not in self._entries or self._entries[key].shard != _safetensors_name(name):
                raise FormatError(f"{index}: {key} is not in {name}")


def _safetensors_name(name: str) -> str:
    """``pytorch_model-00001-of-00002.bin`` as transformers would have it; also of an index."""
    stem, _, rest = name.removeprefix("pytorch_").rpartition(PYTORCH.ending)
    return f"{stem}.safetensors{rest}"


def _state_dict(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The tensors of a file by name, and notes for the user."""
    torch = imported("torch", "torch", "a PyTorch file")
    with path.open("rb") as file:
        mapped = file.read(len(_ARCHIVE)) == _ARCHIVE
        if mapped:
            _check_archive(path, file)
    try:
        with warnings.catch_warnings():
            # torch warns about its own older files.
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise _refusal(path, error) from error
    except (OSError, MemoryError):
        raise
    except Exception as error:
        # A damaged file may raise any exception in torch.
        raise FormatError(f"{path} is no file of torch.save: {_first_line(error)}") from error
    return find_state_dict(path, found, torch.Tensor)


def _refusal(path: Path, error: pickle.UnpicklingError) -> FormatError:
    """The error for a file that torch refuses, and what to do."""
    refused = _REFUSED_GLOBAL.search(str(error))
    if refused is None:
        reason = _REASON.search(str(error))
        why = reason[1] if reason is not None else _first_line(error)
        return FormatError(
            f"{path} is refused: it asks for more than tensors and plain containers, which may be "
            f"code ({why})"
        )
    return FormatError(
        f"{path} is refused: it asks for {refused[1]}, which may be code: tensors and plain "
        "containers are accepted. If you trust the file, load it with weights_only=False and save "
        "its state dict alone (torch.save(loaded[key], new_path), or loaded.state_dict() where it "
        "is a whole module), or allow that name by torch.serialization.add_safe_globals"
    )


def _check_archive(path: Path, file: IO[bytes]) -> None:
    """Refuse archives with compressed entries, which could have any size. torch makes none."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except MemoryError:
        raise
    except Exception as error:
        # BadZipFile, and other exceptions for damaged files, such as a seek before the start.
        raise FormatError(f"{path} is no archive of torch's: {_first_line(error)}") from error
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise FormatError(
            f"{path} is no file of torch.save but a TorchScript archive, which is code: save its "
            "weights, torch.save(torch.jit.load(path).state_dict(), new_path)"
        )
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED:
            raise FormatError(f"{path}: {entry.filename} is compressed: torch stores")


def _checked(path: Path, name: str, tensor: Any) -> str:
    """The dtype of a tensor, if it is dense, has values, and is not larger than its file."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in _DTYPES or str(tensor.layout) != "torch.strided" or tensor.is_quantized:
        hint = ""
        if tensor.is_quantized:
            hint = "; tensor.dequantize() makes it one"
        elif str(tensor.layout) != "torch.strided":
            hint = "; tensor.to_dense() makes it one"
        raise DtypeError(
            f"{path}: {name} is of dtype {dtype} and layout {tensor.layout}: dense tensors of "
            f"{', '.join(_DTYPES)} are accepted{hint}"
        )
    if tensor.device.type != "cpu":
        raise FormatError(
            f"{path}: {name} was saved on the device {tensor.device}, without values, which the "
            "file does not have: save it from a device that has them"
        )
    # A few stored elements can be spread over any shape with strides of 0.
    nbytes = tensor.numel() * tensor.element_size()
    if nbytes > max(_LARGEST_REPEATED, path.stat().st_size):
        raise FormatError(
            f"{path}: {name} of shape {tuple(tensor.shape)} takes {nbytes} bytes, which the file "
            "does not have"
        )
    return _DTYPES[dtype]


def _flat(tensor: Any) -> Any:
    """The elements of a tensor in C order."""
    # A conjugated or negated tensor may have only a flag, and is computed by these two methods.
    return tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)


def _bytes(tensor: Any) -> npt.NDArray[np.uint8]:
    torch = imported("torch", "torch", "a PyTorch file")
    flat = _flat(tensor)
    # A copy, as mapped memory must not be written to.
    return np.array(flat.view(torch.uint8).numpy())


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
