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

use num_traits::ToPrimitive;
use rayon::prelude::*;

use super::field::Rational;
use super::input::Arrangement;
use crate::{Control, Error, ErrorKind, Result};

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
/// [`ErrorKind::TooLarge`] where a right-hand side or a coordinate is beyond the range of `f64`,
/// [`ErrorKind::Cancelled`].
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
    let mut points: Vec<&[f64]> = found.coordinates.chunks_exact(dimension.max(1)).collect();
    points.par_sort_unstable_by(|p, q| {
        let mut orders = p.iter().zip(*q).map(|(x, y)| x.total_cmp(y));
        orders
            .find(|order| order.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    Ok(Approximate {
        coordinates: points.concat(),
        vertices: found.vertices,
        near_decisions: found.near_decisions,
    })
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

/// A flat with the arrangement restricted to it; the fields are those of `flats`, without what only
/// exact coordinates need.
#[derive(Clone, Debug, Default)]
struct Flat {
    free: usize,
    smallest: u32,
    numbers: Vec<u32>,
    /// `free` coefficients, the largest of magnitude 1, and a right-hand side for each row.
    rows: Vec<f64>,
    place: Vec<f64>,
}

impl Flat {
    fn row(&self, at: usize) -> &[f64] {
        let stride = self.free + 1;
        &self.rows[at * stride..(at + 1) * stride]
    }

    fn candidates(&self) -> usize {
        self.numbers.partition_point(|&n| n < self.smallest)
    }

    /// The child that row `at` cuts out, into `child`.
    fn restrict(
        &self,
        at: usize,
        child: &mut Self,
        judge: Judge,
        keys: &mut Vec<(f64, u32)>,
        near: &mut u64,
    ) {
        let chosen = self.row(at);
        let pivot = largest(&chosen[..self.free]);
        let lead = chosen[pivot];
        let stride = self.free + 1;
        child.free = self.free - 1;
        child.smallest = self.numbers[at];
        child.numbers.clear();
        child.rows.clear();
        child.place.clear();
        for (other, row) in self.rows.chunks_exact(stride).enumerate() {
            if other == at {
                continue;
            }
            let start = child.rows.len();
            let factor = row[pivot] / lead;
            let kept = (0..stride).filter(|c| *c != pivot);
            child.rows.extend(kept.map(|c| row[c] - factor * chosen[c]));
            let left = &child.rows[start..start + child.free];
            if judge.is_zero(magnitude(left), near) {
                child.rows.truncate(start);
            } else {
                child.numbers.push(self.numbers[other]);
            }
        }
        for coordinate in self.place.chunks_exact(stride) {
            // x = v·y + u with y_p = (β − …)/lead, so the constant changes the other way.
            let factor = coordinate[pivot] / lead;
            child.place.extend(
                (0..self.free)
                    .filter(|c| *c != pivot)
                    .map(|c| coordinate[c] - factor * chosen[c]),
            );
            child
                .place
                .push(coordinate[self.free] + factor * chosen[self.free]);
        }
        child.normalise(judge, keys, near);
    }

    /// Scale every row to a largest coefficient of 1, and of rows that cut the flat in the same place
    /// keep that of the largest number.
    ///
    /// Rows that agree up to sign have nearly the same `key`, so only neighbours in its order are
    /// compared.
    fn normalise(&mut self, judge: Judge, keys: &mut Vec<(f64, u32)>, near: &mut u64) {
        let stride = self.free + 1;
        keys.clear();
        for (at, row) in self.rows.chunks_exact_mut(stride).enumerate() {
            let scale = 1.0 / magnitude(&row[..self.free]);
            row.iter_mut().for_each(|x| *x *= scale);
            keys.push((key(row), at as u32));
        }
        keys.sort_unstable_by(|(a, i), (b, j)| a.total_cmp(b).then(i.cmp(j)));
        let mut merged = false;
        for (first, &(key, at)) in keys.iter().enumerate() {
            // Each entry differs by at most the tolerance, times 1 + |right-hand side|, and weighs
            // less than 1; beyond the band nothing near is left to be counted either.
            let row = self.row(at as usize);
            let window = NEAR * judge.tolerance * (stride as f64) * (1.0 + row[self.free].abs());
            for &(other_key, other) in &keys[first + 1..] {
                if other_key - key > window {
                    break;
                }
                let apart = difference(self.row(at as usize), self.row(other as usize));
                if judge.is_zero(apart, near) {
                    let smaller = at.min(other) as usize;
                    self.numbers[smaller] = GONE;
                    merged = true;
                }
            }
        }
        if merged {
            self.drop_merged();
        }
    }

    fn drop_merged(&mut self) {
        let stride = self.free + 1;
        let mut to = 0;
        for from in 0..self.numbers.len() {
            if self.numbers[from] != GONE {
                self.numbers[to] = self.numbers[from];
                self.rows
                    .copy_within(from * stride..(from + 1) * stride, to * stride);
                to += 1;
            }
        }
        self.numbers.truncate(to);
        self.rows.truncate(to * stride);
    }

    /// Whether the candidates have full rank, without which no vertex lies below.
    fn reaches_a_vertex(&self, judge: Judge, echelon: &mut Vec<f64>, near: &mut u64) -> bool {
        let (free, stride) = (self.free, self.free + 1);
        echelon.clear();
        for row in self.rows.chunks_exact(stride).take(self.candidates()) {
            let start = echelon.len();
            echelon.extend_from_slice(&row[..free]);
            let (before, row) = echelon.split_at_mut(start);
            for other in before.chunks_exact(free) {
                let pivot = largest(other);
                let factor = row[pivot] / other[pivot];
                row.iter_mut()
                    .zip(other)
                    .for_each(|(x, y)| *x -= factor * y);
                row[pivot] = 0.0;
            }
            let left = magnitude(row);
            if judge.is_zero(left, near) {
                echelon.truncate(start);
            } else {
                row.iter_mut().for_each(|x| *x /= left);
                if echelon.len() == free * free {
                    return true;
                }
            }
        }
        false
    }

    /// Append the vertices on this line.
    fn push_vertices(&self, out: &mut Found) {
        for at in 0..self.candidates() {
            let row = self.row(at);
            let parameter = row[1] / row[0];
            let coordinates = self.place.chunks_exact(2);
            out.coordinates
                .extend(coordinates.map(|c| c[1] + c[0] * parameter));
        }
        out.vertices += self.candidates();
    }
}

/// The number of a row that has been merged into another; no row has it.
const GONE: u32 = u32::MAX;

fn magnitude(coefficients: &[f64]) -> f64 {
    coefficients.iter().fold(0.0, |m, x| x.abs().max(m))
}

/// Place of the first of the largest coefficients.
fn largest(coefficients: &[f64]) -> usize {
    let mut at = 0;
    for (c, x) in coefficients.iter().enumerate() {
        if x.abs() > coefficients[at].abs() {
            at = c;
        }
    }
    at
}

/// The same for rows that agree up to sign; nearly the same if they nearly agree.
fn key(row: &[f64]) -> f64 {
    // Multiples of the golden ratio: no two rows of small integers share a sum by their symmetry.
    let weights = (1u32..).map(|c| (0.618_033_988_749_895 * f64::from(c)).fract());
    row.iter()
        .zip(weights)
        .map(|(x, w)| x * w)
        .sum::<f64>()
        .abs()
}

/// How far two rows are from agreeing up to sign, right-hand sides relative to their magnitude.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    let side = a.len() - 1;
    let scale = 1.0 / a[side].abs().max(b[side].abs()).max(1.0);
    let (mut minus, mut plus) = (0f64, 0f64);
    for (c, (x, y)) in a.iter().zip(b).enumerate() {
        let weight = if c == side { scale } else { 1.0 };
        minus = minus.max((x - y).abs() * weight);
        plus = plus.max((x + y).abs() * weight);
    }
    minus.min(plus)
}

/// 2^−e for the power of two 2^e next below a magnitude; 1 for 0.
fn reciprocal_power_of_two(magnitude: f64) -> f64 {
    if magnitude == 0.0 {
        return 1.0;
    }
    (-magnitude.log2().floor()).exp2()
}

/// The arrangement in floats of magnitude 1, and what to multiply each coordinate with.
fn scaled(arrangement: &Arrangement) -> Result<(Flat, Vec<f64>)> {
    let dimension = arrangement.dimension();
    let stride = dimension + 1;
    let mut rows = Vec::with_capacity(arrangement.rows().len() * stride);
    for row in arrangement.rows() {
        // Integers of any size: only their ratio to the largest coefficient has to be a float.
        let Some(scale) = row[..dimension]
            .iter()
            .map(|x| x.magnitude())
            .max()
            .cloned()
        else {
            continue;
        };
        for x in row {
            let ratio = Rational::new(x.clone(), scale.clone().into()).to_f64();
            rows.push(
                ratio
                    .filter(|x| x.is_finite())
                    .ok_or_else(|| out_of_range("a right-hand side"))?,
            );
        }
    }
    let mut scales = Vec::with_capacity(dimension);
    for column in 0..dimension {
        let entries = rows.iter().skip(column).step_by(stride);
        let scale = reciprocal_power_of_two(entries.fold(0.0, |m, x| x.abs().max(m)));
        rows.iter_mut()
            .skip(column)
            .step_by(stride)
            .for_each(|x| *x *= scale);
        scales.push(scale);
    }
    for row in rows.chunks_exact_mut(stride) {
        let scale = reciprocal_power_of_two(magnitude(&row[..dimension]));
        row.iter_mut().for_each(|x| *x *= scale);
    }
    let sides = rows.iter().skip(dimension).step_by(stride);
    let side_scale = reciprocal_power_of_two(sides.fold(0.0, |m, x| x.abs().max(m)));
    rows.iter_mut()
        .skip(dimension)
        .step_by(stride)
        .for_each(|x| *x *= side_scale);
    scales.iter_mut().for_each(|x| *x /= side_scale);
    let whole = Flat {
        free: dimension,
        smallest: GONE,
        numbers: (0..(rows.len() / stride) as u32).collect(),
        rows,
        place: (0..dimension * stride)
            .map(|at| f64::from(u8::from(at / stride == at % stride)))
            .collect(),
    };
    Ok((whole, scales))
}

fn out_of_range(what: &str) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("{what} is beyond the range of float64: search exactly"),
    )
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
