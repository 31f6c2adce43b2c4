//! A flat in floats, and the restriction of the arrangement to it.

use super::zero_test::{NEAR, PartialResult, ZeroTest};

/// A flat, and the restriction of the arrangement to it. The fields are those of
/// [`FieldFlat`](crate::arrangement::flats::FieldFlat), without those that exact coordinates need.
#[derive(Clone, Debug, Default)]
pub(super) struct FloatFlat {
    pub(super) dimension: usize,
    pub(super) smallest: u32,
    pub(super) numbers: Vec<u32>,
    /// For each row `dimension` coefficients, the largest of which has magnitude 1, and a right-hand side.
    pub(super) rows: Vec<f64>,
    pub(super) place: Vec<f64>,
}

impl FloatFlat {
    fn row(&self, at: usize) -> &[f64] {
        let stride = self.dimension + 1;
        &self.rows[at * stride..(at + 1) * stride]
    }

    pub(super) fn candidates(&self) -> usize {
        self.numbers.partition_point(|&n| n < self.smallest)
    }

    /// Make `child` the flat that row `at` cuts out.
    pub(super) fn restrict(
        &self,
        at: usize,
        child: &mut Self,
        zero_test: ZeroTest,
        keys: &mut Vec<(f64, u32)>,
        near: &mut u64,
    ) {
        let chosen = self.row(at);
        let pivot = largest(&chosen[..self.dimension]);
        let lead = chosen[pivot];
        let stride = self.dimension + 1;
        child.dimension = self.dimension - 1;
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
            let left = &child.rows[start..start + child.dimension];
            if zero_test.is_zero(magnitude(left), near) {
                child.rows.truncate(start);
            } else {
                child.numbers.push(self.numbers[other]);
            }
        }
        for coordinate in self.place.chunks_exact(stride) {
            // x = v·y + u with y_p = (β − …)/lead: the right-hand side is added to the constant.
            let factor = coordinate[pivot] / lead;
            child.place.extend(
                (0..self.dimension)
                    .filter(|c| *c != pivot)
                    .map(|c| coordinate[c] - factor * chosen[c]),
            );
            child
                .place
                .push(coordinate[self.dimension] + factor * chosen[self.dimension]);
        }
        child.normalise(zero_test, keys, near);
    }

    /// Scale every row so that its largest coefficient has magnitude 1. Of rows that cut the flat in the
    /// same place, keep the one with the largest number.
    ///
    /// Rows that agree up to sign have nearly the same `key`. So rows are sorted by their keys, and only
    /// neighbours are compared.
    pub(super) fn normalise(
        &mut self,
        zero_test: ZeroTest,
        keys: &mut Vec<(f64, u32)>,
        near: &mut u64,
    ) {
        let stride = self.dimension + 1;
        keys.clear();
        for (at, row) in self.rows.chunks_exact_mut(stride).enumerate() {
            let scale = 1.0 / magnitude(&row[..self.dimension]);
            row.iter_mut().for_each(|x| *x *= scale);
            keys.push((key(row), at as u32));
        }
        keys.sort_unstable_by(|(a, i), (b, j)| a.total_cmp(b).then(i.cmp(j)));
        let mut merged = false;
        for (first, &(key, at)) in keys.iter().enumerate() {
            // If two rows agree, each entry differs by at most the tolerance times
            // 1 + |right-hand side|, and its weight in the key is below 1. So rows beyond this window
            // do not agree, and their difference is not near the tolerance.
            let row = self.row(at as usize);
            let window =
                NEAR * zero_test.tolerance * (stride as f64) * (1.0 + row[self.dimension].abs());
            for &(other_key, other) in &keys[first + 1..] {
                if other_key - key > window {
                    break;
                }
                let apart = difference(self.row(at as usize), self.row(other as usize));
                if zero_test.is_zero(apart, near) {
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
        let stride = self.dimension + 1;
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

    /// Whether the candidates have full rank. If not, no vertex lies below.
    pub(super) fn reaches_a_vertex(
        &self,
        zero_test: ZeroTest,
        echelon: &mut Vec<f64>,
        near: &mut u64,
    ) -> bool {
        let (dimension, stride) = (self.dimension, self.dimension + 1);
        echelon.clear();
        for row in self.rows.chunks_exact(stride).take(self.candidates()) {
            let start = echelon.len();
            echelon.extend_from_slice(&row[..dimension]);
            let (before, row) = echelon.split_at_mut(start);
            for other in before.chunks_exact(dimension) {
                let pivot = largest(other);
                let factor = row[pivot] / other[pivot];
                row.iter_mut()
                    .zip(other)
                    .for_each(|(x, y)| *x -= factor * y);
                row[pivot] = 0.0;
            }
            let left = magnitude(row);
            if zero_test.is_zero(left, near) {
                echelon.truncate(start);
            } else {
                row.iter_mut().for_each(|x| *x /= left);
                if echelon.len() == dimension * dimension {
                    return true;
                }
            }
        }
        false
    }

    /// Append the vertices on this line.
    pub(super) fn push_vertices(&self, out: &mut PartialResult) {
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

/// Replaces the number of a row that has been merged into another.
pub(super) const GONE: u32 = u32::MAX;

pub(super) fn magnitude(coefficients: &[f64]) -> f64 {
    coefficients.iter().fold(0.0, |m, x| x.abs().max(m))
}

/// The place of the first among the largest coefficients.
fn largest(coefficients: &[f64]) -> usize {
    let mut at = 0;
    for (c, x) in coefficients.iter().enumerate() {
        if x.abs() > coefficients[at].abs() {
            at = c;
        }
    }
    at
}

/// A number that is equal for rows that agree up to sign, and nearly equal for rows that nearly agree.
fn key(row: &[f64]) -> f64 {
    // The weights are multiples of the golden ratio modulo 1. With them, different rows of small integers
    // seldom have equal sums.
    let (mut sum, mut weight) = (0.0, 0.0);
    for x in row {
        weight += 0.618_033_988_749_895;
        if weight >= 1.0 {
            weight -= 1.0;
        }
        sum += x * weight;
    }
    sum.abs()
}

/// The largest difference between the entries of two rows, up to a common sign. That of right-hand sides is
/// relative to their magnitude.
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
