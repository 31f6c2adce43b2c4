//! A point in a region with few digits: floats propose it, and integers prove it.
//!
//! The exact point of [`step`](super::cone::step) has numbers as long as those of the vertex and of the
//! step together. Nearly every region has room for a point on a coarse dyadic grid, which takes less time
//! to write and to read. Floats say how coarse the grid may be: half as fine as the distance to the nearest
//! hyperplane. What they propose counts only if it is proved to have the right sign at every hyperplane: by
//! floats where their error cannot change the sign, and by integers elsewhere.

use num_bigint::BigInt;

use crate::arrangement::arithmetic::exact::Exact;

/// The finest grid, in bits behind the point, and the largest numerator, in bits.
const FINEST: i32 = 40;
const LARGEST: f64 = (1u64 << 52) as f64;
/// Sums of this many products of a 63-bit and a 53-bit integer fit in 128 bits.
const MOST_COORDINATES: usize = 1 << 10;

/// The hyperplanes of a level, for floats and for the proof.
#[derive(Debug)]
pub(super) struct Rows {
    floats: Vec<f64>,
    /// Σ|a| of each hyperplane.
    norms: Vec<f64>,
    /// The same hyperplanes in integers, if they fit.
    exact: Option<Vec<i64>>,
    /// d + 1.
    width: usize,
}

/// Memory that is used again from vertex to vertex.
#[derive(Debug, Default)]
pub(super) struct Proposal {
    /// The direction, with a largest entry of ±1.
    unit: Vec<f64>,
    /// a·x − b of each hyperplane at the vertex, and its growth in the direction.
    values: Vec<f64>,
    slopes: Vec<f64>,
    /// The point that floats propose.
    near: Vec<f64>,
    /// The point on the grid: numerators, and a denominator that is a power of two.
    pub point: Vec<i64>,
}

impl Rows {
    /// The hyperplanes [a|b] in `dimension` coordinates.
    pub(super) fn new(rows: &[Vec<BigInt>], dimension: usize) -> Self {
        let norm = |row: &[f64]| row[..dimension].iter().map(|x| x.abs()).sum();
        let floats: Vec<f64> = rows.iter().flatten().map(Exact::to_float).collect();
        Self {
            norms: floats.chunks_exact(dimension + 1).map(norm).collect(),
            floats,
            exact: rows.iter().flatten().map(Exact::to_word).collect(),
            width: dimension + 1,
        }
    }

    /// Propose the point near a vertex in this direction, half of the way to the first hyperplane. Returns the
    /// step from the vertex.
    ///
    /// `values` are a·v − b times the vertex' denominator.
    pub(super) fn propose<N: Exact>(
        &self,
        values: &[N],
        vertex: &[N],
        direction: &[N],
        out: &mut Proposal,
    ) -> Option<f64> {
        let (denominator, numerators) = vertex.split_last()?;
        let inverse = 1.0 / denominator.to_float();
        let longest = direction
            .iter()
            .map(|x| x.to_float().abs())
            .fold(0.0, f64::max);
        out.unit.clear();
        out.unit
            .extend(direction.iter().map(|x| x.to_float() / longest));
        out.values.clear();
        out.values
            .extend(values.iter().map(|x| x.to_float() * inverse));
        let unit = &out.unit;
        let slope = |row: &[f64]| -> f64 { row.iter().zip(unit).map(|(a, u)| a * u).sum() };
        out.slopes.clear();
        out.slopes
            .extend(self.floats.chunks_exact(self.width).map(slope));
        let mut length = 2.0f64;
        for (value, slope) in out.values.iter().zip(&out.slopes) {
            if value * slope < 0.0 {
                length = length.min(-value / slope);
            }
        }
        length /= 2.0;
        out.near.clear();
        let near = numerators.iter().zip(&out.unit);
        out.near
            .extend(near.map(|(x, u)| x.to_float() * inverse + length * u));
        Some(length)
    }

    /// Find a point next to the one that was [proposed](Self::propose) with this step at which hyperplane j has
    /// the sign `signs[j]`.
    pub(super) fn at_step(&self, length: f64, signs: &[i8], out: &mut Proposal) -> Option<()> {
        let mut needed = 1.0f64;
        let lines = out.values.iter().zip(&out.slopes);
        for ((value, slope), norm) in lines.zip(&self.norms) {
            if *norm > 0.0 {
                needed = needed.max(norm / (value + length * slope).abs());
            }
        }
        self.rounded(needed, signs, out)
    }

