//! Vertices of lines whose coordinates are one word each, in lowest terms.
//!
//! Two vectors u and v span a line. A row has the values α at u and β at v, and meets the line in the point
//! β·u − α·v. Each pair (α, β) is divided by its greatest common divisor. The sign is chosen so that the
//! last coordinate is positive.

use std::mem::MaybeUninit;

use crate::SimdLevel;
use crate::arrangement::arithmetic::{CHUNK, divide_all, whole};

/// The number of coordinates that one vector store writes.
const WRITTEN_TOGETHER: usize = 8;

/// Pairs (α, β) of some lines, and the vectors u and v of these lines.
///
/// The pairs of many lines are divided together, because those of one line would leave most lanes empty,
/// and because the steps of one pair depend on each other.
#[derive(Debug)]
pub struct Coprime {
    simd: SimdLevel,
    alpha: Vec<f64>,
    beta: Vec<f64>,
    /// For each line, the number of pairs up to its last one.
    lines: Vec<usize>,
    /// u and v of each line, coordinate by coordinate.
    ends: Vec<(i64, i64)>,
}

impl Coprime {
    /// No lines yet.
    pub fn new(simd: SimdLevel) -> Self {
        Self {
            simd,
            alpha: Vec::new(),
            beta: Vec::new(),
            lines: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Add a line: the pairs of these rows, and u and v coordinate by coordinate. No pair is (0, 0).
    pub fn push(
        &mut self,
        rows: &[u32],
        values: (&[f64], &[f64]),
        ends: impl Iterator<Item = (i64, i64)>,
    ) {
        for (to, from) in [(&mut self.alpha, values.0), (&mut self.beta, values.1)] {
            to.extend(rows.iter().map(|&row| from[row as usize]));
        }
        self.lines.push(self.alpha.len());
        self.ends.extend(ends);
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.alpha.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.alpha.is_empty()
    }

    /// Append the points of all pairs, and remove the pairs. The coordinates fit a word, so results of
    /// wrapping operations are exact.
    pub fn write(&mut self, out: &mut Vec<u64>) {
        self.divide();
        if !self.lines.is_empty() {
            let width = self.ends.len() / self.lines.len();
            let points = self.len() * width;
            // A store may write beyond its point. The next point overwrites that.
            out.reserve(points + WRITTEN_TOGETHER);
            self.put_lines(width, out.spare_capacity_mut());
            // SAFETY: the room was reserved, and `put_lines` has written `width` coordinates for each pair.
            unsafe { out.set_len(out.len() + points) };
        }
        self.alpha.clear();
        self.beta.clear();
        self.lines.clear();
        self.ends.clear();
    }

    /// Divide each pair by its greatest common divisor.
    fn divide(&mut self) {
        let count = self.len();
        let padded = count.next_multiple_of(CHUNK);
        self.alpha.resize(padded, 1.0);
        self.beta.resize(padded, 1.0);
        divide_all(self.simd, &mut self.alpha, &mut self.beta);
        self.alpha.truncate(count);
        self.beta.truncate(count);
    }

    fn put_lines(&self, width: usize, mut room: &mut [MaybeUninit<u64>]) {
        let mut start = 0;
        for (&end, ends) in self.lines.iter().zip(self.ends.chunks_exact(width)) {
            let pairs = (&self.alpha[start..end], &self.beta[start..end]);
            let points = (end - start) * width;
            if width <= WRITTEN_TOGETHER {
                put_together(
                    self.simd,
                    ends,
                    pairs,
                    &mut room[..points + WRITTEN_TOGETHER],
                );
            } else {
                for (point, pair) in room.chunks_exact_mut(width).zip(whole_pairs(pairs)) {
                    put(ends, pair, point);
                }
            }
            room = &mut room[points..];
            start = end;
        }
    }
}

fn put_together(
    simd: SimdLevel,
    ends: &[(i64, i64)],
    pairs: (&[f64], &[f64]),
    points: &mut [MaybeUninit<u64>],
) {
    match simd {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the tokens prove that the machine has these instructions.
        SimdLevel::Avx512(_) | SimdLevel::Vbmi(_) => unsafe { put_all_avx512(ends, pairs, points) },
        _ => put_all(ends, pairs, points),
    }
}

#[inline(always)]
fn whole_pairs<'a>(pairs: (&'a [f64], &'a [f64])) -> impl Iterator<Item = (i64, i64)> + 'a {
    let pairs = pairs.0.iter().zip(pairs.1);
    pairs.map(|(alpha, beta)| (whole(*alpha), whole(*beta)))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn put_all_avx512(ends: &[(i64, i64)], pairs: (&[f64], &[f64]), points: &mut [MaybeUninit<u64>]) {
    put_all(ends, pairs, points);
}

#[inline(always)]
fn put_all(ends: &[(i64, i64)], pairs: (&[f64], &[f64]), points: &mut [MaybeUninit<u64>]) {
    let width = ends.len();
    let mut padded = [(0, 0); WRITTEN_TOGETHER];
    padded[..width].copy_from_slice(ends);
    let (u, v) = (padded.map(|end| end.0), padded.map(|end| end.1));
    let (last_u, last_v) = ends[width - 1];
    let mut rest = points;
    for (alpha, beta) in whole_pairs(pairs) {
        let (point, _) = rest.split_at_mut(WRITTEN_TOGETHER);
        let last = beta
            .wrapping_mul(last_u)
            .wrapping_sub(alpha.wrapping_mul(last_v));
        let sign = 1 | last >> 63;
        let (alpha, beta) = (alpha * sign, beta * sign);
        for c in 0..WRITTEN_TOGETHER {
            let value = beta
                .wrapping_mul(u[c])
                .wrapping_sub(alpha.wrapping_mul(v[c]));
            point[c].write(value as u64);
        }
        rest = &mut rest[width..];
    }
}

/// Write one point of any number of coordinates.
fn put(ends: &[(i64, i64)], (alpha, beta): (i64, i64), point: &mut [MaybeUninit<u64>]) {
    let coordinate =
        |&(u, v): &(i64, i64)| beta.wrapping_mul(u).wrapping_sub(alpha.wrapping_mul(v));
    let sign = 1 | ends.last().map_or(1, coordinate) >> 63;
    for (x, end) in point.iter_mut().zip(ends) {
        x.write((sign * coordinate(end)) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_integer::Integer;
    use proptest::prelude::*;

    proptest! {
        /// Narrow lanes and wide ones, on every level that the machine has, against plain arithmetic.
        #[test]
        fn points_are_in_lowest_terms(
            pairs in proptest::collection::vec((-1i64 << 25..1 << 25, 1i64..1 << 25), 1..40),
            scale in prop_oneof![Just(1i64), 1i64..64, 1i64..1 << 27],
            ends in proptest::collection::vec((-99i64..100, -99i64..100), 2..11),
        ) {
            let alpha: Vec<f64> = pairs.iter().map(|pair| (scale * pair.0) as f64).collect();
            let beta: Vec<f64> = pairs.iter().map(|pair| (scale * pair.1) as f64).collect();
            let rows: Vec<u32> = (0..pairs.len() as u32).rev().collect();
            let expected: Vec<(i64, i64)> = pairs
                .iter()
                .rev()
                .map(|(a, b)| (a / a.gcd(b), b / a.gcd(b)))
                .collect();
            // On two lines, of which the first may have no pairs.
            let (first, second) = rows.split_at(rows.len() / 2);
            let points = SimdLevel::available().into_iter().map(|simd| {
                let mut coprime = Coprime::new(simd);
                let mut points = vec![7];
                for _ in 0..2 {
                    points.truncate(1);
                    coprime.push(first, (&alpha, &beta), ends.iter().copied());
                    coprime.push(second, (&alpha, &beta), ends.iter().copied());
                    coprime.write(&mut points);
                }
                (simd, points)
            });
            let points: Vec<_> = points.collect();
            let mut plain = vec![7];
            for (alpha, beta) in expected {
                let point = ends.iter().map(|(u, v)| beta * u - alpha * v);
                let sign = if point.clone().next_back() < Some(0) { -1 } else { 1 };
                plain.extend(point.map(|x| (sign * x) as u64));
            }
            for (simd, points) in points {
                prop_assert_eq!(points, plain.clone(), "{}", simd);
            }
        }
    }
}
