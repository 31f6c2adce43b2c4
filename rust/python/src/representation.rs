//! `_core.read_representation` and `_core.vertex_rows`: reading and writing of the bytes of `.ine` and
//! `.ext` files.

use hypercomp_core::representation::number::Rational;
use hypercomp_core::representation::{Entries, Kind, read, write};
use hypercomp_core::{Error, ErrorKind};
use num_bigint::BigInt;
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::enter::enter;
use crate::error::to_python;

/// A representation as it is handed to Python: entries are int64, a pair of int64 for numerators and for
/// positive denominators, or a list of pairs (numerator, denominator), row after row.
type Read<'py> = (
    usize,
    Bound<'py, PyAny>,
    Vec<usize>,
    bool,
    String,
    Vec<String>,
);

/// The columns, entries, linearity, `nonnegative`, name and options of an H-representation, or of a
/// V-representation where `points`.
#[pyfunction]
#[pyo3(signature = (file, *, points))]
pub fn read_representation<'py>(py: Python<'py>, file: &[u8], points: bool) -> PyResult<Read<'py>> {
    let kind = if points { Kind::V } else { Kind::H };
    let found = enter(py, Some(1), |control| read(file, kind, control))?;
    let entries = match found.entries {
        Entries::Integers(numbers) => PyArray1::from_vec(py, numbers).into_any(),
        Entries::Ratios(numerators, denominators) => (
            PyArray1::from_vec(py, numerators),
            PyArray1::from_vec(py, denominators),
        )
            .into_pyobject(py)?
            .into_any(),
        Entries::Rationals(numbers) => {
            let pairs = numbers.into_iter().map(|x| x.into_raw());
            PyList::new(py, pairs.collect::<Vec<(BigInt, BigInt)>>())?.into_any()
        }
    };
    Ok((
        found.columns,
        entries,
        found.linearity,
        found.nonnegative,
        found.name,
        found.options,
    ))
}

/// The rows of a V-representation for vertices of d numerators and a denominator each.
#[pyfunction]
pub fn vertex_rows<'py>(
    py: Python<'py>,
    numbers: PyReadonlyArray1<'py, i64>,
    dimension: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let numbers = numbers.as_slice().map_err(|_| strided(py))?;
    let rows = enter(py, Some(1), |_| {
        let mut rows = Vec::new();
        write::vertex_rows(numbers, dimension, &mut rows);
        Ok(rows)
    })?;
    Ok(PyBytes::new(py, &rows))
}

/// Rows ` head x_1 … x_d` of fractions, given as their numerators and positive denominators.
#[pyfunction]
pub fn ratio_rows<'py>(
    py: Python<'py>,
    numerators: PyReadonlyArray1<'py, i64>,
    denominators: PyReadonlyArray1<'py, i64>,
    dimension: usize,
    head: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let numerators = numerators.as_slice().map_err(|_| strided(py))?;
    let denominators = denominators.as_slice().map_err(|_| strided(py))?;
    let rows = enter(py, Some(1), |_| {
        let mut rows = Vec::new();
        write::ratio_rows(numerators, denominators, dimension, head, &mut rows);
        Ok(rows)
    })?;
    Ok(PyBytes::new(py, &rows))
}

/// [`vertex_rows`] for numbers of any size.
#[pyfunction]
pub fn big_vertex_rows<'py>(
    py: Python<'py>,
    numbers: Vec<BigInt>,
    dimension: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let rows = enter(py, Some(1), |_| {
        let mut rows = Vec::new();
        write::big_vertex_rows(&numbers, dimension, &mut rows);
        Ok(rows)
    })?;
    Ok(PyBytes::new(py, &rows))
}

/// Rows of integers.
#[pyfunction]
pub fn integer_rows<'py>(
    py: Python<'py>,
    numbers: PyReadonlyArray1<'py, i64>,
    columns: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let numbers = numbers.as_slice().map_err(|_| strided(py))?;
    let rows = enter(py, Some(1), |_| {
        let mut rows = Vec::new();
        write::integer_rows(numbers, columns, &mut rows);
        Ok(rows)
    })?;
    Ok(PyBytes::new(py, &rows))
}

/// Rows of fractions, given as pairs (numerator, positive denominator).
#[pyfunction]
pub fn rational_rows<'py>(
    py: Python<'py>,
    rows: Vec<Vec<(BigInt, BigInt)>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let rows = enter(py, Some(1), |_| {
        let mut out = Vec::new();
        for row in rows {
            let row: Vec<_> = row.into_iter().map(|(n, d)| Rational::new(n, d)).collect();
            write::row(&row, &mut out);
        }
        Ok(out)
    })?;
    Ok(PyBytes::new(py, &rows))
}

fn strided(py: Python<'_>) -> PyErr {
    to_python(
        py,
        Error::new(ErrorKind::InvalidArgument, "numbers must be contiguous"),
    )
}
