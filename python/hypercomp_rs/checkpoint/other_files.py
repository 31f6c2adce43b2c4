"""What a model's folder has beside the weights that are read: what is copied, what is left out."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

# How the weights of other frameworks and runtimes end, wherever they lie.
_FOREIGN = (
    *(".h5", ".msgpack", ".ot", ".gguf", ".ggml", ".tflite", ".mlmodel", ".engine", ".pdparams"),
    *(".onnx", ".onnx_data", ".onnx.data"),
)
# How weights of torch end, which are a model's own, or another module's in a folder below.
_TORCH = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
_INDEX = re.compile(r"\.(safetensors|bin)\.index(\.[^.]+)?\.json$")
# Folders of exports to other runtimes: without the weights nothing in them is of use.
_EXPORTS = ("onnx", "openvino", "coreml", "tflite", "tensorrt", "saved_model", "metal", "mlx")
_EXPORT_ENDINGS = (".mlpackage", ".mlmodelc")
# Where a model's authors keep the weights that it was converted from, and what Meta and Mistral
# call them.
_ORIGINAL = "original"
_CONSOLIDATED = "consolidated"


def files_beside(taken: Collection[str], folder: Path) -> list[tuple[str, Path]]:
    """Files beneath a folder but for those `taken`, by their place; hidden ones are left out.

    Folders that links lead to are gone through like others, each once.
    """
    found = []
    seen = {folder.resolve()}
    for below, folders, names in os.walk(folder, followlinks=True):
        inside = []
        for name in sorted(folders):
            target = Path(below, name).resolve()
            if not name.startswith(".") and target not in seen:
                seen.add(target)
                inside.append(name)
        folders[:] = inside
        for name in sorted(names):
            path = Path(below) / name
            place = path.relative_to(folder).as_posix()
            hidden = name.startswith(".") and name != ".gitattributes"
            if place not in taken and not hidden and path.is_file():
                found.append((place, path))
    return found


def other_files(taken: Collection[str], folder: Path) -> list[tuple[str, Path, bool]]:
    """The files beneath a folder but for those `taken`: place, path, and whether to leave it out.

    What is left out are the model's weights in other formats.
    """
    beside = files_beside(taken, folder)
    places = {place for place, _ in beside} | set(taken)
    return [(place, path, is_other_format(place, places)) for place, path in beside]


def is_other_format(place: str, places: Collection[str]) -> bool:
    """Whether a file beneath a model's folder has the model's weights in another format.

    `places` are all files beneath the folder. What else is in folders below belongs to the model:
    sentence-transformers' modules, for example, have weights of their own.
    """
    *folders, name = place.lower().split("/")
    if name.endswith(_FOREIGN):
        return True
    if any(below in _EXPORTS or below.endswith(_EXPORT_ENDINGS) for below in folders):
        return True
    if not is_weights(place):
        return False
    if not folders or _ORIGINAL in folders or name.startswith(_CONSOLIDATED):
        return True
    # A module's weights once more, beside those in safetensors files.
    here = place.rpartition("/")[0]
    return ".bin" in name and any(
        other.endswith(".safetensors") and other.rpartition("/")[0] == here for other in places
    )


def is_weights(place: str) -> bool:
    """Whether a file has weights of torch, or is an index of such files, by its name."""
    name = place.rpartition("/")[2].lower()
    return name.endswith(_TORCH) or _INDEX.search(name) is not None
