//! `_core.TensorCode`: a compressed tensor, for the Python class that handles numpy and torch.
//!
//! Arrays arrive flat, contiguous and in native byte order. `float16` and `bfloat16` arrive as
//! their bits in `uint16`, because neither numpy nor the stable ABI has a `bfloat16`.

use std::collections::BTreeMap;

use bytes::Bytes;
use half::slice::HalfBitsSliceExt;
use half::{bf16, f16};
use hypercomp_core::SimdLevel;
use hypercomp_core::codec::numbers::element::{Dtype, Element};
use hypercomp_core::codec::trellis::CodeSet;
use hypercomp_core::codec::{
    Axes, Codec, CompressedTensor, Goal, Linear, Parts, Payload, SecondMoment, TrellisParams,
    WindingParams,
};
use numpy::{PyArray1, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::compress::{Job, compress_as};
use crate::control::Control;
use crate::enter::enter_together;
use crate::error::to_python;

/// Bytes in the memory of a numpy array. They keep the array alive.
struct Lent {
    start: *const u8,
    len: usize,
    _array: Py<PyArray1<u8>>,
}

// SAFETY: the bytes belong to the array, which lives as long as this does and whose reference may be
// dropped by any thread. Nothing here writes to them. The caller of `from_parts` promises that nothing
// else does while they are read; and any byte value is a valid code.
unsafe impl Send for Lent {}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `start` and `len` were a slice of the array's own memory, which numpy neither moves
        // nor frees while a reference to the array exists.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

/// A compressed tensor, as the core keeps it.
#[pyclass(frozen, module = "hypercomp_rs._core")]
pub struct TensorCode(CompressedTensor);

impl TensorCode {
    /// The core's tensor.
    pub fn tensor(&self) -> &CompressedTensor {
        &self.0
    }
}

#[pymethods]
impl TensorCode {
    /// Compress with trellis codes: `bits` a weight in all, or else the fewest that reach `sqnr_db`.
    /// Without a seed there is no incoherence transform. With a second moment (flat, float32 or
    /// float64), errors are fed back; `input_axis` is the axis of the weights that has the layer's
    /// inputs.
    #[staticmethod]
    #[pyo3(signature = (weights, dtype, shape, *, bits, sqnr_db, max_error, keep_zeros, window, seed, tiles, threads, control=None, second_moment=None, damping=0.0, input_axis=1))]
    // One argument for each parameter of the codec: a struct would only be unpacked again.
    #[allow(clippy::too_many_arguments)]
    fn trellis(
        weights: &Bound<'_, PyAny>,
        dtype: &str,
        shape: Vec<usize>,
        bits: f64,
        sqnr_db: Option<f64>,
        max_error: Option<f64>,
        keep_zeros: bool,
        window: u32,
        seed: Option<u64>,
        tiles: bool,
        threads: Option<usize>,
        control: Option<&Control>,
        second_moment: Option<&Bound<'_, PyAny>>,
        damping: f64,
        input_axis: usize,
    ) -> PyResult<Self> {
        let control = control.map_or_else(Default::default, |control| control.0.clone());
        let params = TrellisParams {
            goal: sqnr_db.map_or(Goal::Bits(bits), Goal::SqnrDb),
            code_set: match tiles {
                false => CodeSet::FIRST,
                true => CodeSet::SECOND,
            },
            window,
            seed,
            keep_zeros,
            max_error,
        };
        let (single, double): (PyReadonlyArray1<'_, f32>, PyReadonlyArray1<'_, f64>);
        let job = match second_moment {
            None => Job::Alone(Codec::Trellis(params)),
            Some(moment) if moment.cast::<PyArray1<f32>>().is_ok() => {
                single = moment.extract()?;
                let moment = SecondMoment {
                    matrix: single.as_slice()?,
                    damping,
                    input_axis,
                };
                Job::Single(params, moment)
            }
            Some(moment) => {
                double = moment.extract()?;
                let moment = SecondMoment {
                    matrix: double.as_slice()?,
                    damping,
                    input_axis,
                };
                Job::Double(params, moment)
            }
        };
        compress_as(weights, dtype, &shape, &job, threads, &control).map(Self)
    }

    /// Compress with the published winding.
    #[staticmethod]
    #[pyo3(signature = (weights, dtype, shape, *, group, side, samples, class_max, threshold, threads))]
    // One argument for each parameter of the codec: a struct would only be unpacked again.
    #[allow(clippy::too_many_arguments)]
    fn winding(
        weights: &Bound<'_, PyAny>,
        dtype: &str,
        shape: Vec<usize>,
        group: usize,
        side: f64,
        samples: u32,
        class_max: u32,
        threshold: f64,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let job = Job::Alone(Codec::Winding(WindingParams {
            group,
            side,
            samples,
            class_max,
            threshold,
        }));
        let control = Default::default();
        compress_as(weights, dtype, &shape, &job, threads, &control).map(Self)
    }

    /// Decode the weights from flat C-order index `start` on into a flat array of this dtype.
    fn decompress_into(
        &self,
        start: usize,
        out: &Bound<'_, PyAny>,
        dtype: &str,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let py = out.py();
        match Dtype::from_name(dtype).map_err(|e| to_python(py, e))? {
            Dtype::F32 => {
                let mut out: PyReadwriteArray1<'_, f32> = out.extract()?;
                self.decompress(py, start, out.as_slice_mut()?, threads)
            }
            Dtype::F64 => {
                let mut out: PyReadwriteArray1<'_, f64> = out.extract()?;
                self.decompress(py, start, out.as_slice_mut()?, threads)
            }
            Dtype::F16 => {
                let mut bits: PyReadwriteArray1<'_, u16> = out.extract()?;
                let out: &mut [f16] = bits.as_slice_mut()?.reinterpret_cast_mut();
                self.decompress(py, start, out, threads)
            }
            Dtype::Bf16 => {
                let mut bits: PyReadwriteArray1<'_, u16> = out.extract()?;
                let out: &mut [bf16] = bits.as_slice_mut()?.reinterpret_cast_mut();
                self.decompress(py, start, out, threads)
            }
        }
    }

    /// Decode the entries along the first axis that `indices` name into a flat array of this dtype.
    fn rows_into(
        &self,
        indices: PyReadonlyArray1<'_, i64>,
        out: &Bound<'_, PyAny>,
        dtype: &str,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let py = out.py();
        let indices = indices.as_slice()?;
        match Dtype::from_name(dtype).map_err(|e| to_python(py, e))? {
            Dtype::F32 => {
                let mut out: PyReadwriteArray1<'_, f32> = out.extract()?;
                self.rows(py, indices, out.as_slice_mut()?, threads)
            }
            Dtype::F64 => {
                let mut out: PyReadwriteArray1<'_, f64> = out.extract()?;
                self.rows(py, indices, out.as_slice_mut()?, threads)
            }
            Dtype::F16 => {
                let mut bits: PyReadwriteArray1<'_, u16> = out.extract()?;
                let out: &mut [f16] = bits.as_slice_mut()?.reinterpret_cast_mut();
                self.rows(py, indices, out, threads)
            }
            Dtype::Bf16 => {
                let mut bits: PyReadwriteArray1<'_, u16> = out.extract()?;
                let out: &mut [bf16] = bits.as_slice_mut()?.reinterpret_cast_mut();
                self.rows(py, indices, out, threads)
            }
        }
    }

    /// Multiply the matrix by `batch` vectors, flat (batch, columns), into flat (batch, rows), both
    /// of this dtype.
    fn matmul_into(
        &self,
        x: &Bound<'_, PyAny>,
        batch: usize,
        out: &Bound<'_, PyAny>,
        dtype: &str,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let py = out.py();
        match Dtype::from_name(dtype).map_err(|e| to_python(py, e))? {
            Dtype::F32 => {
                let x: PyReadonlyArray1<'_, f32> = x.extract()?;
                let mut out: PyReadwriteArray1<'_, f32> = out.extract()?;
                self.matmul(py, x.as_slice()?, batch, out.as_slice_mut()?, threads)
            }
            Dtype::F64 => {
                let x: PyReadonlyArray1<'_, f64> = x.extract()?;
                let mut out: PyReadwriteArray1<'_, f64> = out.extract()?;
                self.matmul(py, x.as_slice()?, batch, out.as_slice_mut()?, threads)
            }
            Dtype::F16 => {
                let x: PyReadonlyArray1<'_, u16> = x.extract()?;
                let mut out: PyReadwriteArray1<'_, u16> = out.extract()?;
                let x: &[f16] = x.as_slice()?.reinterpret_cast();
                self.matmul(
                    py,
                    x,
                    batch,
                    out.as_slice_mut()?.reinterpret_cast_mut(),
                    threads,
                )
            }
            Dtype::Bf16 => {
                let x: PyReadonlyArray1<'_, u16> = x.extract()?;
                let mut out: PyReadwriteArray1<'_, u16> = out.extract()?;
                let x: &[bf16] = x.as_slice()?.reinterpret_cast();
                self.matmul(
                    py,
                    x,
                    batch,
                    out.as_slice_mut()?.reinterpret_cast_mut(),
                    threads,
                )
            }
        }
    }

    /// y = W·x + b for `batch` vectors x at an address, into results at another: for torch's operators,
    /// for which creating an array view of each tensor would cost more than the call.
    ///
    /// The caller guarantees the addresses. Each points to contiguous elements of `dtype`: `batch`
    /// times the number of columns of W for x and of rows for the results (the other way round if
    /// `transposed`), and as many as one result has for the bias, unless its address is 0. The memory
    /// must be alive, and nothing else may write to it during the call.
    #[allow(clippy::too_many_arguments)]
    fn linear_at(
        &self,
        py: Python<'_>,
        x: usize,
        batch: usize,
        bias: usize,
        out: usize,
        dtype: &str,
        transposed: bool,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let at = Addresses {
            x,
            batch,
            bias,
            out,
            transposed,
        };
        match Dtype::from_name(dtype).map_err(|e| to_python(py, e))? {
            Dtype::F32 => self.linear_at_addresses::<f32>(py, at, threads),
            Dtype::F64 => self.linear_at_addresses::<f64>(py, at, threads),
            Dtype::F16 => self.linear_at_addresses::<f16>(py, at, threads),
            Dtype::Bf16 => self.linear_at_addresses::<bf16>(py, at, threads),
        }
    }

    #[getter]
    fn shape(&self) -> Vec<usize> {
        self.0.shape().to_vec()
    }

    /// Name of the dtype it was made from.
    #[getter]
    fn dtype(&self) -> &'static str {
        self.0.dtype().name()
    }

    /// How the weights are kept: "trellis", "winding", "raw" or "zeros".
    #[getter]
    fn codec(&self) -> &'static str {
        match self.0.payload() {
            Payload::Zeros => "zeros",
            Payload::Raw(_) => "raw",
            Payload::Trellis(_) => "trellis",
            Payload::Winding(_) => "winding",
        }
    }

    /// Whether the transpose is stored.
    #[getter]
    fn swapped(&self) -> bool {
        self.0.axes() == Axes::Swapped
    }

    /// Number of weights that are stored exactly because the error of their codes is too large.
    #[getter]
    fn exceptions(&self) -> usize {
        match self.0.payload() {
            Payload::Trellis(streams) => streams.exceptions.len(),
            _ => 0,
        }
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.0.nbytes()
    }

    #[getter]
    fn sqnr_db(&self) -> f64 {
        self.0.sqnr_db()
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.0.to_bytes()))
    }

    /// Its description and its parts.
    fn to_parts<'py>(
        &self,
        py: Python<'py>,
    ) -> (String, BTreeMap<String, Bound<'py, PyArray1<u8>>>) {
        let Parts { description, parts } = py.detach(|| self.0.to_parts());
        let arrays = parts
            .into_iter()
            .map(|(name, bytes)| (name, PyArray1::from_slice(py, &bytes)));
        (description, arrays.collect())
    }

    /// Restore a tensor from parts, whose memory is used without a copy.
    #[staticmethod]
    fn from_parts(
        py: Python<'_>,
        description: String,
        parts: BTreeMap<String, PyReadonlyArray1<'_, u8>>,
        verify: bool,
    ) -> PyResult<Self> {
        let lent = parts.into_iter().map(|(name, array)| {
            let bytes = array.as_slice()?;
            let lent = Lent {
                start: bytes.as_ptr(),
                len: bytes.len(),
                _array: array.as_any().cast::<PyArray1<u8>>()?.clone().unbind(),
            };
            Ok((name, Bytes::from_owner(lent)))
        });
        let parts = Parts {
            description,
            parts: lent.collect::<PyResult<_>>()?,
        };
        py.detach(|| CompressedTensor::from_parts(parts, verify))
            .map(Self)
            .map_err(|e| to_python(py, e))
    }

    /// Read what `to_bytes` wrote.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        py.detach(|| CompressedTensor::from_bytes(data))
            .map(Self)
            .map_err(|e| to_python(py, e))
    }
}

