"""Addresses of arrays on CUDA devices, of any library, for the core.

They are read in three ways: from a torch tensor's own attributes, by DLPack, and by
``__cuda_array_interface__``. Nothing is copied, and an address is valid as long as its array
exists.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from . import _arrays
from ._core import DeviceMemory, device_of, dlpack_view
from .errors import DtypeError, InvalidArgumentError

# DLPack's code and bits of each dtype.
DLPACK = {"float32": (2, 32), "float16": (2, 16), "bfloat16": (4, 16), "uint8": (1, 8)}
_NAMES = {code: name for name, code in DLPACK.items()}
# numpy's type strings. There is none for bfloat16.
TYPESTR = {"float32": "<f4", "float16": "<f2", "uint8": "|u1"}
ITEMSIZE = {"float32": 4, "float16": 2, "bfloat16": 2, "uint8": 1}
ACCEPTED = "float32, float16 and bfloat16 are accepted on a GPU"

# The number of the legacy default stream in protocols in which 0 would be ambiguous.
_DEFAULT_STREAM = 1


class View(NamedTuple):
    """An array on a device: C order, without gaps."""

    pointer: int
    device: int
    dtype: str
    shape: tuple[int, ...]
    writable: bool

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * ITEMSIZE[self.dtype]


def stream_number(stream: object) -> int:
    """The handle of a stream: a number, or a stream of torch, CuPy, Numba or cuda.core.

    None is the default stream, 0.
    """
    if stream is None:
        return 0
    if isinstance(stream, int):
        number = stream
    elif hasattr(stream, "__cuda_stream__"):
        number = stream.__cuda_stream__()[1]
    else:
        for name in ("cuda_stream", "ptr", "handle"):
            found = getattr(stream, name, None)
            if found is not None:
                number = int(getattr(found, "value", found))
                break
        else:
            raise DtypeError(
                f"stream is a {type(stream).__name__}: None, a handle as an int, or a stream of "
                "torch, CuPy, Numba or cuda.core is accepted"
            )
    if number < 0:
        raise InvalidArgumentError(f"stream={number}: a handle is not negative")
    return number


def protocol_number(stream: int) -> int:
    """The number of a stream in DLPack and ``__cuda_array_interface__``."""
    return stream or _DEFAULT_STREAM


def view(array: object, name: str, stream: int) -> View:
    """Address, dtype and shape of an array, for use on `stream`.

    If the array's library still writes to it on another stream, `stream` waits for that.

    Raises
    ------
    DtypeError
        It is no array on a CUDA device, or has another element type.
    InvalidArgumentError
        It is not contiguous.
    """
    if _arrays.is_tensor(array):
        return _view_of_torch(array, name)
    if hasattr(array, "__dlpack__"):
        return _view_of_dlpack(array, name, stream)
    if hasattr(array, "__cuda_array_interface__"):
        return _view_of_interface(array, name, stream)
    raise DtypeError(
        f"{name} is a {type(array).__name__}: a torch tensor on a CUDA device, or an array with "
        "__dlpack__ or __cuda_array_interface__ is accepted"
    )


def _lies(contiguous: bool, name: str) -> None:
    if not contiguous:
        raise InvalidArgumentError(
            f"{name} lies in pieces: a contiguous array in C order is accepted"
        )


def _view_of_torch(array: Any, name: str) -> View:
    dtype = str(array.dtype).removeprefix("torch.")
    if not array.is_cuda:
        raise DtypeError(f"{name} is on {array.device}: a CUDA device is accepted")
    if dtype not in ITEMSIZE:
        raise DtypeError(f"{name} has dtype {dtype}: {ACCEPTED}")
    _lies(array.is_contiguous(), name)
    return View(array.data_ptr(), array.device.index, dtype, tuple(array.shape), True)


def _view_of_dlpack(array: Any, name: str, stream: int) -> View:
    kind = array.__dlpack_device__()[0]
    if kind not in (2, 13):
        where = "in the host's memory" if kind == 1 else f"on DLPack's device type {int(kind)}"
        raise DtypeError(
            f"{name} is a {type(array).__name__} {where}: an array on a CUDA device is accepted "
            "(hypercomp_rs.gpu.to_device puts one there)"
        )
    # The caller keeps the array itself, so the capsule need not be kept.
    capsule = array.__dlpack__(stream=protocol_number(stream))
    pointer, device, code, bits, shape, contiguous, read_only = dlpack_view(capsule)
    if (code, bits) not in _NAMES:
        raise DtypeError(f"{name} has elements of code {code} and {bits} bits: {ACCEPTED}")
    _lies(contiguous, name)
    return View(pointer, device, _NAMES[code, bits], tuple(shape), not read_only)


def _view_of_interface(array: Any, name: str, stream: int) -> View:
    interface = array.__cuda_array_interface__
    pointer, read_only = interface["data"]
    dtypes = {typestr: dtype for dtype, typestr in TYPESTR.items()}
    if interface["typestr"] not in dtypes:
        raise DtypeError(f"{name} has elements {interface['typestr']}: {ACCEPTED}")
    dtype = dtypes[interface["typestr"]]
    shape = tuple(interface["shape"])
    strides = interface.get("strides")
    _lies(strides is None or tuple(strides) == _strides(shape, ITEMSIZE[dtype]), name)
    device = device_of(pointer) if pointer else 0
    if device is None:
        raise DtypeError(f"{name} is at {pointer:#x}, which is no CUDA device's memory")
    theirs = interface.get("stream")
    if theirs is not None and theirs != protocol_number(stream):
        wait_for(device, 0 if theirs == _DEFAULT_STREAM else theirs)
    return View(pointer, device, dtype, shape, not read_only)


def _strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    strides: list[int] = []
    for length in reversed(shape):
        strides.insert(0, itemsize)
        itemsize *= length
    return tuple(strides)


def wait_for(device: int, stream: int) -> None:
    """Wait until a stream of a device has done all its work."""
    DeviceMemory(device, 0).wait(stream)
