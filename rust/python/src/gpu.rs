//! Compressed tensors on CUDA devices, for the Python modules that manage device memory.
//!
//! Addresses, lengths and streams arrive as numbers. They come from torch's tensors, DLPack or
//! `__cuda_array_interface__`. The caller guarantees that they are valid.

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use hypercomp_gpu::device::{Device, Stream, describe};
use hypercomp_gpu::dlpack::{self, DataType, Managed, Versioned};
use hypercomp_gpu::memory::{Buffer, as_bytes};
use hypercomp_gpu::{Error, ErrorKind, Float, PreparedTensor, Result, Span, Vectors};
use numpy::{PyArray1, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::ffi::{PyCapsule_Destructor, PyCapsule_GetPointer, PyCapsule_IsValid, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::codec::TensorCode;
use crate::error::gpu_to_python;

/// Run `work` with the GIL released. A panic, which would be a bug, becomes an error.
fn enter<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    let result = py.detach(|| {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            let what = "the GPU's host path failed in a way that is a bug of this package";
            Err(Error::new(ErrorKind::Driver, what))
        })
    });
    result.map_err(|error| gpu_to_python(py, error))
}

fn span((pointer, bytes): (u64, usize)) -> Span {
    Span { pointer, bytes }
}

/// Name, major and minor compute capability of every device.
#[pyfunction]
pub fn devices(py: Python<'_>) -> PyResult<Vec<(String, u32, u32)>> {
    enter(py, || {
        (0..hypercomp_gpu::count()?)
            .map(|ordinal| {
                describe(ordinal)
                    .map(|(name, capability)| (name, capability.major, capability.minor))
            })
            .collect()
    })
}

/// The version of CUDA that the driver is made for.
#[pyfunction]
pub fn cuda_version(py: Python<'_>) -> PyResult<String> {
    enter(py, hypercomp_gpu::cuda_version)
}

/// The stamp of the kernels' image, as JSON.
#[pyfunction]
pub fn kernel_stamp() -> &'static str {
    hypercomp_gpu::STAMP
}

/// Release all devices; each closes when no prepared tensor uses it.
#[pyfunction]
pub fn close_devices(py: Python<'_>) -> PyResult<()> {
    enter(py, || {
        hypercomp_gpu::close_all();
        Ok(())
    })
}

/// The number of the device that owns this memory, if any does.
#[pyfunction]
pub fn device_of(py: Python<'_>, pointer: u64) -> PyResult<Option<usize>> {
    enter(py, || hypercomp_gpu::device::device_of(pointer))
}

/// Address, device, type code and bits, shape, contiguity and read-only flag of the array in a DLPack
/// capsule. The capsule is not consumed.
#[pyfunction]
#[allow(clippy::type_complexity)] // one value for each of the fields that are read
pub fn dlpack_view(
    capsule: &Bound<'_, PyCapsule>,
) -> PyResult<(u64, usize, u8, u8, Vec<usize>, bool, bool)> {
    let py = capsule.py();
    let view = if let Ok(pointer) = capsule.pointer_checked(Some(c"dltensor_versioned")) {
        // SAFETY: a capsule of this name points to this structure, which it keeps.
        unsafe { pointer.cast::<Versioned>().as_ref() }.view()
    } else {
        let pointer = capsule.pointer_checked(Some(UNTAKEN))?;
        // SAFETY: as above.
        unsafe { pointer.cast::<Managed>().as_ref() }.view()
    };
    let view = view.map_err(|error| gpu_to_python(py, error))?;
    let DataType { code, bits, lanes } = view.dtype;
    if lanes != 1 {
        let error = Error::new(ErrorKind::Dtype, format!("elements of {lanes} lanes"));
        return Err(gpu_to_python(py, error));
    }
    let (contiguous, read_only) = (view.contiguous, view.read_only);
    Ok((
        view.pointer,
        view.device,
        code,
        bits,
        view.shape,
        contiguous,
        read_only,
    ))
}

