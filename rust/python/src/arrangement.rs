//! `_core.Search`: an arrangement, the running of its jobs, and the sorting and output of vertices.

use std::time::{Duration, Instant};

use hypercomp_core::arrangement::Method as CoreMethod;
use hypercomp_core::arrangement::arithmetic::{Rational, fraction};
use hypercomp_core::arrangement::halfspaces::Halfspaces;
use hypercomp_core::arrangement::input::{Arithmetic, Arrangement, Bound as MinorBound, dyadic};
use hypercomp_core::arrangement::jobs::{Job, Limits, Wanted, out_of_memory};
use hypercomp_core::arrangement::output::{Coordinates, Points, incidence};
use hypercomp_core::arrangement::search::{self, share};
use hypercomp_core::{Control, Error, ErrorKind, Result};
use num_bigint::BigInt;
use numpy::ndarray::ArrayView1;
use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::enter::{enter, enter_under};
use crate::error::to_python;

/// Rows [a|b], with d + 1 entries each.
#[derive(FromPyObject)]
enum Rows<'py> {
    Integers(PyReadonlyArray2<'py, i64>),
    Floats(PyReadonlyArray2<'py, f64>),
    /// Pairs (numerator, positive denominator).
    Ratios(Vec<Vec<(BigInt, BigInt)>>),
}

impl Rows<'_> {
    /// All entries as fractions. Python has already refused NaN and infinities.
    fn ratios(self) -> Vec<Vec<Rational>> {
        match self {
            Rows::Integers(rows) => {
                let rows = rows.as_array();
                let row = |row: ArrayView1<'_, i64>| {
                    row.iter().map(|x| BigInt::from(*x).into()).collect()
                };
                rows.outer_iter().map(row).collect()
            }
            Rows::Floats(rows) => {
                let rows = rows.as_array();
                let row = |row: ArrayView1<'_, f64>| row.iter().map(|x| dyadic(*x)).collect();
                rows.outer_iter().map(row).collect()
            }
            Rows::Ratios(rows) => {
                let ratio = |(n, d): (BigInt, BigInt)| Rational::new(n, d);
                let row = |row: Vec<(BigInt, BigInt)>| row.into_iter().map(ratio).collect();
                rows.into_iter().map(row).collect()
            }
        }
    }
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
    #[pyo3(signature = (rows, dimension, *, method, shuffled=false))]
    fn new(
        py: Python<'_>,
        rows: Rows<'_>,
        dimension: usize,
        method: Method,
        shuffled: bool,
    ) -> PyResult<Self> {
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
                let ratio = |(n, d): &(BigInt, BigInt)| fraction(n, d);
                let row = |i: usize| rows[i].iter().map(ratio).collect();
                prepare(py, rows.len(), row, dimension)
            }
        };
        let found = found?;
        enter(py, Some(1), move |control| {
            let arrangement = if shuffled { found.shuffled() } else { found };
            search::VertexSearch::new(arrangement, method.into(), control)
        })
        .map(Self)
    }

    /// The same search, of the vertices that satisfy c·x ≤ e for all rows [c|e].
    fn within(&self, py: Python<'_>, rows: Rows<'_>) -> PyResult<Self> {
        let rows = rows.ratios();
        enter(py, Some(1), |control| {
            let dimension = self.0.arrangement().dimension();
            let halfspaces = Halfspaces::new(rows.into_iter(), dimension, control)?;
            Ok(Self(self.0.clone().within(halfspaces)))
        })
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
        let given = self.0.arrangement().hyperplanes_of_rows().iter();
        PyArray1::from_iter(py, given.map(|h| h.map_or(-1, i64::from)))
    }

    /// The distinct hyperplanes from `first` on, at most `count` of them, as bytes that do not depend on how
    /// their rows were given: the numbers of words of each entry, and the words. `inequalities`: those of
    /// [`within`](Self::within) instead.
    #[pyo3(signature = (first, count, *, inequalities=false))]
    fn canonical<'py>(
        &self,
        py: Python<'py>,
        first: usize,
        count: usize,
        inequalities: bool,
    ) -> Bound<'py, PyBytes> {
        let rows = match self.0.halfspaces() {
            _ if !inequalities => self.0.arrangement().rows(),
            Some(halfspaces) => halfspaces.rows(),
            None => &[],
        };
        let end = rows.len().min(first.saturating_add(count));
        let mut bytes = Vec::new();
        for entry in rows.get(first..end).unwrap_or_default().iter().flatten() {
            let entry = entry.to_signed_bytes_le();
            bytes.extend_from_slice(&(entry.len() as u64).to_le_bytes());
            bytes.extend_from_slice(&entry);
        }
        PyBytes::new(py, &bytes)
    }

    /// Whether a first vertex comes soon in the order in which the hyperplanes are numbered.
    fn finds_soon(&self, py: Python<'_>) -> PyResult<bool> {
        enter(py, Some(1), |control| {
            // In wide numbers a single step may take longer; the order stays then.
            let end = Instant::now().checked_add(Duration::from_millis(250));
            let soon = self.0.finds_soon(&control.until(end));
            control.check()?;
            Ok(soon)
        })
    }

    /// Give back the memory that is kept from one run to the next.
    fn release(&self) {
        self.0.release();
    }

    /// Run jobs until none is left, `most` vertices are found, or `seconds` have passed since the first
    /// step, which is always made.
    ///
    /// From `end` seconds after the call on it stops in the middle of a step too. `control` lets another
    /// thread stop it, as an error.
    #[pyo3(signature = (jobs, *, threads, coordinates, all_flats, most, seconds, end, sort, control))]
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
        end: Option<f64>,
        sort: bool,
        control: Option<&crate::control::Control>,
    ) -> PyResult<Outcome<'py>> {
        let wanted = Wanted {
            coordinates,
            all_flats,
        };
        let jobs = jobs
            .into_iter()
            .map(|(node, from, to)| Job { node, from, to })
            .collect();
        let duration = |seconds: f64| Duration::try_from_secs_f64(seconds.max(0.0)).ok();
        let limits = Limits::new(most, seconds.and_then(duration));
        let deadline = end
            .and_then(duration)
            .and_then(|wait| Instant::now().checked_add(wait));
        let control = control.map_or_else(Control::new, |control| control.0.clone());
        let (found, left) = enter_under(py, threads, &control, |control| {
            let run = if sort { share::run_sorted } else { share::run };
            let found = run(&self.0, jobs, wanted, &limits, &control.until(deadline));
            control.check()?;
            found
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

    /// The number of distinct hyperplanes, and the bits of Hadamard's bound on minors.
    #[getter]
    fn shape(&self, py: Python<'_>) -> PyResult<(usize, u64)> {
        let arrangement = self.0.arrangement();
        let bound = enter(py, Some(1), |control| {
            MinorBound::of(arrangement.rows(), arrangement.dimension(), control)
        })?;
        Ok((arrangement.rows().len(), bound.bits() / 2))
    }

    /// Estimates of the numbers of vertices and of cobases, made modulo a prime of 61 bits: fast and
    /// nearly always right. They serve the choice of a method; nothing that is proved rests on them.
    fn sizes(&self, py: Python<'_>, probes: usize, seed: u64) -> PyResult<(f64, f64)> {
        enter(py, Some(1), |control| {
            let arrangement = self.0.arrangement();
            let mean = |method| {
                let search = search::VertexSearch::in_field(
                    arrangement.clone(),
                    method,
                    Arithmetic::Mersenne61,
                    control,
                )?;
                let found = search.probes(probes, seed, control)?;
                Ok::<f64, Error>(found.iter().sum::<f64>() / found.len().max(1) as f64)
            };
            Ok((mean(CoreMethod::Flats)?, mean(CoreMethod::Zero)?))
        })
    }

    /// Random estimates of the number of vertices, or of cobases.
    fn probes(&self, py: Python<'_>, probes: usize, seed: u64) -> PyResult<Vec<f64>> {
        enter(py, Some(1), |control| self.0.probes(probes, seed, control))
    }

    /// Random parts of a search over flats, each with a weight: everything below a flat of `depth` hyperplanes.
    fn random_jobs(
        &self,
        py: Python<'_>,
        probes: usize,
        depth: usize,
        seed: u64,
    ) -> PyResult<Vec<(Triple, f64)>> {
        let jobs = enter(py, Some(1), |control| {
            self.0.random_jobs(probes, depth, seed, control)
        })?;
        Ok(jobs
            .into_iter()
            .map(|(job, weight)| ((job.node, job.from, job.to), weight))
            .collect())
    }

    /// Vertices sorted by their coordinates.
    fn sort<'py>(
        &self,
        py: Python<'py>,
        numbers: PyReadonlyArray1<'_, u64>,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let mut points = self.points(taken(py, &numbers)?);
        let points = enter(py, threads, move |_| {
            points.sort()?;
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
        let points = self.points(taken(py, &numbers)?);
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

fn taken(py: Python<'_>, numbers: &PyReadonlyArray1<'_, u64>) -> PyResult<Vec<u64>> {
    let numbers = numbers.as_slice()?;
    let mut copy = Vec::new();
    copy.try_reserve_exact(numbers.len())
        .map_err(|_| to_python(py, out_of_memory(numbers.len())))?;
    copy.extend_from_slice(numbers);
    Ok(copy)
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
        numbers: taken(py, &numbers)?,
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
