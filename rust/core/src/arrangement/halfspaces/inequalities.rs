//! Inequalities, and the test whether a vertex satisfies them.

use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive};

use crate::arrangement::arithmetic::{Rational, integer};
use crate::arrangement::input::coprime;
use crate::{Control, Error, ErrorKind, Result};

/// If the entries of a row have at most this many bits, and there are at most [`MOST_TERMS`], the sum of their
/// products with 64-bit coordinates fits 128 bits.
const ENTRY_BITS: u64 = 55;
const MOST_TERMS: usize = 128;

/// The polyhedron of the points x with c·x ≤ e for every row [c|e].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halfspaces {
    dimension: usize,
    /// [c|e] in coprime integers.
    rows: Vec<Vec<BigInt>>,
    /// The same numbers, row by row, if they are short enough for sums of 128 bits.
    short: Option<Vec<i64>>,
}

impl Halfspaces {
    /// The inequalities c·x ≤ e, where each row is c followed by e. The caller can cancel the call.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a row that does not have `dimension` + 1 entries, and
    /// [`ErrorKind::Cancelled`].
    pub fn new(
        rows: impl Iterator<Item = Vec<Rational>>,
        dimension: usize,
        control: &Control,
    ) -> Result<Self> {
        let mut found = Vec::new();
        for (number, row) in rows.enumerate() {
            control.check()?;
            if row.len() != dimension + 1 {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!(
                        "inequality {number} has {} entries: it needs {dimension} coefficients and a right-hand side",
                        row.len()
                    ),
                ));
            }
            found.push(coprime(&row, control)?);
        }
        let fits = found.iter().flatten().all(|x| x.bits() <= ENTRY_BITS) && dimension < MOST_TERMS;
        Ok(Self {
            dimension,
            short: fits.then(|| {
                let entries = found.iter().flatten();
                entries.filter_map(ToPrimitive::to_i64).collect()
            }),
            rows: found,
        })
    }

    /// The dimension of the space.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The inequalities as integer rows [c|e].
    pub fn rows(&self) -> &[Vec<BigInt>] {
        &self.rows
    }

    /// Whether a vertex satisfies all inequalities. Its coordinates have `limbs` words each.
    pub fn contain(&self, vertex: &[u64], limbs: usize) -> bool {
        let (dimension, width) = (self.dimension, self.dimension + 1);
        if let (Some(short), 1) = (&self.short, limbs) {
            return short.chunks_exact(width).all(|row| {
                let mut value = 0i128;
                for (at, (c, x)) in row.iter().zip(vertex).enumerate() {
                    let term = i128::from(*c) * i128::from(*x as i64);
                    value += if at < dimension { term } else { -term };
                }
                value <= 0
            });
        }
        let vertex: Vec<BigInt> = vertex.chunks_exact(limbs).map(integer).collect();
        self.rows.iter().all(|row| {
            let mut value = -(&row[dimension] * &vertex[dimension]);
            for (c, x) in row[..dimension].iter().zip(&vertex) {
                value += c * x;
            }
            !value.is_positive()
        })
    }

    /// Keep those vertices from word `start` on that satisfy all inequalities, and return how many these are.
    pub fn retain(&self, numbers: &mut Vec<u64>, start: usize, limbs: usize) -> u64 {
        let stride = (self.dimension + 1) * limbs;
        let (mut kept, mut end) = (0, start);
        for at in (start..numbers.len()).step_by(stride) {
            if self.contain(&numbers[at..at + stride], limbs) {
                numbers.copy_within(at..at + stride, end);
                end += stride;
                kept += 1;
            }
        }
        numbers.truncate(end);
        kept
    }
}
