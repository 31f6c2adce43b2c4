"""Tensors that are kept as they are, as numpy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DtypeError

if TYPE_CHECKING:
    import numpy.typing as npt

_NUMPY = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "C64": "complex64",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
}
_ML_DTYPES = {
    "BF16": "bfloat16",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}


def array_of(data: npt.NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The array whose bytes these are; `dtype` is safetensors' name.

    Raises
    ------
    DtypeError
        numpy has no such dtype, and neither has ``ml_dtypes``, or this is not installed.
    """
    if dtype in _NUMPY:
        return data.view(_NUMPY[dtype]).reshape(shape)
    if dtype not in _ML_DTYPES:
        raise DtypeError(f"{dtype}: numpy has no such elements")
    try:
        import ml_dtypes
    except ImportError as error:
        raise DtypeError(f"{dtype}: numpy has it only by ml_dtypes: install that") from error
    as_dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _ML_DTYPES[dtype]))
    return data.view(as_dtype).reshape(shape)