/// Where the vectors of a product, its bias and its results lie.
struct Addresses {
    x: usize,
    batch: usize,
    bias: usize,
    out: usize,
    transposed: bool,
}

impl TensorCode {
    fn linear_at_addresses<T: Element>(
        &self,
        py: Python<'_>,
        at: Addresses,
        threads: Option<usize>,
    ) -> PyResult<()> {
        // The core refuses another number of axes before any other check.
        let (rows, columns) = match *self.0.shape() {
            [rows, columns] => (rows, columns),
            _ => (0, 0),
        };
        let (inputs, outputs) = match at.transposed {
            false => (columns, rows),
            true => (rows, columns),
        };
        // SAFETY: the caller vouches for the addresses, the lengths and their not being written to.
        let (x, bias, out) = unsafe {
            (
                slice_at::<T>(at.x, at.batch * inputs),
                (at.bias != 0).then(|| slice_at::<T>(at.bias, outputs)),
                slice_at_mut(at.out, at.batch * outputs),
            )
        };
        let linear = Linear {
            x,
            batch: at.batch,
            bias,
            transposed: at.transposed,
        };
        self.linear(py, linear, out, threads)
    }

    fn rows<T: Element>(
        &self,
        py: Python<'_>,
        indices: &[i64],
        out: &mut [T],
        threads: Option<usize>,
    ) -> PyResult<()> {
        enter_together(py, threads, out.len(), |team, control| {
            self.0.decompress_rows(team, indices, out, control)
        })
    }

