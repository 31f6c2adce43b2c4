//! `_core.Search`: an arrangement, the running of its jobs, and the sorting and output of vertices.

use std::time::{Duration, Instant};

use hypercomp_core::arrangement::Method as CoreMethod;
use hypercomp_core::arrangement::arithmetic::Rational;
use hypercomp_core::arrangement::input::{Arrangement, dyadic};
use hypercomp_core::arrangement::jobs::{Job, Limits, Wanted};
use hypercomp_core::arrangement::output::{Coordinates, Points, incidence};
use hypercomp_core::arrangement::search::{self, share};
use hypercomp_core::{Control, Error, ErrorKind, Result};
use num_bigint::BigInt;
use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::enter::enter;
use crate::error::to_python;

/// Rows [a|b], with d + 1 entries each.
#[derive(FromPyObject)]
enum Rows<'py> {
    Integers(PyReadonlyArray2<'py, i64>),
    Floats(PyReadonlyArray2<'py, f64>),
    /// Pairs (numerator, positive denominator).
    Ratios(Vec<Vec<(BigInt, BigInt)>>),
}

/// A job as Python sees it: node, first and last position.
type Triple = (Vec<u32>, u32, u32);

/// The result of a run: vertices, their number, the number of cobases, of flats by dimension, and the
/// remaining jobs.
type Outcome<'py> = (Bound<'py, PyArray1<u64>>, u64, u64, Vec<u64>, Vec<Triple>);

/// How the vertices are searched for.
#[pyclass(
    eq,
    from_py_object,
    frozen,
    hash,
    rename_all = "SCREAMING_SNAKE_CASE",
    module = "hypercomp_rs._core"
)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Over flats.
    Flats,
    /// Over cobases, by the Zero rule.
    Zero,
}

impl From<Method> for CoreMethod {
    fn from(method: Method) -> Self {
        match method {
            Method::Flats => Self::Flats,
            Method::Zero => Self::Zero,
        }
    }
}

/// A search of an arrangement. It has no state: a run takes jobs, and returns vertices and the
/// remaining jobs.
#[pyclass(frozen, module = "hypercomp_rs._core")]
pub struct Search(pub(crate) search::VertexSearch);

#[pymethods]
impl Search {
    #[new]
    #[pyo3(signature = (rows, dimension, *, method))]
    fn new(py: Python<'_>, rows: Rows<'_>, dimension: usize, method: Method) -> PyResult<Self> {
        let found = match rows {
            Rows::Integers(rows) => {
                let rows = rows.as_array();
                let row = |i: usize| {
                    rows.row(i)
                        .iter()
                        .map(|x| BigInt::from(*x).into())
                        .collect()
                };
                prepare(py, rows.nrows(), row, dimension)
            }
            Rows::Floats(rows) => {
                let rows = rows.as_array();
                // Python has already refused NaN and infinities.
                let row = |i: usize| rows.row(i).iter().map(|x| dyadic(*x)).collect();
                prepare(py, rows.nrows(), row, dimension)
            }
            Rows::Ratios(rows) => {
                let ratio = |(n, d): &(BigInt, BigInt)| Rational::new(n.clone(), d.clone());
                let row = |i: usize| rows[i].iter().map(ratio).collect();
                prepare(py, rows.len(), row, dimension)
            }
        };
        search::VertexSearch::new(found?, method.into())
            .map(Self)
            .map_err(|e| to_python(py, e))
    }

    /// d.
    #[getter]
    fn dimension(&self) -> usize {
        self.0.arrangement().dimension()
    }

    /// 64-bit words of each coordinate of a vertex.
    #[getter]
    fn limbs(&self) -> usize {
        self.0.limbs()
    }

