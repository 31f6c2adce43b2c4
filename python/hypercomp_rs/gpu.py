"""Compressed tensors on CUDA devices, without torch.

A tensor is copied to a device once, by :func:`load`. After that, it is decoded or multiplied there
from its codes. Arrays are exchanged by DLPack or ``__cuda_array_interface__``: those of CuPy, JAX,
Numba and torch, and :class:`DeviceArray` of this module. Modules of torch do all this by themselves
when they are moved to a device by ``.to("cuda")``.

Importing this module loads nothing. The driver is opened at the first call. On a machine without a
driver every call raises :class:`~hypercomp_rs.DriverNotFoundError`.
"""

from __future__ import annotations

import atexit
import math
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _arrays, _core
from ._device_arrays import (
    DLPACK,
    ITEMSIZE,
    TYPESTR,
    View,
    protocol_number,
    stream_number,
    view,
)
from .errors import DtypeError, GpuError, InvalidArgumentError, OutOfBoundsError
from .tensor import CompressedTensor

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Device", "DeviceArray", "DeviceTensor", "available", "devices", "load", "to_device"]

# Before the driver is unloaded: modules are unloaded and contexts released in the right order.
atexit.register(_core.close_devices)


class Device(NamedTuple):
    """A CUDA device of this machine."""

    name: str
    capability: tuple[int, int]


def devices() -> list[Device]:
    """The CUDA devices of this machine, by number. None of them is opened.

    Raises
    ------
    DriverNotFoundError
        There is no CUDA driver.
    GpuError
        The driver is too old or does not start. The message says what to do.
    """
    return [Device(name, (major, minor)) for name, major, minor in _core.devices()]


def available() -> bool:
    """Whether there is a CUDA device that the kernels run on.

    Examples
    --------
    >>> from hypercomp_rs import gpu
    >>> gpu.available() in (True, False)
    True
    """
    try:
        return any(device.capability >= (7, 5) for device in devices())
    except GpuError:
        return False


class DeviceArray:
    """An array on a CUDA device: the result of this module's functions if no `out` is given.

    It has ``__dlpack__`` and ``__cuda_array_interface__``, so ``cupy.asarray``, ``jax.dlpack``,
    ``torch.from_dlpack`` and others accept it without a copy. Its memory is freed with the last
    reference, when the device no longer uses it.
    """

    __slots__ = ("_memory", "_stream", "dtype", "shape")

    dtype: str
    shape: tuple[int, ...]

    def __init__(self, memory: _core.DeviceMemory, dtype: str, shape: tuple[int, ...]) -> None:
        """Not for users: see :func:`to_device`."""
        self._memory = memory
        # The stream on which it was written last; None if no write is pending.
        self._stream: int | None = None
        self.dtype = dtype
        self.shape = shape

    @property
    def device(self) -> int:
        """The number of its device."""
        return self._memory.device

    @property
    def nbytes(self) -> int:
        """Bytes of its memory."""
        return self._memory.nbytes

    def numpy(self) -> npt.NDArray[Any]:
        """A copy on the host, after all work on its stream.

        Raises
        ------
        DtypeError
            It is of bfloat16, and ``ml_dtypes`` is not installed.
        """
        out = np.empty(self.nbytes, np.uint8)
        self._memory.read_into(out, self._stream or 0)
        shaped: Any = _arrays.shaped(out, self.dtype, self.shape, "numpy")
        return shaped  # type: ignore[no-any-return]

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.dtype not in TYPESTR:
            # An AttributeError, so that hasattr() is False. The interface has no such type; DLPack
            # has.
            raise AttributeError(f"__cuda_array_interface__ has no {self.dtype}: use DLPack")
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": TYPESTR[self.dtype],
            "data": (self._memory.pointer, False),
            "strides": None,
            "stream": None if self._stream is None else protocol_number(self._stream),
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        if copy or (dl_device is not None and tuple(dl_device) != self.__dlpack_device__()):
            raise BufferError("this array is exported on its own device, without a copy")
        written = self._stream
        if written is not None and stream not in (-1, protocol_number(written)):
            self._memory.wait(written)
        return self._memory.dlpack(*DLPACK[self.dtype], self.shape)

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, device={self.device})"


