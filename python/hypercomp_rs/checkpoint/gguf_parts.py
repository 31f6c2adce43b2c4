"""The GGUF files of one model: a single file, or all parts of a model that llama.cpp has split.

The parts of ``m`` are ``m-00001-of-00003.gguf`` and so on. Each part has its number, the number of
parts, and the number of tensors of the whole model. Only the first part has the model's metadata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import FormatError, InvalidArgumentError
from .gguf_header import Header, Value, read_header

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")


def gguf_files(path: Path) -> list[Path]:
    """The files of the model at a path, which is a folder, a file, or any part of a split model.

    Raises
    ------
    FormatError
        A part is missing; the message names it.
    InvalidArgumentError
        A folder with several models, which the message lists, or with none.
    """
    if not path.is_dir():
        return _parts(path)
    models = {_parts(file)[0] for file in sorted(path.glob("*.gguf"))}
    if len(models) == 1:
        return _parts(models.pop())
    if not models:
        raise InvalidArgumentError(f"{path} has no *.gguf")
    names = ", ".join(sorted(file.name for file in models))
    raise InvalidArgumentError(f"{path} has several GGUF models: give one of the files {names}")


def _parts(path: Path) -> list[Path]:
    """All parts of the model that a file belongs to, by their names."""
    found = _PART.fullmatch(path.name)
    if found is None:
        return [path]
    model, number, count = found[1], int(found[2]), int(found[3])
    if not 1 <= number <= count:
        raise FormatError(f"{path}: there is no part {number} of {count}")
    # One by one, as a name may declare more parts than any folder has.
    parts: list[Path] = []
    while len(parts) < count:
        part = path.with_name(f"{model}-{len(parts) + 1:05d}-of-{count:05d}.gguf")
        if not part.exists():
            raise FormatError(
                f"{part} is missing: {path.name} is part {number} of {count}, and all parts of a "
                "model are read together"
            )
        parts.append(part)
    return parts


def read_parts(files: Sequence[Path]) -> dict[Path, Header]:
    """The headers of a model's files, which agree with each other and with the files' names.

    Raises
    ------
    FormatError
        As :func:`read_header`; also if a part contradicts its name, if parts have different numbers
        of parts or tensors, or if two of them have the same tensor.
    """
    headers = {file: read_header(file) for file in files}
    where: dict[str, Path] = {}
    for at, (file, header) in enumerate(headers.items()):
        _check_part(file, header.values, at, len(files))
        for name in header.tensors:
            if name in where:
                raise FormatError(f"{file}: {name} is in {where[name].name} too")
            where[name] = file
    for file, header in headers.items():
        promised = header.values.get("split.tensors.count", len(where))
        if promised != len(where):
            raise FormatError(
                f"{file}: split.tensors.count is {promised}, and the {len(files)} parts of the "
                f"model have {len(where)} tensors"
            )
    return headers


def _check_part(file: Path, values: Mapping[str, Value], at: int, count: int) -> None:
    """Check that a file is the part that its name says."""
    said = values.get("split.count", 0)
    # A model of one part may say so or not.
    if said != count and not (count == 1 and said == 0):
        expected = "a model in one file" if count == 1 else f"part {at + 1} of {count}"
        hint = ""
        if _PART.fullmatch(file.name) is None:
            hint = "; the name of a part ends with its number, as -00001-of-00002.gguf does"
        raise FormatError(
            f"{file}: split.count is {said}, and its name is that of {expected}{hint}"
        )
    if count > 1 and values.get("split.no") != at:
        raise FormatError(
            f"{file}: split.no is {values.get('split.no')}, and its name is that of part {at + 1} "
            f"of {count}, which has number {at}"
        )
