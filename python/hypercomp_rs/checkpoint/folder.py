"""The files of a model's folder beside its shards: index, configuration, and other files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._durable import copy_file, written
from ..errors import InvalidArgumentError
from .configuration import CONFIG, read_config
from .load_guard import METHOD, QUANTIZATION
from .plan import Plan, Request
from .report import Report
from .shard_writer import FORMAT
from .source import Source


def write_index(path: Path, shard_of: Mapping[str, str], nbytes: int) -> None:
    """Write the index of shards: the file of each entry, and the total number of bytes."""
    index = {"metadata": {"total_size": nbytes}, "weight_map": dict(sorted(shard_of.items()))}
    with written(path) as file:
        file.write((json.dumps(index, indent=2) + "\n").encode())


def left_out(source: Source) -> dict[str, Path]:
    """The files of a source's folder that are copied only on request, by their path in it."""
    root = source.root
    if root is None:
        return {}
    paths = {place: root / place for place in source.passed_over()}
    return {place: path for place, path in paths.items() if path.is_file()}


def report_on(source: Source, *, copy_all: bool = False) -> Report:
    """Which of a source's other files are copied, and which are not."""
    files, others = dict(source.files()), left_out(source)
    if copy_all:
        files, others = files | others, {}
    copied, skipped = (
        {place: path.stat().st_size for place, path in sorted(found.items())}
        for found in (files, others)
    )
    return Report(0, copied, skipped, {})


def copy_files(files: Mapping[str, Path], folder: Path) -> None:
    """Copy files to their paths in a folder, except the configuration."""
    for place, path in files.items():
        if place == CONFIG:
            continue
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_file(path, target)


def refuse_inside(dst: Path, source: Source) -> None:
    """Raise if the destination is inside of the source's folder, whose files are copied."""
    root = source.root
    # A broken link is refused elsewhere.
    if root is not None and Path(os.path.realpath(dst)).is_relative_to(os.path.realpath(root)):
        raise InvalidArgumentError(f"{dst} is inside of {root}: give a place beside it")


def refuse_quantised(source: Source) -> None:
    """Raise if a model's configuration says that it is quantised already."""
    path = source.files().get(CONFIG)
    said = read_config(path).get(QUANTIZATION) if path is not None else None
    if said is not None:
        method = said.get("quant_method") if isinstance(said, dict) else said
        raise InvalidArgumentError(
            f"{path}: the model is quantised already ({QUANTIZATION} of {method!r}): its weights "
            "are another method's codes"
        )


def quantization_config(request: Request, plan: Plan) -> dict[str, Any]:
    """The ``quantization_config`` of a compressed model."""
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
