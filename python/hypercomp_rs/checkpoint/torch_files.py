"""PyTorch's files, ``.bin``, ``.pt`` and ``.pth``, as a source of tensors.

They are pickles, and a pickle may run any code. Only ``torch.load(weights_only=True)`` reads them,
which makes tensors, containers and numbers, and refuses whatever else a pickle asks for.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._extras import imported
from ..errors import DtypeError, FormatError, InvalidArgumentError
from .shards import other_files, safetensors_name, weight_map
from .source import Entry, Source

if TYPE_CHECKING:
    import numpy.typing as npt

SINGLE = "pytorch_model.bin"
INDEX = "pytorch_model.bin.index.json"
SUFFIXES = (".bin", ".pt", ".pth")

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
}
