//! Compression of arrays, shared by the constructors of `_core.TensorCode`.

use half::slice::HalfBitsSliceExt;
use half::{bf16, f16};
use hypercomp_core::codec::numbers::element::{Dtype, Element};
use hypercomp_core::codec::{Codec, CompressedTensor, SecondMoment, TrellisParams};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;

use crate::enter::enter_under;
use crate::error::to_python;

/// How to encode a tensor: by itself, or for a layer's inputs with a second moment, which has its own
/// type.
pub enum Job<'a> {
    Alone(Codec),
    Single(TrellisParams, SecondMoment<'a, f32>),
    Double(TrellisParams, SecondMoment<'a, f64>),
}

/// Compress weights of one type.
fn compress<T: Element>(
    py: Python<'_>,
    weights: &[T],
    shape: &[usize],
    job: &Job<'_>,
    threads: Option<usize>,
    control: &hypercomp_core::Control,
) -> PyResult<CompressedTensor> {
    enter_under(py, threads, control, |control| match job {
        Job::Alone(codec) => CompressedTensor::compress(weights, shape, codec, control),
        Job::Single(params, moment) => {
            CompressedTensor::compress_for(weights, shape, params, *moment, control)
        }
        Job::Double(params, moment) => {
            CompressedTensor::compress_for(weights, shape, params, *moment, control)
        }
    })
}

/// Compress weights from a flat array of this dtype.
pub fn compress_as(
    weights: &Bound<'_, PyAny>,
    dtype: &str,
    shape: &[usize],
    job: &Job<'_>,
    threads: Option<usize>,
    control: &hypercomp_core::Control,
) -> PyResult<CompressedTensor> {
    let py = weights.py();
    match Dtype::from_name(dtype).map_err(|e| to_python(py, e))? {
        Dtype::F32 => {
            let weights: PyReadonlyArray1<'_, f32> = weights.extract()?;
            compress(py, weights.as_slice()?, shape, job, threads, control)
        }
        Dtype::F64 => {
            let weights: PyReadonlyArray1<'_, f64> = weights.extract()?;
            compress(py, weights.as_slice()?, shape, job, threads, control)
        }
        Dtype::F16 => {
            let bits: PyReadonlyArray1<'_, u16> = weights.extract()?;
            let weights: &[f16] = bits.as_slice()?.reinterpret_cast();
            compress(py, weights, shape, job, threads, control)
        }
        Dtype::Bf16 => {
            let bits: PyReadonlyArray1<'_, u16> = weights.extract()?;
            let weights: &[bf16] = bits.as_slice()?.reinterpret_cast();
            compress(py, weights, shape, job, threads, control)
        }
    }
}
