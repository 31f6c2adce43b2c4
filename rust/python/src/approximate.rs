//! `_core.approximate_vertices` and `_core.baseline_vertices`: the searches beside the exact engine.

use hypercomp_core::arrangement::baseline::{self, Baseline};
use hypercomp_core::arrangement::float;
use hypercomp_core::{Error, ErrorKind};
use numpy::PyArray1;
use pyo3::prelude::*;

use crate::arrangement::Search;
use crate::enter::enter;
use crate::error::to_python;

/// Coordinates (d a vertex), the number of vertices, and the number of decisions near the tolerance.
#[pyfunction]
#[pyo3(signature = (search, *, tolerance, threads))]
pub fn approximate_vertices<'py>(
    py: Python<'py>,
    search: &Search,
    tolerance: f64,
    threads: Option<usize>,
) -> PyResult<(Bound<'py, PyArray1<f64>>, usize, u64)> {
    let found = enter(py, threads, |control| {
        float::vertices(search.0.arrangement(), tolerance, control)
    })?;
    let coordinates = PyArray1::from_vec(py, found.coordinates);
    Ok((coordinates, found.vertices, found.near_decisions))
}

/// The numbers of vertices, cobases and pivots of a baseline, for the benchmarks only.
#[pyfunction]
#[pyo3(signature = (search, *, method))]
pub fn baseline_vertices(
    py: Python<'_>,
    search: &Search,
    method: &str,
) -> PyResult<(usize, u64, u64)> {
    let baseline = match method {
        "moss" => Ok(Baseline::Moss),
        "criss-cross" => Ok(Baseline::CrissCross),
        "fractions" => Ok(Baseline::Fractions),
        _ => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("method='{method}': 'moss', 'criss-cross' and 'fractions' are accepted"),
        )),
    };
    let baseline = baseline.map_err(|e| to_python(py, e))?;
    let found = enter(py, Some(1), |control| {
        baseline::vertices(search.0.arrangement(), baseline, control)
    })?;
    Ok((found.vertices.len(), found.cobases, found.pivots))
}
