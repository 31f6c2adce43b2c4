//! `_core.vertices`: fractions in, coordinates out.

use hypercomp_core::arrangement::field::Rational;
use hypercomp_core::arrangement::input::Arrangement;
use hypercomp_core::arrangement::vertex::{Coordinates, Vertices};
use hypercomp_core::arrangement::{self, Method};
use num_bigint::BigInt;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::enter::enter;

/// The vertices of the hyperplanes whose rows [a|b] are given as pairs (numerator, positive
/// denominator), with d + 1 entries a row.
///
/// Returns an array of int64 or a list of int with d numerators and a denominator for each vertex
/// in turn, and the number of cobases where the method visits them.
#[pyfunction]
#[pyo3(signature = (rows, dimension, *, zero_rule, threads))]
pub fn vertices<'py>(
    py: Python<'py>,
    rows: Vec<Vec<(BigInt, BigInt)>>,
    dimension: usize,
    zero_rule: bool,
    threads: Option<usize>,
) -> PyResult<(Bound<'py, PyAny>, Option<u64>)> {
    let method = if zero_rule {
        Method::Zero
    } else {
        Method::Flats
    };
    let found = enter(py, threads, |control| {
        let rows: Vec<Vec<Rational>> = rows
            .into_iter()
            .map(|row| row.into_iter().map(|(n, d)| Rational::new(n, d)).collect())
            .collect();
        arrangement::vertices(&Arrangement::new(&rows, dimension)?, method, control)
    })?;
    let Vertices {
        coordinates,
        cobases,
        ..
    } = found;
    let coordinates = match coordinates {
        Coordinates::Small(numbers) => PyArray1::from_vec(py, numbers).into_any(),
        Coordinates::Big(numbers) => PyList::new(py, numbers)?.into_any(),
    };
    Ok((coordinates, cobases))
}
