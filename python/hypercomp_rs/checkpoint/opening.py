"""A model's reader, chosen from the registry of formats."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from .formats import format_of, named
from .source import Source


def open_source(path: str | Path) -> Source:
    """The reader for a file or folder, chosen by what is there.

    A folder may have the same model in several formats. The first of these is read: plain
    safetensors files, plain ``pytorch_model*.bin`` files, a variant (``model.fp16.safetensors``).
    The path of an index (``model.safetensors.index.fp16.json``) chooses the shards that it names.

    Raises
    ------
    InvalidArgumentError
        There is nothing that can be read. The message says what is accepted.
    FileNotFoundError
        The path does not exist.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    reader = cast(type[Source], named(format_of(path).reader))
    # Every reader is made from a path alone.
    return reader(path)  # type: ignore[call-arg]
