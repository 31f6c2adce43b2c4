//! `_core.baseline_vertices`: published searches, for the benchmarks. It needs the feature `baselines`,
//! without which the wheel is built.

use hypercomp_core::arrangement::baselines::{self, Baseline};
use hypercomp_core::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::arrangement::Search;
use crate::enter::enter;
use crate::error::to_python;

/// The numbers of vertices, cobases and pivots of a baseline.
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
        baselines::vertices(search.0.arrangement(), baseline, control)
    })?;
    Ok((found.vertices.len(), found.cobases, found.pivots))
}