    /// Find a point next to this one, or rather to the floats next to it, as [`at_step`](Self::at_step) does.
    pub(super) fn next_to<N: Exact>(
        &self,
        point: &[N],
        signs: &[i8],
        out: &mut Proposal,
    ) -> Option<()> {
        let (denominator, numerators) = point.split_last()?;
        let denominator = denominator.to_float();
        out.near.clear();
        out.near
            .extend(numerators.iter().map(|x| x.to_float() / denominator));
        self.at_proposal(signs, out)
    }

    /// Find a point next to the one that another level has proposed, which `lift` takes to this level, as
    /// [`at_step`](Self::at_step) does. A row of `lift` has a coordinate's coefficients and its constant.
    pub(super) fn lifted(&self, lift: &[Vec<f64>], signs: &[i8], out: &mut Proposal) -> Option<()> {
        let near = lift.iter().map(|row| {
            let (constant, coefficients) = row.split_last()?;
            let terms = coefficients.iter().zip(&out.near);
            Some(terms.map(|(a, x)| a * x).sum::<f64>() + constant)
        });
        out.near = near.collect::<Option<_>>()?;
        self.at_proposal(signs, out)
    }

    fn at_proposal(&self, signs: &[i8], out: &mut Proposal) -> Option<()> {
        let mut needed = 1.0f64;
        for (row, norm) in self.floats.chunks_exact(self.width).zip(&self.norms) {
            let (side, normal) = row.split_last()?;
            let value: f64 = normal.iter().zip(&out.near).map(|(a, x)| a * x).sum();
            if *norm > 0.0 {
                needed = needed.max(norm / (value - side).abs());
            }
        }
        self.rounded(needed, signs, out)
    }

    /// The point of a dyadic grid next to the one that was proposed, if it has these signs. The step of the grid
    /// is about half of one over `needed`.
    fn rounded(&self, needed: f64, signs: &[i8], out: &mut Proposal) -> Option<()> {
        // The exponent, from the bits: a logarithm is not the same on every machine.
        let bits = ((needed.to_bits() >> 52 & 0x7FF) as i32 - 1022).max(0);
        if !needed.is_finite() || bits > FINEST || self.width >= MOST_COORDINATES {
            return None;
        }
        let grid = (1u64 << bits) as f64;
        let point = &mut out.point;
        point.clear();
        for x in &mut out.near {
            *x = (*x * grid).round_ties_even();
            if x.is_nan() || x.abs() >= LARGEST {
                return None;
            }
            point.push(*x as i64);
        }
        out.near.push(grid);
        point.push(1 << bits);
        self.proved(signs, &out.near, point).then(|| {
            // In lowest terms.
            let zeros = point.iter().map(|x| x.trailing_zeros()).min();
            let common = zeros.unwrap_or_default();
            point.iter_mut().for_each(|x| *x >>= common);
        })
    }

    /// Whether hyperplane j has the sign `signs[j]` at a point, which is given as integers and as floats that are
    /// equal to them.
    fn proved(&self, signs: &[i8], floats: &[f64], point: &[i64]) -> bool {
        let Some(exact) = &self.exact else {
            return false;
        };
        let dimension = self.width - 1;
        // A coefficient, a product and each partial sum have a relative error of at most ε/2.
        let error = (self.width + 2) as f64 * f64::EPSILON;
        let rows = self.floats.chunks_exact(self.width).zip(signs);
        rows.enumerate().all(|(at, (row, sign))| {
            let side = row[dimension] * floats[dimension];
            let (mut sum, mut most) = (-side, side.abs());
            for (a, x) in row[..dimension].iter().zip(floats) {
                let term = a * x;
                sum += term;
                most += term.abs();
            }
            if sum.abs() > most * error {
                return sum * f64::from(*sign) > 0.0;
            }
            // Products are below 2^63·2^53, and there are fewer than MOST_COORDINATES.
            let row = &exact[at * self.width..][..self.width];
            let terms = row.iter().zip(point).enumerate();
            let sum = terms.fold(0i128, |sum, (at, (a, x))| {
                let term = i128::from(*a) * i128::from(*x);
                if at < dimension {
                    sum + term
                } else {
                    sum - term
                }
            });
            sum.signum() as i8 == *sign
        })
    }
}
