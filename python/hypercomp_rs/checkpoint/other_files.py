"""Which files beside a model's weights are copied, and which are left out."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from .formats import FORMATS

# Endings of weights that are the same model again, whatever folder they are in: those of other
# frameworks and runtimes, and of formats in which a model is not kept in parts.
_SAME_AGAIN = (
    *(".h5", ".msgpack", ".ot", ".ggml", ".tflite", ".mlmodel", ".engine", ".pdparams"),
    *(".onnx", ".onnx_data", ".onnx.data"),
    *(suffix for one in FORMATS if not one.parts_of_models for suffix in one.suffixes),
)
# Endings of weights that are the model's own, or those of another module in a folder below.
_OWN = tuple(suffix for one in FORMATS if one.parts_of_models for suffix in one.suffixes)
# Folders of exports to other runtimes. Without the weights their other files are useless.
_EXPORTS = ("onnx", "openvino", "coreml", "tflite", "tensorrt", "saved_model", "metal", "mlx")
_EXPORT_ENDINGS = (".mlpackage", ".mlmodelc")
# The folder, and the names of files (of Meta and Mistral), of the weights that a model was
# converted from.
_ORIGINAL = "original"
_CONSOLIDATED = "consolidated"


def files_beside(taken: Collection[str], folder: Path) -> list[tuple[str, Path]]:
    """All files beneath a folder except `taken`, by their path in it. Hidden files are left out.

    Links to folders are followed. Each folder is visited once.
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
    """All files beneath a folder except `taken`: path in the folder, path, whether to leave it out.

    Files are left out that have the model's weights in another format.
    """
    beside = files_beside(taken, folder)
    places = {place for place, _ in beside} | set(taken)
    return [(place, path, is_other_format(place, places)) for place, path in beside]


def is_other_format(place: str, places: Collection[str]) -> bool:
    """Whether a file beneath a model's folder has the model's weights in another format.

    `places` are all files beneath the folder. Other weights in folders below belong to the model,
    such as those of sentence-transformers' modules.
    """
    *folders, name = place.lower().split("/")
    if name.endswith(_SAME_AGAIN):
        return True
    if any(below in _EXPORTS or below.endswith(_EXPORT_ENDINGS) for below in folders):
        return True
    if not is_weights(place):
        return False
    if not folders or _ORIGINAL in folders or name.startswith(_CONSOLIDATED):
        return True
    # The weights of a module again, beside its safetensors file.
    here = place.rpartition("/")[0]
    return ".bin" in name and any(
        other.endswith(".safetensors") and other.rpartition("/")[0] == here for other in places
    )


def is_weights(place: str) -> bool:
    """Whether a file may have weights of the model, or is an index of such files, by its name."""
    name = place.rpartition("/")[2].lower()
    indexed = (one.naming for one in FORMATS if one.naming is not None)
    return name.endswith(_OWN) or any(naming.read_index_name(name) for naming in indexed)