/// The name of a DLPack capsule that is not consumed; the consumer renames it.
const UNTAKEN: &CStr = c"dltensor";

unsafe extern "C" fn release_unless_taken(capsule: *mut PyObject) {
    // SAFETY: the capsule was made by `dlpack`, below, and goes now.
    unsafe {
        if PyCapsule_IsValid(capsule, UNTAKEN.as_ptr()) == 1 {
            dlpack::release(PyCapsule_GetPointer(capsule, UNTAKEN.as_ptr()).cast());
        }
    }
}

/// Memory on a device.
#[pyclass(frozen, module = "hypercomp_rs._core")]
pub struct DeviceMemory(Arc<Buffer>);

#[pymethods]
impl DeviceMemory {
    /// New uninitialised memory.
    #[new]
    fn new(py: Python<'_>, device: usize, nbytes: usize) -> PyResult<Self> {
        enter(py, || Buffer::new(&Device::open(device)?, nbytes)).map(|buffer| Self(buffer.into()))
    }

    /// New memory with a copy of these bytes.
    #[staticmethod]
    fn holding(
        py: Python<'_>,
        device: usize,
        data: PyReadonlyArray1<'_, u8>,
        stream: usize,
    ) -> PyResult<Self> {
        let data = data.as_slice()?;
        enter(py, || {
            Buffer::holding(&Device::open(device)?, data, Stream(stream))
        })
        .map(|buffer| Self(buffer.into()))
    }

    /// Copy all bytes to the host, in stream order.
    fn read_into(
        &self,
        py: Python<'_>,
        mut out: PyReadwriteArray1<'_, u8>,
        stream: usize,
    ) -> PyResult<()> {
        let out = out.as_slice_mut()?;
        enter(py, || self.0.read(out, Stream(stream)))
    }

    #[getter]
    fn pointer(&self) -> u64 {
        self.0.pointer()
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.0.bytes()
    }

    #[getter]
    fn device(&self) -> usize {
        self.0.device().ordinal()
    }

    /// Wait for a stream of its device.
    fn wait(&self, py: Python<'_>, stream: usize) -> PyResult<()> {
        enter(py, || self.0.device().wait(Stream(stream)))
    }

    /// A DLPack capsule of all of it, as an array of this type code, bits and shape.
    fn dlpack<'py>(
        &self,
        py: Python<'py>,
        code: u8,
        bits: u8,
        shape: Vec<usize>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let dtype = DataType {
            code,
            bits,
            lanes: 1,
        };
        let described = dlpack::export(&self.0, dtype, &shape);
        let pointer = NonNull::new(described.cast()).expect("a box has an address");
        // SAFETY: what is described lives until whoever takes it, or the capsule, lets go of it.
        unsafe {
            let destructor: PyCapsule_Destructor = release_unless_taken;
            PyCapsule::new_with_pointer_and_destructor(py, pointer, UNTAKEN, Some(destructor))
        }
    }
}

/// A compressed tensor that a device can decode and multiply by.
#[pyclass(frozen, module = "hypercomp_rs._core")]
pub struct DeviceTensor(PreparedTensor);

#[pymethods]
impl DeviceTensor {
    /// Put a tensor on a device. `planes` are address and length of parts that are already on the
    /// device, for each name of `planes_of`.
    #[new]
    #[pyo3(signature = (code, device, stream, planes))]
    fn new(
        py: Python<'_>,
        code: &TensorCode,
        device: usize,
        stream: usize,
        planes: Option<Vec<(u64, usize)>>,
    ) -> PyResult<Self> {
        let lent: Option<Vec<Span>> = planes.map(|all| all.into_iter().map(span).collect());
        let tensor = code.tensor();
        enter(py, || {
            let device = Device::open(device)?;
            // SAFETY: the caller vouches for the planes, and keeps them as long as this.
            unsafe { PreparedTensor::with_planes(&device, tensor, lent.as_deref(), Stream(stream)) }
        })
        .map(Self)
    }

