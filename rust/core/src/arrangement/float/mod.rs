//! The search over flats in `f64` with a tolerance: nothing here is proved.
//!
//! The search is that of [`flats`](super::flats); what differs is how zero is told. Three questions
//! are asked, each of numbers scaled to magnitude 1, and answered with "yes" up to the tolerance:
//!
//! * does a hyperplane meet the flat at all: is the largest coefficient 0 that elimination has left
//!   of a row, which had a largest coefficient of 1 before;
//! * do two hyperplanes cut the flat in the same place: do their rows, scaled to a largest
//!   coefficient of 1, agree up to their sign;
//! * have the rows below full rank: is a pivot of their elimination 0.
//!
//! Every answer within a factor of [`NEAR`] of the tolerance, on either side, is counted, since a
//! small change of the input, or rounding, could have turned it. That the count is 0 proves nothing:
//! an error can be larger than the band.
//!
//! **Scaling.** Each entry is rounded once, on being divided by its row's largest coefficient. Columns,
//! rows and right-hand sides are then brought to magnitude 1 by powers of two, which round nothing,
//! so that the tolerance means the same however rows are scaled and whatever the unit of length. Every
//! elimination pivots on a largest coefficient, so a step at most doubles what it works on. The
//! scaling of a row by its largest coefficient is continuous, which that by its first would not be,
//! but its sign is not; so signs are left open where rows are compared.

mod flat;
mod scaling;

use std::cmp::Ordering;

use rayon::prelude::*;

use super::input::Arrangement;
use crate::{Control, Result};
use flat::Flat;
use scaling::{out_of_range, scaled};

/// How far from the tolerance an answer counts as clear.
pub const NEAR: f64 = 10.0;

/// Levels of the search tree whose subtrees are shared out to threads, as in `flats`.
const SHARED_LEVELS: usize = 2;

/// What a search in floats finds.
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
/// Points that are closer than about the tolerance, on the scale of the input, are taken for one.
/// The result depends on the hyperplanes, their order and the tolerance, not on the number of
/// threads. Time and memory as [`flats`](super::flats) with the cheapest arithmetic.
///
/// # Errors
/// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) where a right-hand side or a coordinate is beyond the range of `f64`,
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
pub fn vertices(
    arrangement: &Arrangement,
    tolerance: f64,
    control: &Control,
) -> Result<Approximate> {
    let dimension = arrangement.dimension();
    let (whole, scales) = scaled(arrangement)?;
    let judge = Judge { tolerance };
    let mut found = Found::default();
    if dimension == 0 {
        found.vertices = 1;
    } else {
        let mut whole = whole;
        whole.normalise(judge, &mut Vec::new(), &mut found.near_decisions);
        found = shared(&whole, SHARED_LEVELS, judge, control)?.after(found);
    }
    for point in found.coordinates.chunks_exact_mut(dimension.max(1)) {
        for (x, scale) in point.iter_mut().zip(&scales) {
            // No negative zero: it would be sorted apart.
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
    // The first coordinate stands beside the point: nearly always it decides, without a look there.
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

/// The tolerance, and what it decides.
#[derive(Clone, Copy, Debug)]
struct Judge {
    tolerance: f64,
}

impl Judge {
    /// Whether a magnitude on the scale of 1 counts as 0.
    fn is_zero(self, magnitude: f64, near: &mut u64) -> bool {
        let (t, m) = (self.tolerance, magnitude);
        *near += u64::from(m > t / NEAR && m < t * NEAR);
        m <= t
    }
}

#[derive(Debug, Default)]
struct Found {
    coordinates: Vec<f64>,
    vertices: usize,
    near_decisions: u64,
}

impl Found {
    fn after(mut self, before: Self) -> Self {
        self.coordinates.splice(..0, before.coordinates);
        self.vertices += before.vertices;
        self.near_decisions += before.near_decisions;
        self
    }
}

/// The vertices below `flat`, whose children are shared out to the threads.
fn shared(flat: &Flat, levels: usize, judge: Judge, control: &Control) -> Result<Found> {
    let mut found = Found::default();
    if levels == 0 || flat.free == 1 {
        let mut below = vec![Flat::default(); flat.free - 1];
        visit(
            flat,
            &mut below,
            judge,
            &mut Scratch::default(),
            &mut found,
            control,
        )?;
        return Ok(found);
    }
    let subtrees = (0..flat.candidates())
        .into_par_iter()
        .map(|at| {
            control.check()?;
            let (mut child, mut scratch) = (Flat::default(), Scratch::default());
            let mut near = 0;
            flat.restrict(at, &mut child, judge, &mut scratch.keys, &mut near);
            let below = if child.reaches_a_vertex(judge, &mut scratch.echelon, &mut near) {
                shared(&child, levels - 1, judge, control)?
            } else {
                Found::default()
            };
            Ok(Found {
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
struct Scratch {
    keys: Vec<(f64, u32)>,
    echelon: Vec<f64>,
}

/// Depth first below `flat`, with one flat of workspace for each level.
fn visit(
    flat: &Flat,
    below: &mut [Flat],
    judge: Judge,
    scratch: &mut Scratch,
    found: &mut Found,
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
            judge,
            &mut scratch.keys,
            &mut found.near_decisions,
        );
        if child.reaches_a_vertex(judge, &mut scratch.echelon, &mut found.near_decisions) {
            visit(child, below, judge, scratch, found, control)?;
        }
    }
    Ok(())
}
