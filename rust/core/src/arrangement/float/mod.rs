//! The search over flats in `f64` with a tolerance: nothing here is proved.
//!
//! The search is that of [`flats`](crate::arrangement::flats), with other zero tests. A comparison with the
//! tolerance decides three questions, on numbers that are scaled to magnitude 1:
//!
//! * Does a hyperplane meet the flat? It does not if the largest coefficient of its row, which was 1 before
//!   the elimination, is 0 after it.
//! * Do two hyperplanes cut the flat in the same place? They do if their rows, scaled to a largest
//!   coefficient of 1, agree up to sign.
//! * Do the candidate rows have full rank? They do not if a pivot of their elimination is 0.
//!
//! Every test within a factor of [`NEAR`] of the tolerance, on either side, is counted: rounding, or a small
//! change of the input, could have changed its answer. A count of 0 proves nothing, because an error can be
//! larger than this factor.
//!
//! **Scaling.** Each entry is rounded once, when it is divided by the largest coefficient of its row.
//! Then columns, rows and right-hand sides are multiplied by powers of two, which is exact, to bring them to
//! magnitude 1. So the tolerance has the same meaning for every scaling of rows and every unit of length.
//! Every elimination pivots on a largest coefficient, so one step at most doubles the entries. The scaling
//! of a row by its largest coefficient is continuous up to sign. So rows are compared up to sign.

mod flat;
mod scaling;
mod zero_test;

use std::cmp::Ordering;

use rayon::prelude::*;

use crate::arrangement::input::Arrangement;
use crate::{Control, Result};
use flat::FloatFlat;
use scaling::{out_of_range, scaled};
pub use zero_test::NEAR;
use zero_test::{PartialResult, ZeroTest};

/// The number of levels of the search tree whose subtrees are distributed to threads.
const SHARED_LEVELS: usize = 2;

/// The result of a search in floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Approximate {
    /// d coordinates a vertex, sorted lexicographically.
    pub coordinates: Vec<f64>,
    /// Number of vertices.
    pub vertices: usize,
    /// Zero tests within a factor of [`NEAR`] of the tolerance.
    pub near_decisions: u64,
}

/// The vertices of an arrangement, approximately.
///
/// Points whose distance is below about the tolerance, relative to the scale of the input, count as one.
/// The result depends on the hyperplanes, their order and the tolerance, and not on the number of threads.
/// Time and memory are those of [`flats`](crate::arrangement::flats) in the cheapest arithmetic.
///
/// # Errors
/// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) if a right-hand side or a coordinate is beyond the
/// range of `f64`; [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
pub fn vertices(
    arrangement: &Arrangement,
    tolerance: f64,
    control: &Control,
) -> Result<Approximate> {
    let dimension = arrangement.dimension();
    let (whole, scales) = scaled(arrangement)?;
    let zero_test = ZeroTest { tolerance };
    let mut found = PartialResult::default();
    if dimension == 0 {
        found.vertices = 1;
    } else {
        let mut whole = whole;
        whole.normalise(zero_test, &mut Vec::new(), &mut found.near_decisions);
        found = shared(&whole, SHARED_LEVELS, zero_test, control)?.after(found);
    }
    for point in found.coordinates.chunks_exact_mut(dimension.max(1)) {
        for (x, scale) in point.iter_mut().zip(&scales) {
            // Adding 0 turns −0 into 0. The two would be sorted apart.
            *x = *x * scale + 0.0;
            if !x.is_finite() {
                return Err(out_of_range("a coordinate"));
            }
        }
    }
    Ok(Approximate {
        coordinates: sorted(&found.coordinates, dimension),
        vertices: found.vertices,
        near_decisions: found.near_decisions,
    })
}

/// The points in lexicographic order.
fn sorted(coordinates: &[f64], dimension: usize) -> Vec<f64> {
    // The first coordinate is copied beside the reference: it nearly always decides, and then the point is
    // not read.
    let points = coordinates.chunks_exact(dimension.max(1));
    let mut points: Vec<(f64, &[f64])> = points.map(|point| (point[0], point)).collect();
    points.par_sort_unstable_by(|(x, p), (y, q)| {
        x.total_cmp(y).then_with(|| {
            let mut orders = p.iter().zip(*q).map(|(x, y)| x.total_cmp(y));
            orders
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        })
    });
    points
        .iter()
        .flat_map(|(_, point)| *point)
        .copied()
        .collect()
}

/// The vertices below `flat`. Its children are distributed to threads, for `levels` levels.
fn shared(
    flat: &FloatFlat,
    levels: usize,
    zero_test: ZeroTest,
    control: &Control,
) -> Result<PartialResult> {
    let mut found = PartialResult::default();
    if levels == 0 || flat.dimension == 1 {
        let mut below = vec![FloatFlat::default(); flat.dimension - 1];
        visit(
            flat,
            &mut below,
            zero_test,
            &mut FloatScratch::default(),
            &mut found,
            control,
        )?;
        return Ok(found);
    }
    let subtrees = (0..flat.candidates())
        .into_par_iter()
        .map(|at| {
            control.check()?;
            let (mut child, mut scratch) = (FloatFlat::default(), FloatScratch::default());
            let mut near = 0;
            flat.restrict(at, &mut child, zero_test, &mut scratch.keys, &mut near);
            let below = if child.reaches_a_vertex(zero_test, &mut scratch.echelon, &mut near) {
                shared(&child, levels - 1, zero_test, control)?
            } else {
                PartialResult::default()
            };
            Ok(PartialResult {
                near_decisions: below.near_decisions + near,
                ..below
            })
        })
        .collect::<Result<Vec<_>>>()?;
    for subtree in subtrees {
        found.coordinates.extend(subtree.coordinates);
        found.vertices += subtree.vertices;
        found.near_decisions += subtree.near_decisions;
    }
    Ok(found)
}

#[derive(Debug, Default)]
struct FloatScratch {
    keys: Vec<(f64, u32)>,
    echelon: Vec<f64>,
}

/// Visit everything below `flat`, depth first, with one flat of workspace for each level.
fn visit(
    flat: &FloatFlat,
    below: &mut [FloatFlat],
    zero_test: ZeroTest,
    scratch: &mut FloatScratch,
    found: &mut PartialResult,
    control: &Control,
) -> Result<()> {
    let Some((child, below)) = below.split_first_mut() else {
        flat.push_vertices(found);
        control.advance(flat.candidates() as u64);
        return Ok(());
    };
    for at in 0..flat.candidates() {
        control.check()?;
        flat.restrict(
            at,
            child,
            zero_test,
            &mut scratch.keys,
            &mut found.near_decisions,
        );
        if child.reaches_a_vertex(zero_test, &mut scratch.echelon, &mut found.near_decisions) {
            visit(child, below, zero_test, scratch, found, control)?;
        }
    }
    Ok(())
}
