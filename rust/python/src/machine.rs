//! Vector instructions and threads that the core uses, for `hypercomp-rs info`.

use hypercomp_core::SimdLevel;
use pyo3::prelude::*;

use crate::enter;
use crate::error::to_python;
use crate::openmp;

/// The names of the levels of vector instructions that this machine has, the best last.
#[pyfunction]
pub fn simd_available() -> Vec<&'static str> {
    SimdLevel::available()
        .into_iter()
        .map(SimdLevel::name)
        .collect()
}

/// The name of the level that calls use. Raises InvalidArgumentError if the override names a level that
/// the machine lacks.
#[pyfunction]
pub fn simd_in_use(py: Python<'_>) -> PyResult<&'static str> {
    SimdLevel::in_use()
        .map(SimdLevel::name)
        .map_err(|e| to_python(py, e))
}

/// Threads of a call with `threads=None`.
#[pyfunction]
pub fn default_threads() -> usize {
    enter::default_threads()
}

/// Whether short products run on the threads of an OpenMP runtime.
#[pyfunction]
pub fn shares_openmp() -> bool {
    openmp::team(1).is_some()
}
