"""The files of a folder that are its model: one file, or shards with an index.

A folder may have the same model several times, in the forms of transformers and diffusers: as
``model.safetensors``, in shards with ``model.safetensors.index.json``, and in variants of either,
``model.fp16.safetensors`` and ``model.safetensors.index.fp16.json``. If there are plain files, they
are the model, because these libraries load them by default.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import FormatError, InvalidArgumentError
from .configuration import CONFIG, read_config

# The limit for the bytes of an index, which is that of a file's header.
_LONGEST_INDEX = 100_000_000
# A shard's number, e.g. model.fp16-00001-of-00002.safetensors.
_SHARD = re.compile(r"-\d+-of-\d+\.[a-z]+$")


@dataclass(frozen=True)
class WeightSet:
    """The files of one model.

    Attributes
    ----------
    shards
        Names of the files with tensors.
    index
        Name of the index, if there is one.
    variant
        "fp16" of ``model.fp16.safetensors``; None for plain files.
    """

    shards: tuple[str, ...]
    index: str | None
    variant: str | None = None


class Naming(NamedTuple):
    """The names of the files of a format.

    Attributes
    ----------
    ending
        The ending of every file with tensors.
    bases
        The usual names before the ending, the most common one first.
    others
        Whether files with other names may be a model, too.
    """

    ending: str
    bases: tuple[str, ...]
    others: bool

    def index_of(self, base: str, variant: str | None = None) -> str:
        """The name of an index."""
        return f"{base}{self.ending}.index.{f'{variant}.' if variant else ''}json"

    def read_index_name(self, name: str) -> tuple[str, str | None] | None:
        """The base and the variant in an index's name; None if it is no name of an index."""
        found = re.fullmatch(rf"(.+){re.escape(self.ending)}\.index(?:\.([^.]+))?\.json", name)
        return None if found is None else (found[1], found[2])


SAFETENSORS = Naming(".safetensors", ("model", "diffusion_pytorch_model"), others=True)
PYTORCH = Naming(".bin", ("pytorch_model", "diffusion_pytorch_model"), others=False)


def find_set(folder: Path, naming: Naming) -> WeightSet | None:
    """The files that are the model of a folder; None if the folder has no such files.

    Raises
    ------
    InvalidArgumentError
        There are several sets and none is plain; or shards without an index.
    FormatError
        An index is invalid, or names files that are missing.
    """
    named = _named_by_configuration(folder, naming)
    if named is not None:
        return named
    for base in naming.bases:
        plain = _of_base(folder, naming, base, None)
        if plain is not None:
            return plain
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    variants = _variants(folder, naming, names)
    if len(variants) == 1:
        return variants[0]
    if len(variants) > 1:
        raise InvalidArgumentError(
            f"{folder} has its weights in several variants ({', '.join(_shown(variants))}) and not "
            "as plain files: give the path of one of these files"
        )
    return _by_other_names(folder, naming, names) if naming.others else None


def set_of_index(index: Path, naming: Naming) -> WeightSet:
    """The set of files that an index names.

    Raises
    ------
    FormatError
        It is no index, or names files that are not there.
    """
    shards = sorted(set(weight_map(index, naming.ending).values()))
    for name in shards:
        if not (index.parent / name).is_file():
            raise FormatError(f"{index}: shard {name} is missing")
    found = naming.read_index_name(index.name)
    return WeightSet(tuple(shards), index.name, found[1] if found else None)


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
        # No files of other folders, and no devices or streams, which have colons on some systems.
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


def _named_by_configuration(folder: Path, naming: Naming) -> WeightSet | None:
    """The file that ``config.json`` names. transformers loads it instead of any other."""
    config = folder / CONFIG
    if naming is not SAFETENSORS or not config.is_file():
        return None
    try:
        name = read_config(config).get("transformers_weights")
    except FormatError:
        # The configuration is checked where it is needed.
        return None
    if not isinstance(name, str) or "/" in name or not (folder / name).is_file():
        return None
    if naming.read_index_name(name) is not None:
        return set_of_index(folder / name, naming)
    return WeightSet((name,), None) if name.endswith(naming.ending) else None


def _of_base(folder: Path, naming: Naming, base: str, variant: str | None) -> WeightSet | None:
    """A file or an index with a usual name. If both exist the file, as in transformers."""
    single = f"{base}.{variant}{naming.ending}" if variant else f"{base}{naming.ending}"
    index = folder / naming.index_of(base, variant)
    if (folder / single).exists():
        # An index that names only this file belongs to it. Any other index is ignored.
        mine = index.exists() and _names_only(index, single, naming)
        return WeightSet((single,), index.name if mine else None, variant)
    return set_of_index(index, naming) if index.exists() else None


def _names_only(index: Path, shard: str, naming: Naming) -> bool:
    try:
        return set(weight_map(index, naming.ending).values()) == {shard}
    except FormatError:
        return False


def _variants(folder: Path, naming: Naming, names: list[str]) -> list[WeightSet]:
    """All variants of a model with the first usual name that has any."""
    for base in naming.bases:
        single = re.compile(rf"{re.escape(base)}\.([^.]+){re.escape(naming.ending)}")
        kinds: set[str] = set()
        for name in names:
            index = naming.read_index_name(name)
            found = single.fullmatch(name)
            if index is not None and index[0] == base and index[1] is not None:
                kinds.add(index[1])
            elif found is not None and _SHARD.search(name) is None:
                kinds.add(found[1])
        sets = [_of_base(folder, naming, base, variant) for variant in sorted(kinds)]
        if sets:
            return [one for one in sets if one is not None]
    return []


def _by_other_names(folder: Path, naming: Naming, names: list[str]) -> WeightSet | None:
    """The only set of files with any name, or the plain one among variants of one name."""
    indexes = [name for name in names if naming.read_index_name(name) is not None]
    sets = [set_of_index(folder / name, naming) for name in indexes]
    in_shards = {shard for one in sets for shard in one.shards}
    sets += [
        WeightSet((name,), None)
        for name in names
        if name.endswith(naming.ending) and name not in in_shards
    ]
    if not sets:
        return None
    for one in sets:
        name = one.index or one.shards[0]
        base = name.split(f"{naming.ending}.index")[0].removesuffix(naming.ending)
        variants = [other for other in sets if _shown([other])[0].startswith(f"{base}.")]
        if len(sets) == 1 or (one.variant is None and len({*variants, one}) == len(sets)):
            return one
    raise InvalidArgumentError(
        f"{folder} has {', '.join(_shown(sets))} and no {naming.index_of(naming.bases[0])}: "
        f"{naming.bases[0]}{naming.ending}, or shards with an index, or one other such file is "
        "accepted; or the path of a file or an index"
    )


def _shown(sets: list[WeightSet]) -> list[str]:
    return [one.index or one.shards[0] for one in sets]