    /// The table of a tensor's streams, whose rows `decode_rows_into` takes; empty if the codec has no
    /// streams.
    #[staticmethod]
    fn stream_table<'py>(py: Python<'py>, code: &TensorCode) -> Bound<'py, PyArray1<u8>> {
        let table = hypercomp_gpu::stream_table(code.tensor()).unwrap_or_default();
        PyArray1::from_slice(py, as_bytes(&table))
    }

    /// The parts of a tensor that kernels read directly.
    #[staticmethod]
    fn planes_of(code: &TensorCode) -> Vec<&'static str> {
        PreparedTensor::planes(code.tensor()).to_vec()
    }

    #[getter]
    fn device(&self) -> usize {
        self.0.device().ordinal()
    }

    /// Whether vectors are multiplied without decoding first.
    #[getter]
    fn multiplies(&self) -> bool {
        self.0.multiplies()
    }

    /// Whether tensor cores multiply the codes by vectors of 16 bits.
    #[getter]
    fn by_tensor_cores(&self) -> bool {
        self.0.by_tensor_cores()
    }

    /// Bytes of workspace that `decode_into` needs.
    fn decode_workspace(&self, py: Python<'_>, dtype: &str) -> PyResult<usize> {
        let float = Float::from_name(dtype).map_err(|error| gpu_to_python(py, error))?;
        Ok(self.0.decode_workspace(float))
    }

    /// Bytes of workspace that `multiply_into` needs.
    fn product_workspace(&self, batch: usize) -> usize {
        self.0.product_workspace(batch)
    }

    /// Whether these weights can be decoded by themselves.
    fn decodes(&self, start: usize, stop: usize) -> bool {
        self.0.decodes(&(start..stop))
    }

    /// Put the data on the device that the first call of `decode_into` for this dtype would put there.
    fn warm(&self, py: Python<'_>, dtype: &str, stream: usize) -> PyResult<()> {
        enter(py, || self.0.warm(Float::from_name(dtype)?, Stream(stream)))
    }

    /// Decode the weights start to stop, flat and in C order.
    #[allow(clippy::too_many_arguments)] // memory is an address and a length
    fn decode_into(
        &self,
        py: Python<'_>,
        dtype: &str,
        start: usize,
        stop: usize,
        out: (u64, usize),
        workspace: (u64, usize),
        stream: usize,
    ) -> PyResult<()> {
        enter(py, || {
            let float = Float::from_name(dtype)?;
            let (out, workspace) = (span(out), span(workspace));
            // SAFETY: the caller vouches for the memory.
            unsafe {
                self.0
                    .decode(float, start..stop, out, workspace, Stream(stream))
            }
        })
    }

    /// Streams a row, if rows can be decoded in any order.
    #[getter]
    fn streams_a_row(&self) -> Option<usize> {
        self.0.streams_a_row()
    }

    /// Decode rows by a table of their streams.
    fn decode_rows_into(
        &self,
        py: Python<'_>,
        dtype: &str,
        table: (u64, usize),
        out: (u64, usize),
        stream: usize,
    ) -> PyResult<()> {
        enter(py, || {
            let float = Float::from_name(dtype)?;
            // SAFETY: the caller vouches for the memory and for what the table says.
            unsafe {
                self.0
                    .decode_rows(float, span(table), span(out), Stream(stream))
            }
        })
    }

    /// Multiply by `batch` vectors, given as the address of the first and the stride in elements.
    #[allow(clippy::too_many_arguments)] // memory is an address and a length
    fn multiply_into(
        &self,
        py: Python<'_>,
        dtype: &str,
        batch: usize,
        x: (u64, u64),
        out: (u64, u64),
        workspace: (u64, usize),
        stream: usize,
    ) -> PyResult<()> {
        let vectors = |(pointer, stride)| Vectors { pointer, stride };
        enter(py, || {
            let float = Float::from_name(dtype)?;
            let (x, out) = (vectors(x), vectors(out));
            // SAFETY: the caller vouches for the memory.
            unsafe {
                self.0
                    .multiply(float, batch, x, out, span(workspace), Stream(stream))
            }
        })
    }
}