    /// The number of the distinct hyperplane of each row; −1 for 0·x = 0.
    #[getter]
    fn hyperplanes<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let given = self.0.arrangement().given().iter();
        PyArray1::from_iter(py, given.map(|h| h.map_or(-1, i64::from)))
    }

    /// Run jobs until none is left, `most` vertices are found, or `seconds` have passed.
    #[pyo3(signature = (jobs, *, threads, coordinates, all_flats, most, seconds, sort))]
    #[allow(clippy::too_many_arguments)]
    fn run<'py>(
        &self,
        py: Python<'py>,
        jobs: Vec<Triple>,
        threads: Option<usize>,
        coordinates: bool,
        all_flats: bool,
        most: Option<u64>,
        seconds: Option<f64>,
        sort: bool,
    ) -> PyResult<Outcome<'py>> {
        let wanted = Wanted {
            coordinates,
            all_flats,
        };
        let jobs = jobs
            .into_iter()
            .map(|(node, from, to)| Job { node, from, to })
            .collect();
        let wait = seconds.and_then(|s| Duration::try_from_secs_f64(s.max(0.0)).ok());
        let (found, left) = enter(py, threads, |control| {
            let deadline = wait.and_then(|wait| Instant::now().checked_add(wait));
            let limits = Limits::new(most, deadline);
            let run = if sort { share::run_sorted } else { share::run };
            let found = run(&self.0, jobs, wanted, &limits, control);
            control.check()?;
            Ok(found)
        })?;
        let left = left.into_iter().map(|job| (job.node, job.from, job.to));
        Ok((
            PyArray1::from_vec(py, found.numbers),
            found.vertices,
            found.cobases,
            found.flats,
            left.collect(),
        ))
    }

    /// Random estimates of the number of vertices, or of cobases.
    fn probes(&self, py: Python<'_>, probes: usize, seed: u64) -> PyResult<Vec<f64>> {
        enter(py, Some(1), |control| self.0.probes(probes, seed, control))
    }

    /// Vertices sorted by their coordinates.
    fn sort<'py>(
        &self,
        py: Python<'py>,
        numbers: PyReadonlyArray1<'_, u64>,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let mut points = self.points(taken(&numbers)?);
        let points = enter(py, threads, move |_| {
            points.sort();
            Ok(points.numbers)
        })?;
        Ok(PyArray1::from_vec(py, points))
    }

    /// The distinct hyperplanes through each vertex: the start of each vertex' list, and all lists one
    /// after the other.
    #[allow(clippy::type_complexity)]
    fn incidence<'py>(
        &self,
        py: Python<'py>,
        numbers: PyReadonlyArray1<'_, u64>,
        threads: Option<usize>,
    ) -> PyResult<(Bound<'py, PyArray1<u64>>, Bound<'py, PyArray1<u32>>)> {
        let points = self.points(taken(&numbers)?);
        let (starts, numbers) = enter(py, threads, |control| {
            incidence(self.0.arrangement(), &points, control)
        })?;
        Ok((
            PyArray1::from_vec(py, starts),
            PyArray1::from_vec(py, numbers),
        ))
    }
}

impl Search {
    pub(crate) fn points(&self, numbers: Vec<u64>) -> Points {
        Points {
            dimension: self.0.arrangement().dimension(),
            limbs: self.0.limbs(),
            numbers,
        }
    }
}

fn taken(numbers: &PyReadonlyArray1<'_, u64>) -> PyResult<Vec<u64>> {
    Ok(numbers.as_slice()?.to_vec())
}

/// The arrangement of `count` rows.
fn prepare<F>(py: Python<'_>, count: usize, row: F, dimension: usize) -> PyResult<Arrangement>
where
    F: Fn(usize) -> Vec<Rational> + Send,
{
    enter(
        py,
        Some(1),
        move |control: &Control| -> Result<Arrangement> {
            if u32::try_from(count).is_err() {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!("{count} rows: fewer than 2^32 are accepted"),
                ));
            }
            Arrangement::from_rows((0..count).map(row), dimension, control)
        },
    )
}

/// Coordinates of `limbs` words each in lowest terms: an array of int64 where all fit, else a list of
/// integers.
#[pyfunction]
#[pyo3(signature = (numbers, dimension, limbs, *, threads))]
pub fn lowest_terms<'py>(
    py: Python<'py>,
    numbers: PyReadonlyArray1<'_, u64>,
    dimension: usize,
    limbs: usize,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut points = Points {
        dimension,
        limbs,
        numbers: taken(&numbers)?,
    };
    let coordinates = enter(py, threads, move |_| {
        points.reduce();
        points.narrow();
        Ok(points.coordinates())
    })?;
    Ok(match coordinates {
        Coordinates::Small(numbers) => PyArray1::from_vec(py, numbers).into_any(),
        Coordinates::Big(numbers) => PyList::new(py, numbers)?.into_any(),
    })
}