def to_device(array: npt.NDArray[Any], *, device: int = 0, stream: object = None) -> DeviceArray:
    """A copy of a numpy array (or CPU tensor of torch) on a device.

    Parameters
    ----------
    array
        Any shape and strides; float32, float16, or bfloat16.
    device
        Number of the device.
    stream
        The stream to copy on, as a handle or an object of torch, CuPy, Numba or cuda.core; by
        default the default stream. The copy is complete when this returns.

    Raises
    ------
    DtypeError
        Another dtype.
    DeviceMemoryError
        The device has too little free memory.
    GpuError
        Another error of the driver.
    """
    flat = _arrays.flatten(array, "array")
    _accepted(flat.dtype, "array has dtype")
    number = stream_number(stream)
    memory = _core.DeviceMemory.holding(device, flat.elements.view(np.uint8), number)
    return DeviceArray(memory, flat.dtype, flat.shape)


def load(c: CompressedTensor, *, device: int = 0, stream: object = None) -> DeviceTensor:
    """Put a compressed tensor on a device.

    Parameters
    ----------
    c
        A tensor, compressed by any codec.
    device
        Number of the device, as ``CUDA_VISIBLE_DEVICES`` lists them.
    stream
        The stream to copy on. The copy is complete when this returns.

    Returns
    -------
    DeviceTensor
        The codes, and 32 bytes for each row, on the device.

    Raises
    ------
    DtypeError
        `c` is not compressed.
    InvalidArgumentError
        `c` is stored input by input, and there is no kernel that transposes a matrix. (Modules of
        torch accept it. Weights of shape (inputs, outputs) that are compressed with
        ``input_axis=0`` are stored in the order of their axes.)
    DriverNotFoundError, OldDriverError, DeviceNotFoundError, ArchitectureError, KernelImageError
        The device cannot be used. The message says what to do.
    DeviceMemoryError
        The device has too little free memory.
    GpuError
        A CUDA graph is being captured on the stream, or another error of the driver.
    """
    if not isinstance(c, CompressedTensor):
        raise DtypeError(f"c is a {type(c).__name__}: a CompressedTensor is accepted")
    if c.stored_by_input:
        raise InvalidArgumentError(
            f"c, of shape {c.shape}, is stored input by input: a tensor that is stored in the "
            "order of its axes is accepted (torch's modules take both)"
        )
    prepared = _core.DeviceTensor(c._code, device, stream_number(stream), None)
    return DeviceTensor(prepared, c.shape, c.dtype)