    fn matmul<T: Element>(
        &self,
        py: Python<'_>,
        x: &[T],
        batch: usize,
        out: &mut [T],
        threads: Option<usize>,
    ) -> PyResult<()> {
        let linear = Linear {
            x,
            batch,
            bias: None,
            transposed: false,
        };
        self.linear(py, linear, out, threads)
    }

    fn linear<T: Element>(
        &self,
        py: Python<'_>,
        linear: Linear<'_, T>,
        out: &mut [T],
        threads: Option<usize>,
    ) -> PyResult<()> {
        let size = self.0.len().saturating_mul(linear.batch);
        enter_together(py, threads, size, |team, control| {
            self.0
                .linear_on(SimdLevel::in_use()?, team, linear, out, control)
        })
    }

    fn decompress<T: Element>(
        &self,
        py: Python<'_>,
        start: usize,
        out: &mut [T],
        threads: Option<usize>,
    ) -> PyResult<()> {
        let range = start..start.saturating_add(out.len());
        enter_together(py, threads, range.len(), |team, control| {
            self.0.decompress_by(team, range, out, control)
        })
    }
}

/// `len` elements at an address. If `len` is 0, the address may be anything.
///
/// # Safety
/// There are `len` elements, and nothing writes to them while the slice is in use.
unsafe fn slice_at<'a, T>(address: usize, len: usize) -> &'a [T] {
    match len {
        0 => &[],
        // SAFETY: as the caller promised.
        _ => unsafe { std::slice::from_raw_parts(address as *const T, len) },
    }
}

/// [`slice_at`] for writing.
///
/// # Safety
/// There are `len` elements, and nothing else uses them while the slice is in use.
unsafe fn slice_at_mut<'a, T>(address: usize, len: usize) -> &'a mut [T] {
    match len {
        0 => &mut [],
        // SAFETY: as the caller promised.
        _ => unsafe { std::slice::from_raw_parts_mut(address as *mut T, len) },
    }
}
