//! Regions, faces, the lattice of intersections and the graph of vertices, for a `_core.Search`.

use std::sync::Mutex;

use hypercomp_core::arrangement::intersections::{self, Lattice};
use hypercomp_core::arrangement::output::signs;
use hypercomp_core::arrangement::regions;
use num_bigint::BigInt;
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::arrangement::Search;
use crate::enter::{enter, enter_under};

/// A point with a number of more than 64 bits: its position, and its numbers.
type LongPoint = (usize, Vec<BigInt>);

/// Regions as Python gets them: signs, coordinates of points, the points whose numbers have more than 64 bits,
/// whether each region is bounded.
type Regions<'py> = (
    Bound<'py, PyArray1<i8>>,
    Bound<'py, PyArray1<i64>>,
    Vec<LongPoint>,
    Bound<'py, PyArray1<bool>>,
);

fn converted(py: Python<'_>, block: regions::Block) -> Regions<'_> {
    (
        PyArray1::from_vec(py, block.signs),
        PyArray1::from_vec(py, block.points.words),
        block.points.long,
        PyArray1::from_vec(py, block.bounded),
    )
}

/// A search of the regions of an arrangement.
#[pyclass(frozen, module = "hypercomp_rs._core")]
pub struct RegionSearch(Mutex<regions::RegionSearch>);

#[pymethods]
impl RegionSearch {
    #[new]
    #[pyo3(signature = (search, *, threads))]
    fn new(py: Python<'_>, search: &Search, threads: Option<usize>) -> PyResult<Self> {
        enter(py, threads, |control| {
            regions::RegionSearch::new(search.0.arrangement(), control)
        })
        .map(|found| Self(Mutex::new(found)))
    }

    /// All regions.
    #[pyo3(signature = (*, threads))]
    fn whole<'py>(&self, py: Python<'py>, threads: Option<usize>) -> PyResult<Regions<'py>> {
        let block = enter(py, threads, |control| self.locked().whole(control))?;
        Ok(converted(py, block))
    }

    /// The regions of about this many further vertices, or None at the end. `control` lets another thread
    /// stop the call.
    #[pyo3(signature = (vertices, *, threads, control))]
    fn next_block<'py>(
        &self,
        py: Python<'py>,
        vertices: u64,
        threads: Option<usize>,
        control: &crate::control::Control,
    ) -> PyResult<Option<Regions<'py>>> {
        let block = enter_under(py, threads, &control.0, |control| {
            self.locked().next_block(vertices, control)
        })?;
        Ok(block.map(|block| converted(py, block)))
    }
}

impl RegionSearch {
    fn locked(&self) -> std::sync::MutexGuard<'_, regions::RegionSearch> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The faces of one dimension.
#[pyfunction]
#[pyo3(signature = (search, dimension, *, threads))]
pub fn faces<'py>(
    py: Python<'py>,
    search: &Search,
    dimension: usize,
    threads: Option<usize>,
) -> PyResult<Regions<'py>> {
    let block = enter(py, threads, |control| {
        regions::faces(search.0.arrangement(), dimension, control)
    })?;
    Ok(converted(py, block))
}

/// The coefficients of the characteristic polynomial, that of t^k at place k.
#[pyfunction]
#[pyo3(signature = (search, *, threads))]
pub fn characteristic_polynomial(
    py: Python<'_>,
    search: &Search,
    threads: Option<usize>,
) -> PyResult<Vec<BigInt>> {
    enter(py, threads, |control| {
        intersections::characteristic_polynomial(search.0.arrangement(), control)
    })
}

/// Flats of one codimension: the start of each flat's list of hyperplanes, all lists, and |μ| of each
/// flat.
type Level<'py> = (
    Bound<'py, PyArray1<u64>>,
    Bound<'py, PyArray1<u32>>,
    Vec<u128>,
);

/// The flats of codimension 0, 1, … by the distinct hyperplanes that contain them.
#[pyfunction]
#[pyo3(signature = (search, *, threads))]
pub fn intersection_lattice<'py>(
    py: Python<'py>,
    search: &Search,
    threads: Option<usize>,
) -> PyResult<Vec<Level<'py>>> {
    let levels = enter(py, threads, |control| {
        let lattice = Lattice::new(search.0.arrangement(), 0, control)?;
        let levels = lattice.levels.into_iter().map(|flats| {
            let mut starts = vec![0];
            let mut members = Vec::new();
            for flat in &flats {
                members.extend(flat.hyperplanes());
                starts.push(members.len() as u64);
            }
            (
                starts,
                members,
                flats.iter().map(|flat| flat.mobius).collect(),
            )
        });
        Ok(levels.collect::<Vec<(_, _, Vec<u128>)>>())
    })?;
    let levels = levels.into_iter().map(|(starts, members, mobius)| {
        (
            PyArray1::from_vec(py, starts),
            PyArray1::from_vec(py, members),
            mobius,
        )
    });
    Ok(levels.collect())
}

/// The edges between vertices, pair by pair; the vertex of each ray, and whether it runs towards larger
/// coordinates.
type Edges<'py> = (
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<bool>>,
);

/// The graph of the sorted vertices, by the distinct hyperplanes through each.
#[pyfunction]
#[pyo3(signature = (search, starts, through, *, threads))]
pub fn skeleton<'py>(
    py: Python<'py>,
    search: &Search,
    starts: PyReadonlyArray1<'_, u64>,
    through: PyReadonlyArray1<'_, u32>,
    threads: Option<usize>,
) -> PyResult<Edges<'py>> {
    let (starts, through) = (starts.as_slice()?.to_vec(), through.as_slice()?.to_vec());
    let found = enter(py, threads, move |control| {
        intersections::skeleton(search.0.arrangement(), &starts, &through, control)
    })?;
    let (vertices, upwards) = found.rays.into_iter().unzip();
    Ok((
        PyArray1::from_vec(py, found.edges.concat()),
        PyArray1::from_vec(py, vertices),
        PyArray1::from_vec(py, upwards),
    ))
}

/// The sign of every distinct hyperplane at every vertex.
#[pyfunction]
#[pyo3(signature = (search, numbers, *, threads))]
pub fn vertex_signs<'py>(
    py: Python<'py>,
    search: &Search,
    numbers: PyReadonlyArray1<'_, u64>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<i8>>> {
    let points = search.points(numbers.as_slice()?.to_vec());
    let found = enter(py, threads, |control| {
        signs(search.0.arrangement(), &points, control)
    })?;
    Ok(PyArray1::from_vec(py, found))
}
