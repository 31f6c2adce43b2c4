//! One named Python exception for each kind of core error.
//!
//! The classes are defined in `hypercomp_rs/errors.py`, because each must also derive from the
//! built-in that a user would catch, and only Python code can name two bases.

use hypercomp_core::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

static CLASSES: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

fn class_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidArgument => "InvalidArgumentError",
        ErrorKind::OutOfBounds => "OutOfBoundsError",
        ErrorKind::NonFinite => "NonFiniteError",
        ErrorKind::Dtype => "DtypeError",
        ErrorKind::EmptyHyperplane => "EmptyHyperplaneError",
        ErrorKind::Format => "FormatError",
        ErrorKind::TooLarge => "TooLargeError",
        ErrorKind::OutOfMemory => "OutOfMemoryError",
        ErrorKind::Cancelled => "CancelledError",
    }
}

fn gpu_class_name(kind: hypercomp_gpu::ErrorKind) -> &'static str {
    use hypercomp_gpu::ErrorKind as Kind;
    match kind {
        Kind::MissingDriver => "DriverNotFoundError",
        Kind::OldDriver => "OldDriverError",
        Kind::NoDevice => "DeviceNotFoundError",
        Kind::Architecture => "ArchitectureError",
        Kind::Image => "KernelImageError",
        Kind::OutOfMemory => "DeviceMemoryError",
        Kind::InvalidArgument => "InvalidArgumentError",
        Kind::Dtype => "DtypeError",
        Kind::Capture | Kind::Forked | Kind::Driver => "GpuError",
    }
}

/// The Python exception that carries a core error.
pub fn to_python(py: Python<'_>, error: Error) -> PyErr {
    raised(py, class_name(error.kind()), error.message())
}

/// The Python exception that carries an error of the GPU's host path.
pub fn gpu_to_python(py: Python<'_>, error: hypercomp_gpu::Error) -> PyErr {
    raised(py, gpu_class_name(error.kind()), error.message())
}

fn raised(py: Python<'_>, class: &str, message: &str) -> PyErr {
    let class = CLASSES
        .get_or_try_init(py, || {
            PyModule::import(py, "hypercomp_rs.errors").map(Bound::unbind)
        })
        .and_then(|module| module.bind(py).getattr(class));
    match class.and_then(|class| class.cast_into::<PyType>().map_err(PyErr::from)) {
        Ok(class) => PyErr::from_type(class, (message.to_owned(),)),
        Err(import_error) => import_error,
    }
}
