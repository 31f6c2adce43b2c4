"""Conversion between arrays of numpy and torch and the flat buffers of the core.

torch is imported only where a tensor is given, so that the caller has imported it already.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .errors import DtypeError, InvalidArgumentError, TooLargeError

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

ACCEPTED = "float32, float64, float16 and bfloat16 are accepted"

Kind = Literal["numpy", "torch"]


class FlatArray(NamedTuple):
    """The elements of an array in C order, with its dtype, shape and library.

    The elements of 16-bit floats are their bits, as ``uint16``.
    """

    elements: npt.NDArray[Any]
    dtype: str
    shape: tuple[int, ...]
    kind: Kind


def is_tensor(w: object) -> bool:
    """Whether `w` is a torch tensor. Does not import torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(w, torch.Tensor)


def flatten(w: npt.NDArray[Any] | torch.Tensor, name: str = "w") -> FlatArray:
    """The elements of a numpy array or torch tensor, copied only if necessary.

    `name` is the name of the argument, for errors.
    """
    if is_tensor(w):
        return _flatten_torch(w, name)
    if isinstance(w, np.ma.MaskedArray):
        raise DtypeError(
            f"{name} is a masked array: fill its masked entries first ({name}.filled(0))"
        )
    if not isinstance(w, np.ndarray | np.generic):
        raise DtypeError(
            f"{name} is a {type(w).__name__}: a numpy array or a torch tensor is accepted"
        )
    dtype = w.dtype.newbyteorder("=")
    if dtype.name not in ("float32", "float64", "float16", "bfloat16"):
        raise DtypeError(f"{name} has dtype {dtype.name}: {ACCEPTED}")
    flat = np.ascontiguousarray(w, dtype).reshape(-1)
    bits = flat.view(np.uint16) if dtype.itemsize == 2 else flat
    return FlatArray(bits, dtype.name, w.shape, "numpy")


def _flatten_torch(w: Any, name: str) -> FlatArray:
    import torch

    names = {
        torch.float32: "float32",
        torch.float64: "float64",
        torch.float16: "float16",
        torch.bfloat16: "bfloat16",
    }
    if w.dtype not in names:
        raise DtypeError(f"{name} has dtype {w.dtype}: {ACCEPTED}")
    if w.layout is not torch.strided:
        raise DtypeError(
            f"{name} has layout {w.layout}: a dense tensor is accepted ({name}.to_dense())"
        )
    dense = w.detach().cpu().contiguous().reshape(-1)
    # numpy has no bfloat16, but both have int16.
    bits = dense.view(torch.int16) if dense.element_size() == 2 else dense
    elements = bits.numpy()
    if elements.dtype == np.int16:
        elements = elements.view(np.uint16)
    return FlatArray(elements, names[w.dtype], tuple(w.shape), "torch")


def to_float32(flat: FlatArray) -> npt.NDArray[np.float32]:
    """The elements as ``float32``: rounded, widened, or the same memory."""
    if flat.dtype == "bfloat16":
        # A bfloat16 is the upper half of a float32.
        return (flat.elements.astype(np.uint32) << 16).view(np.float32)
    elements = flat.elements.view(np.float16) if flat.dtype == "float16" else flat.elements
    with np.errstate(over="ignore"):
        return elements.astype(np.float32, copy=False)


def wanted(dtype: object) -> tuple[str, Kind]:
    """The name of a dtype that the caller asks for, and the library that it belongs to."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(dtype, torch.dtype):
        return str(dtype).removeprefix("torch."), "torch"
    if dtype == "bfloat16":
        return "bfloat16", "numpy"
    try:
        return np.dtype(dtype).name, "numpy"  # type: ignore[call-overload]
    except TypeError as error:
        raise DtypeError(f"dtype={dtype!r}: {ACCEPTED}") from error


def empty(dtype: str, length: int) -> npt.NDArray[Any]:
    """A flat buffer for `length` elements, 16-bit floats as ``uint16``."""
    if dtype not in ("float32", "float64", "float16", "bfloat16"):
        raise DtypeError(f"dtype={dtype}: {ACCEPTED}")
    try:
        return np.empty(length, np.uint16 if dtype in ("float16", "bfloat16") else dtype)
    except (MemoryError, ValueError) as error:
        # A compressed tensor of zeros has no codes, so a few bytes may declare any number of
        # weights.
        raise TooLargeError(f"{length} weights of {dtype} do not fit the memory") from error


def writable(out: npt.NDArray[Any] | torch.Tensor, shape: tuple[int, ...]) -> FlatArray:
    """The memory of `out`, an array or tensor of this shape that can be written to directly."""
    if not is_tensor(out) and not isinstance(out, np.ndarray):
        raise DtypeError(
            f"out is a {type(out).__name__}: a numpy array or a torch tensor is accepted"
        )
    if tuple(out.shape) != shape:
        raise InvalidArgumentError(f"out has shape {tuple(out.shape)}: {shape} is needed")
    flat = flatten(out, "out")
    lies = out.is_contiguous() if is_tensor(out) else out.flags.c_contiguous  # type: ignore[union-attr]
    native = is_tensor(out) or out.dtype.isnative
    if not (lies and native and flat.elements.flags.writeable) or getattr(out, "is_cuda", False):
        raise InvalidArgumentError(
            "out must be contiguous, writeable, in native byte order and in the CPU's memory"
        )
    return flat


def lent_bytes(part: Any, name: str) -> npt.NDArray[np.uint8]:
    """The memory of an array of bytes, or of another object with a buffer. Never a copy."""
    if is_tensor(part):
        if part.device.type != "cpu":
            raise DtypeError(f"part {name} is on {part.device}: the CPU is accepted")
        part = part.detach().numpy()
    elif not isinstance(part, np.ndarray):
        try:
            part = np.frombuffer(part, np.uint8)
        except (TypeError, ValueError, BufferError) as error:
            raise DtypeError(
                f"part {name} is a {type(part).__name__}: an array of uint8 or a buffer is accepted"
            ) from error
    if part.dtype != np.uint8 or part.ndim != 1 or not part.flags.c_contiguous:
        raise DtypeError(
            f"part {name} has dtype {part.dtype} and shape {part.shape}: uint8 with one axis, "
            "contiguous, is accepted"
        )
    lent: npt.NDArray[np.uint8] = part
    return lent


def shaped(
    elements: npt.NDArray[Any], dtype: str, shape: tuple[int, ...], kind: Kind
) -> npt.NDArray[Any] | torch.Tensor:
    """The array or tensor with these elements in C order. It shares their memory."""
    if kind == "numpy":
        as_dtype = _numpy_bfloat16() if dtype == "bfloat16" else np.dtype(dtype)
        return elements.view(as_dtype).reshape(shape)
    import torch

    as_tensor = torch.from_numpy(elements.view(np.int16) if elements.itemsize == 2 else elements)
    return as_tensor.view(getattr(torch, dtype)).reshape(shape)


def _numpy_bfloat16() -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ImportError as error:
        raise DtypeError(
            "numpy itself has no bfloat16: ask for dtype=np.float32 or dtype=torch.bfloat16, "
            "or install ml_dtypes"
        ) from error
    bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return bfloat16
