"""The registry of file formats of models. A new reader joins with one entry of ``FORMATS``.

Everything that depends on which formats there are reads this table: :func:`open_source`, which
chooses a reader; the error that says what is accepted; the rule for which files beside a model are
the same weights again (`other_files.py`); and ``hypercomp-rs eval``, for formats that transformers
loads itself.

Readers are given by name and imported when a model of theirs is opened. So this module imports no
reader, and every reader can use it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

from ..errors import InvalidArgumentError
from .weight_sets import PYTORCH, SAFETENSORS, Naming, find_set


class LoadedByTransformers(NamedTuple):
    """How transformers loads a file of a format as it is, without compressing it first.

    Attributes
    ----------
    option
        The keyword of ``from_pretrained`` that takes the name of the file.
    packages
        Packages that transformers needs for it, each with the extra of ours that installs it.
    files
        "module:function" of this package: all files of the model that has the file at a path.
        transformers reads one file, so a model of several is refused.
    join
        How a user makes one file of several.
    """

    option: str
    packages: tuple[tuple[str, str], ...]
    files: str
    join: str


class Format(NamedTuple):
    """A file format of models.

    Attributes
    ----------
    title
        What a file of it is called in messages, with an article.
    reader
        "module:class" of this package. The class is a :class:`Source` whose only argument is a
        path.
    suffixes
        How the names of files with weights end.
    naming
        How the files of a folder and their index are called. None if any file with one of the
        suffixes makes a folder a model of this format.
    in_folders
        What is looked for in a folder, as the error names it.
    parts_of_models
        Whether such a file in a folder below a model's can be another part of the model, as the
        modules of sentence-transformers are. Otherwise it is taken for the same weights again.
    loads
        How transformers loads such a file as it is; None if it does not.
    """

    title: str
    reader: str
    suffixes: tuple[str, ...]
    naming: Naming | None
    in_folders: str
    parts_of_models: bool
    loads: LoadedByTransformers | None = None

    def has(self, path: Path) -> bool:
        """Whether a file is of this format, or is an index of such files, by its name."""
        if path.name.endswith(self.suffixes):
            return True
        return self.naming is not None and self.naming.read_index_name(path.name) is not None


# Of several formats in one folder, the first is read: see `_of_folder`.
FORMATS = (
    # Before PyTorch's: where a folder has both, the safetensors files are newer and read faster.
    Format(
        "a safetensors file", "shards:Shards", (".safetensors",), SAFETENSORS, "*.safetensors", True
    ),
    Format(
        "a PyTorch file",
        "torch_files:TorchFiles",
        (".bin", ".pt", ".pth", ".ckpt", ".pth.tar"),
        PYTORCH,
        "pytorch_model*.bin",
        True,
    ),
    Format(
        "a GGUF file",
        "gguf:Gguf",
        (".gguf",),
        None,
        "*.gguf",
        False,
        LoadedByTransformers(
            "gguf_file",
            (("gguf", "gguf"), ("accelerate", "eval")),
            "gguf_parts:gguf_files",
            "llama-gguf-split --merge",
        ),
    ),
)


def named(place: str) -> Any:
    """The class or function at "module:name" of this package, imported now."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f".{module}", __package__), name)


def format_of(path: Path) -> Format:
    """The format of a folder, a file or an index, by what is there.

    Raises
    ------
    InvalidArgumentError
        No format of the registry; the message says what is accepted.
    """
    if path.is_dir():
        return _of_folder(path)
    for one in FORMATS:
        if one.has(path):
            return one
    *others, last = [one.in_folders for one in FORMATS]
    suffixes = ", ".join(suffix for one in FORMATS for suffix in one.suffixes)
    raise InvalidArgumentError(
        f"{path}: a folder with {', '.join(others)} or {last} files, an index of shards, or a file "
        f"that ends in {suffixes} is accepted"
    )


def _of_folder(folder: Path) -> Format:
    """The first format with plain files, or else with a variant, or else with any file."""
    variant = None
    for one in FORMATS:
        found = None if one.naming is None else find_set(folder, one.naming)
        if found is not None and found.variant is None:
            return one
        if found is not None:
            variant = variant or one
    if variant is not None:
        return variant
    for one in FORMATS:
        if one.naming is None and any(any(folder.glob(f"*{s}")) for s in one.suffixes):
            return one
    # Its reader says what is missing.
    return FORMATS[0]


def loaded_by_transformers(path: Path) -> tuple[Format, LoadedByTransformers] | None:
    """The format of a file that transformers loads as it is, and how; None for any other path."""
    for one in FORMATS:
        if one.loads is not None and path.name.endswith(one.suffixes):
            return one, one.loads
    return None


def files_of(path: Path, loads: LoadedByTransformers) -> list[Path]:
    """All files of the model that has the file at a path."""
    return cast(Callable[[Path], list[Path]], named(loads.files))(path)
