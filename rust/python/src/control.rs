//! `_core.Control`: lets one thread observe and stop a long call of another.

use pyo3::prelude::*;

/// A stop flag, and a count of the work done under it.
#[pyclass(frozen, module = "hypercomp_rs._core")]
pub struct Control(pub hypercomp_core::Control);

#[pymethods]
impl Control {
    #[new]
    fn new() -> Self {
        Self(hypercomp_core::Control::new())
    }

    /// Make every call under it end with `CancelledError` soon.
    fn cancel(&self) {
        self.0.cancel();
    }

    /// Units of work done: weights searched.
    #[getter]
    fn done(&self) -> u64 {
        self.0.done()
    }
}
