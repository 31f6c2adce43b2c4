//! A point in a region with few digits: floats propose it, and integers prove it.
//!
//! The exact point of [`step`](super::cone::step) has numbers as long as those of the vertex and of the
//! step together. Nearly every region has room for a point on a coarse dyadic grid, which takes less time
//! to write and to read. Floats say how coarse the grid may be: half as fine as the distance to the nearest
//! hyperplane. What they propose counts only if the integers have the right sign at every hyperplane.

use num_bigint::BigInt;

use super::exact::Exact;

/// The finest grid, in bits behind the point, and the largest numerator, in bits.
const FINEST: i32 = 40;
const LARGEST: f64 = (1u64 << 52) as f64;
/// Sums of this many products of a 63-bit and a 53-bit integer fit in 128 bits.
const MOST_COORDINATES: usize = 1 << 10;

/// The hyperplanes of a level, for floats and for the proof.
#[derive(Debug)]
pub(super) struct Rows {
    exact: Vec<i64>,
    floats: Vec<f64>,
    /// Σ|a| of each hyperplane.
    norms: Vec<f64>,
}

impl Rows {
    /// The hyperplanes [a|b] in `dimension` coordinates.
    pub(super) fn new(rows: &[i64], dimension: usize) -> Self {
        let normals = rows.chunks_exact(dimension + 1);
        Self {
            exact: rows.to_vec(),
            floats: rows.iter().map(|x| *x as f64).collect(),
            norms: normals
                .map(|row| {
                    row[..dimension]
                        .iter()
                        .map(|x| x.unsigned_abs() as f64)
                        .sum()
                })
                .collect(),
        }
    }

    /// A point near a vertex in this direction at which hyperplane j has the sign `signs[j]`: numerators,
    /// and a denominator that is a power of two. `None` if floats propose none that has.
    ///
    /// `values` are a·v − b times the vertex' denominator.
    pub(super) fn point<N: Exact>(
        &self,
        values: &[N],
        vertex: &[N],
        direction: &[N],
        signs: &[i8],
        point: &mut Vec<i64>,
    ) -> Option<()> {
        let (denominator, numerators) = vertex.split_last()?;
        let (width, denominator) = (vertex.len(), denominator.to_float());
        if width >= MOST_COORDINATES {
            return None;
        }
        let longest = direction
            .iter()
            .map(|x| x.to_float().abs())
            .fold(0.0, f64::max);
        let unit: Vec<f64> = direction.iter().map(|x| x.to_float() / longest).collect();
        let slope = |row: &[f64]| -> f64 { row.iter().zip(&unit).map(|(a, u)| a * u).sum() };
        let rows = || self.floats.chunks_exact(width).zip(values);
        // Half of the way to the first hyperplane.
        let mut length = 2.0f64;
        for (row, value) in rows() {
            let (value, slope) = (value.to_float() / denominator, slope(row));
            if value * slope < 0.0 {
                length = length.min(-value / slope);
            }
        }
        length /= 2.0;
        let mut needed = 1.0f64;
        for ((row, value), norm) in rows().zip(&self.norms) {
            let distance = value.to_float() / denominator + length * slope(row);
            if *norm > 0.0 {
                needed = needed.max(norm / distance.abs());
            }
        }
        let near = numerators.iter().zip(&unit);
        let near = near.map(|(x, u)| x.to_float() / denominator + length * u);
        self.rounded(near, needed, signs, point)
    }

    /// A point near another one at which hyperplane j has the sign `signs[j]`, as in [`point`](Self::point).
    pub(super) fn near(&self, other: &[BigInt], signs: &[i8], point: &mut Vec<i64>) -> Option<()> {
        let (denominator, numerators) = other.split_last()?;
        let (width, denominator) = (other.len(), denominator.to_float());
        if width >= MOST_COORDINATES {
            return None;
        }
        let near: Vec<f64> = numerators
            .iter()
            .map(|x| x.to_float() / denominator)
            .collect();
        let mut needed = 1.0f64;
        for (row, norm) in self.floats.chunks_exact(width).zip(&self.norms) {
            let (side, normal) = row.split_last()?;
            let value: f64 = normal.iter().zip(&near).map(|(a, x)| a * x).sum();
            if *norm > 0.0 {
                needed = needed.max(norm / (value - side).abs());
            }
        }
        self.rounded(near.into_iter(), needed, signs, point)
    }

    /// The point of a dyadic grid next to this one, if it has these signs. The step of the grid is about
    /// half of one over `needed`.
    fn rounded(
        &self,
        near: impl Iterator<Item = f64>,
        needed: f64,
        signs: &[i8],
        point: &mut Vec<i64>,
    ) -> Option<()> {
        // The exponent, from the bits: a logarithm is not the same on every machine.
        let bits = ((needed.to_bits() >> 52 & 0x7FF) as i32 - 1022).max(0);
        if !needed.is_finite() || bits > FINEST {
            return None;
        }
        let grid = (1u64 << bits) as f64;
        point.clear();
        for x in near {
            let x = (x * grid).round_ties_even();
            if x.is_nan() || x.abs() >= LARGEST {
                return None;
            }
            point.push(x as i64);
        }
        // In lowest terms.
        let zeros = point.iter().map(|x| x.trailing_zeros()).min();
        let bits = bits as u32;
        let common = zeros.unwrap_or(bits).min(bits);
        point.iter_mut().for_each(|x| *x >>= common);
        point.push(1 << (bits - common));
        let width = point.len();
        // Products are below 2^63·2^53, and there are fewer than MOST_COORDINATES.
        let value = |row: &[i64]| {
            let terms = row
                .iter()
                .zip(point.iter())
                .map(|(a, x)| i128::from(*a) * i128::from(*x));
            terms.enumerate().fold(0, |sum, (at, term)| {
                sum + if at + 1 < width { term } else { -term }
            })
        };
        let mut rows = self.exact.chunks_exact(width).zip(signs);
        let proved = rows.all(|(row, sign)| value(row).signum() as i8 == *sign);
        proved.then_some(())
    }
}
