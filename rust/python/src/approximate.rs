//! `_core.approximate_vertices`: the search in floats.

use hypercomp_core::arrangement::float;
use numpy::PyArray1;
use pyo3::prelude::*;

use crate::arrangement::Search;
use crate::enter::enter;

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