class DeviceTensor:
    """A compressed tensor on a CUDA device, made by :func:`load`.

    Several threads may use it on several streams at once. A CUDA graph can capture a call if the
    call gets all memory that it needs (``out=`` and ``workspace=``) and was made once before,
    because then it only launches kernels.
    """

    __slots__ = ("_launching", "_prepared", "_workspaces", "dtype", "shape")

    dtype: str
    shape: tuple[int, ...]

    def __init__(self, prepared: _core.DeviceTensor, shape: tuple[int, ...], dtype: str) -> None:
        """Not for users: see :func:`load`."""
        self._prepared = prepared
        self.shape = shape
        self.dtype = dtype
        # One for each stream, as the calls on one stream run one after the other.
        self._workspaces: dict[int, _core.DeviceMemory] = {}
        self._launching = threading.Lock()

    @property
    def device(self) -> int:
        """The number of its device."""
        return self._prepared.device

    @property
    def multiplies(self) -> bool:
        """Whether :meth:`matmul` accepts this tensor."""
        return self._prepared.multiplies

    def decode(
        self,
        dtype: str | None = None,
        *,
        out: Any = None,
        workspace: Any = None,
        stream: object = None,
    ) -> Any:
        """All weights, decoded on the device.

        Parameters
        ----------
        dtype
            ``"float32"``, ``"float16"`` or ``"bfloat16"``; by default the dtype it was made from.
        out
            An array on the device to decode into, instead of a new one: C order, of :attr:`shape`.
            Its dtype is that of the result.
        workspace
            An array of :meth:`decode_workspace` bytes on the device, which tensors with kept zeros
            need. Without one, memory is allocated, and the call waits until it can be freed.
        stream
            The stream to launch on, as a handle or an object of torch, CuPy, Numba or cuda.core;
            by default the default stream.

        Returns
        -------
        DeviceArray or what was given as `out`
            The same bits as :meth:`CompressedTensor.decompress` gives. It is complete when the
            stream has done this work; :meth:`DeviceArray.numpy` waits for that.

        Raises
        ------
        DtypeError
            Another dtype.
        InvalidArgumentError
            `out` is on another device, has another shape or is not contiguous; `workspace` is too
            small.
        GpuError
            An error of the driver.
        """
        return self._decode(0, self.shape, dtype, out, workspace, stream)

    def rows(
        self,
        start: int,
        stop: int,
        dtype: str | None = None,
        *,
        out: Any = None,
        workspace: Any = None,
        stream: object = None,
    ) -> Any:
        """The entries ``start`` to ``stop - 1`` along the first axis, decoded on the device.

        As :meth:`decode`, with `out` of shape (stop − start, …).

        Raises
        ------
        OutOfBoundsError
            A bound beyond the axis.
        InvalidArgumentError
            The rows share Hadamard blocks with others, as rows of fewer than 128 weights do.
        """
        length = self.shape[0] if self.shape else 0
        if not 0 <= start <= stop <= length:
            raise OutOfBoundsError(
                f"rows {start} to {stop} of a tensor of shape {self.shape}: "
                f"0 <= start <= stop <= {length} is accepted"
            )
        below = self.shape[1:]
        shape = (stop - start, *below)
        return self._decode(start * math.prod(below), shape, dtype, out, workspace, stream)

    def _decode(
        self,
        start: int,
        shape: tuple[int, ...],
        dtype: str | None,
        out: Any,
        workspace: Any,
        stream: object,
    ) -> Any:
        number = stream_number(stream)
        if out is not None and dtype is not None:
            raise InvalidArgumentError("dtype and out were both given: the dtype is that of out")
        result = self._new(dtype or self.dtype, shape) if out is None else out
        place = self._place(result, shape, "out", number)
        needed = self._prepared.decode_workspace(place.dtype)
        # Kept until the kernel is launched. Freeing the memory waits for the kernel.
        room = self._workspace(needed, workspace, number)
        self._prepared.decode_into(
            place.dtype,
            start,
            start + math.prod(shape),
            (place.pointer, place.nbytes),
            (room.pointer, room.nbytes),
            number,
        )
        return _written(result, number)

    def decode_workspace(self, dtype: str | None = None) -> int:
        """Bytes of workspace that :meth:`decode` needs; mostly 0."""
        return self._prepared.decode_workspace(dtype or self.dtype)

    def matmul(
        self, x: Any, *, out: Any = None, workspace: Any = None, stream: object = None
    ) -> Any:
        """``x @ W.T`` for the compressed matrix W, which is decoded only in registers.

        Parameters
        ----------
        x
            (..., columns), vectors on the device in C order: float32, float16 or bfloat16. Meant
            for 1 to 8 vectors; more are processed 8 at a time.
        out
            (..., rows), an array on the device of x's dtype to write to, instead of a new one.
        workspace
            An array of :meth:`matmul_workspace` bytes on the device, aligned to 16. By default one
            is kept for each stream, and allocated at its first use.
        stream
            As in :meth:`decode`.

        Returns
        -------
        DeviceArray or what was given as `out`
            Computed in float32 and rounded to x's dtype. The bits of each result do not depend on
            the other vectors of the batch.

        Raises
        ------
        DtypeError
            x is no array on a CUDA device, or of another dtype.
        InvalidArgumentError
            x has another number of columns or is on another device; or W is no matrix of the
            trellis codec with rows of at least 128 weights, without kept zeros and exact weights.
            Decode such a matrix and multiply by the result.
        GpuError
            An error of the driver.
        """
        number = stream_number(stream)
        vectors = view(x, "x", number)
        _accepted(vectors.dtype, "x has dtype")
        if len(self.shape) != 2 or not vectors.shape or vectors.shape[-1] != self.shape[1]:
            raise InvalidArgumentError(
                f"x has shape {vectors.shape}: (..., columns) of a matrix is accepted, and the "
                f"compressed tensor has shape {self.shape}"
            )
        self._same_device(vectors, "x")
        rows, columns = self.shape
        shape = (*vectors.shape[:-1], rows)
        result = self._new(vectors.dtype, shape) if out is None else out
        place = self._place(result, shape, "out", number)
        if place.dtype != vectors.dtype:
            raise DtypeError(f"out has dtype {place.dtype}, and x {vectors.dtype}")
        batch = math.prod(vectors.shape[:-1])
        needed = self._prepared.product_workspace(batch)
        # Two launches use the workspace. No other call may launch between them.
        with self._launching:
            room = self._kept_workspace(needed, workspace, number)
            self._prepared.multiply_into(
                vectors.dtype,
                batch,
                (vectors.pointer, columns),
                (place.pointer, rows),
                (room.pointer, room.nbytes),
                number,
            )
        return _written(result, number)

    def matmul_workspace(self, batch: int) -> int:
        """Bytes of workspace that :meth:`matmul` needs for this number of vectors."""
        return self._prepared.product_workspace(batch)

    def _new(self, dtype: str, shape: tuple[int, ...]) -> DeviceArray:
        _accepted(dtype, "dtype")
        nbytes = math.prod(shape) * ITEMSIZE[dtype]
        return DeviceArray(_core.DeviceMemory(self.device, nbytes), dtype, shape)

    def _place(self, out: Any, shape: tuple[int, ...], name: str, stream: int) -> View:
        place = view(out, name, stream)
        if place.shape != shape:
            raise InvalidArgumentError(f"{name} has shape {place.shape}: {shape} is needed")
        _accepted(place.dtype, f"{name} has dtype")
        self._same_device(place, name)
        if not place.writable:
            raise InvalidArgumentError(f"{name} is read-only")
        return place

    def _same_device(self, place: View, name: str) -> None:
        if place.device != self.device and place.nbytes:
            raise InvalidArgumentError(
                f"{name} is on device {place.device}, and the compressed tensor on {self.device}"
            )

    def _workspace(self, needed: int, workspace: Any, stream: int) -> View | _core.DeviceMemory:
        if workspace is None:
            return _core.DeviceMemory(self.device, needed)
        place = view(workspace, "workspace", stream)
        self._same_device(place, "workspace")
        return place

    def _kept_workspace(
        self, needed: int, workspace: Any, stream: int
    ) -> View | _core.DeviceMemory:
        kept = self._workspaces.get(stream)
        if workspace is not None or kept is None or kept.nbytes < needed:
            room = self._workspace(needed, workspace, stream)
            if isinstance(room, View):
                return room
            self._workspaces[stream] = kept = room
        return kept

    def __repr__(self) -> str:
        return f"DeviceTensor(shape={self.shape}, device={self.device})"


def _written(result: Any, stream: int) -> Any:
    if isinstance(result, DeviceArray):
        result._stream = stream
    return result


def _accepted(dtype: str, what: str) -> None:
    if dtype not in ("float32", "float16", "bfloat16"):
        raise DtypeError(f"{what} {dtype}: float32, float16 and bfloat16 are accepted on a GPU")
