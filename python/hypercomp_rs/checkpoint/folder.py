"""What a model's folder has beside its shards: an index, a configuration, and other files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._durable import written
from ..errors import InvalidArgumentError
from .configuration import CONFIG, read_config
from .load_guard import METHOD, QUANTIZATION
from .plan import Plan, Request
from .shard_writer import FORMAT, PIECE
from .shards import INDEX
from .source import Source


def write_index(folder: Path, shard_of: Mapping[str, str], nbytes: int) -> None:
    """The index of shards: the file of each entry, and the bytes of all."""
    index = {"metadata": {"total_size": nbytes}, "weight_map": dict(sorted(shard_of.items()))}
    with written(folder / INDEX) as file:
        file.write((json.dumps(index, indent=2) + "\n").encode())


def copy_files(source: Source, folder: Path) -> None:
    """The source's other files, but for its configuration."""
    for place, path in source.files().items():
        if place == CONFIG:
            continue
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file, written(target) as copy:
            while data := file.read(PIECE):
                copy.write(data)


def refuse_inside(dst: Path, source: Source) -> None:
    """Raise where the result would be among the files that are copied to it."""
    if source.path.is_dir() and dst.resolve().is_relative_to(source.path.resolve()):
        raise InvalidArgumentError(f"{dst} is inside of {source.path}: give a place beside it")


def refuse_quantised(source: Source) -> None:
    """Raise where a model's configuration says that it is quantised already."""
    path = source.files().get(CONFIG)
    said = read_config(path).get(QUANTIZATION) if path is not None else None
    if said is not None:
        method = said.get("quant_method") if isinstance(said, dict) else said
        raise InvalidArgumentError(
            f"{path}: the model is quantised already ({QUANTIZATION} of {method!r}): its weights "
            "are another method's codes"
        )


def quantization_config(request: Request, plan: Plan) -> dict[str, Any]:
    """What the configuration of a compressed model says of it."""
    said = request.key()
    modules = sorted(name.removesuffix(".weight") for name in plan.kept if name.endswith(".weight"))
    asked = {
        "bits": request.trellis.bits,
        "target_bits": request.target_bits,
        "target_sqnr_db": request.trellis.target_sqnr_db,
        "effort": said["effort"],
        "sparsity": said["sparsity"],
        "incoherence": said["incoherence"],
        "seed": said["seed"],
        "rules": said["rules"],
    }
    if asked["bits"] is None and asked["target_bits"] is None and asked["target_sqnr_db"] is None:
        asked["bits"] = 4
    return {
        "quant_method": METHOD,
        "format": FORMAT,
        **{name: value for name, value in asked.items() if value is not None},
        "modules_to_not_convert": modules,
    }
