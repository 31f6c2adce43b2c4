//! Distinct hyperplanes with integer coefficients, from rational rows.

use std::collections::HashMap;

use num_bigint::BigInt;
use num_traits::float::FloatCore;
use num_traits::{One, Signed, Zero};

use crate::arrangement::arithmetic::{Rational, common_divisor, content};
use crate::{Control, Error, ErrorKind, Result};

/// The distinct hyperplanes of an arrangement, in the order in which they were first given.
#[derive(Clone, Debug)]
pub struct Arrangement {
    dimension: usize,
    /// The rows [a|b] with coprime integer entries. The first entry ≠ 0 is positive. No a is 0.
    rows: Vec<Vec<BigInt>>,
    /// For each row of the user, the number of its hyperplane. `None` for 0·x = 0.
    hyperplanes_of_rows: Vec<Option<u32>>,
}

/// The largest number of entries that is accepted: about a gigabyte of integers.
pub const MOST_ENTRIES: usize = 1 << 24;

impl Arrangement {
    /// The arrangement of the hyperplanes a·x = b, where each row is a followed by b.
    ///
    /// Rows that are multiples of each other are one hyperplane, which is kept once. A row 0·x = 0 holds at
    /// every point, so it is no hyperplane and is left out.
    ///
    /// # Errors
    /// [`ErrorKind::EmptyHyperplane`] for a row 0·x = c, c ≠ 0; [`ErrorKind::InvalidArgument`] for
    /// a row that does not have `dimension` + 1 entries. Both name the row.
    /// [`ErrorKind::TooLarge`] for more than [`MOST_ENTRIES`] entries.
    pub fn new(rows: &[Vec<Rational>], dimension: usize) -> Result<Self> {
        Self::from_rows(rows.iter().cloned(), dimension, &Control::new())
    }

    /// [`new`](Self::new) for rows that an iterator makes. The caller can cancel the call.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`ErrorKind::Cancelled`].
    pub fn from_rows(
        rows: impl ExactSizeIterator<Item = Vec<Rational>>,
        dimension: usize,
        control: &Control,
    ) -> Result<Self> {
        let entries = rows.len().saturating_mul(dimension.saturating_add(1));
        if entries > MOST_ENTRIES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "{} rows of {} entries have {entries} entries in all: at most {MOST_ENTRIES} are accepted",
                    rows.len(),
                    dimension + 1
                ),
            ));
        }
        let mut arrangement = Self {
            dimension,
            rows: Vec::new(),
            hyperplanes_of_rows: Vec::with_capacity(rows.len()),
        };
        let mut numbers = HashMap::new();
        for row in rows {
            control.check()?;
            arrangement.push(&row, &mut numbers, control)?;
        }
        Ok(arrangement)
    }

    fn push(
        &mut self,
        given: &[Rational],
        numbers: &mut HashMap<Vec<BigInt>, u32>,
        control: &Control,
    ) -> Result<()> {
        let (index, dimension) = (self.hyperplanes_of_rows.len(), self.dimension);
        if given.len() != dimension + 1 {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "row {index} has {} entries: it needs {dimension} coefficients and a right-hand side",
                    given.len()
                ),
            ));
        }
        let row = primitive(given, control)?;
        if row[..dimension].iter().all(Zero::is_zero) {
            if !row[dimension].is_zero() {
                return Err(Error::new(
                    ErrorKind::EmptyHyperplane,
                    format!(
                        "row {index} reads 0·x = {}: no point satisfies it",
                        given[dimension]
                    ),
                ));
            }
            self.hyperplanes_of_rows.push(None);
            return Ok(());
        }
        let next = self.rows.len() as u32;
        let number = *numbers.entry(row).or_insert_with_key(|row| {
            self.rows.push(row.clone());
            next
        });
        self.hyperplanes_of_rows.push(Some(number));
        Ok(())
    }

    /// The same hyperplanes in a shuffled order. The shuffle depends on the number of hyperplanes alone.
    ///
    /// A search takes the hyperplanes in the order of their numbers. If this order has a pattern, as that of
    /// all sign vectors has, a search can spend hours in subtrees without a vertex before it finds the first.
    #[must_use]
    pub fn shuffled(mut self) -> Self {
        let mut state = 0u64;
        let mut next = || {
            // SplitMix64.
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ z >> 31
        };
        // Fisher and Yates' shuffle. The counts are below 2³², so the bias of a remainder of 64 bits is
        // negligible.
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, (next() % (at as u64 + 1)) as usize);
        }
        let mut rows = vec![Vec::new(); self.rows.len()];
        for (row, &to) in self.rows.into_iter().zip(&order) {
            rows[to as usize] = row;
        }
        self.rows = rows;
        for number in self.hyperplanes_of_rows.iter_mut().flatten() {
            *number = order[*number as usize];
        }
        self
    }

    /// For each row of the user, the number of its hyperplane. `None` for a row 0·x = 0.
    pub fn hyperplanes_of_rows(&self) -> &[Option<u32>] {
        &self.hyperplanes_of_rows
    }

    /// d.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The hyperplanes as integer rows [a|b].
    pub fn rows(&self) -> &[Vec<BigInt>] {
        &self.rows
    }
}

/// A finite float as a dyadic rational.
pub fn dyadic(value: f64) -> Rational {
    let (mantissa, exponent, sign) = value.integer_decode();
    let numerator = BigInt::from(mantissa) * sign;
    let power = BigInt::one() << exponent.unsigned_abs();
    if exponent < 0 {
        Rational::new(numerator, power)
    } else {
        Rational::from_integer(numerator * power)
    }
}

/// The multiple of a row with coprime integer entries whose first entry ≠ 0 is positive.
fn primitive(row: &[Rational], control: &Control) -> Result<Vec<BigInt>> {
    let mut integers = coprime(row, control)?;
    if integers
        .iter()
        .find(|x| !x.is_zero())
        .is_some_and(Signed::is_negative)
    {
        integers.iter_mut().for_each(|x| *x = -&*x);
    }
    Ok(integers)
}

/// The positive multiple of a row with coprime integer entries.
///
/// The entries are fractions in lowest terms. So their greatest common divisor is that of the numerators over the
/// least common multiple of the denominators, and the long numbers of the result are not divided again.
///
/// # Errors
/// [`ErrorKind::Cancelled`] only.
pub(in crate::arrangement) fn coprime(row: &[Rational], control: &Control) -> Result<Vec<BigInt>> {
    let divisor = content(row.iter().map(Rational::numer));
    if divisor.is_zero() {
        return Ok(vec![BigInt::zero(); row.len()]);
    }
    let mut multiple = BigInt::one();
    for x in row.iter().filter(|x| !x.denom().is_one()) {
        control.check()?;
        let common = common_divisor(&multiple, x.denom());
        multiple *= x.denom() / common;
    }
    let entry = |x: &Rational| {
        control.check()?;
        Ok((x.numer() / &divisor) * (&multiple / x.denom()))
    };
    row.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(entries: &[(i64, i64)]) -> Vec<Rational> {
        entries
            .iter()
            .map(|(n, d)| Rational::new((*n).into(), (*d).into()))
            .collect()
    }

    #[test]
    fn multiples_are_one_hyperplane() {
        let rows = [
            row(&[(1, 2), (1, 3), (1, 1)]),
            row(&[(-3, 1), (-2, 1), (-6, 1)]),
            row(&[(0, 1), (0, 1), (0, 1)]),
            row(&[(3, 1), (2, 1), (5, 1)]),
        ];
        let arrangement = Arrangement::new(&rows, 2).unwrap();
        let expected: Vec<Vec<BigInt>> = [[3, 2, 6], [3, 2, 5]]
            .iter()
            .map(|r| r.iter().map(|x| BigInt::from(*x)).collect())
            .collect();
        assert_eq!(arrangement.rows(), expected);
        assert_eq!(
            arrangement.hyperplanes_of_rows(),
            [Some(0), Some(0), None, Some(1)]
        );
    }

    #[test]
    fn a_shuffle_keeps_which_row_is_which_hyperplane() {
        let rows: Vec<Vec<Rational>> = (1..40).map(|k| row(&[(1 + k % 13, 1), (1, 1)])).collect();
        let given = Arrangement::new(&rows, 1).unwrap();
        let shuffled = given.clone().shuffled();
        assert_ne!(given.rows(), shuffled.rows());
        for (before, after) in given
            .hyperplanes_of_rows()
            .iter()
            .zip(shuffled.hyperplanes_of_rows())
        {
            let row = |a: &Arrangement, number: &Option<u32>| {
                number.map(|number| a.rows()[number as usize].clone())
            };
            assert_eq!(row(&given, before), row(&shuffled, after));
        }
    }

    #[test]
    fn floats_are_dyadic() {
        for (value, numerator, denominator) in [(0.75, 3, 4), (-6.0, -6, 1), (0.0, 0, 1)] {
            let expected = Rational::new(BigInt::from(numerator), BigInt::from(denominator));
            assert_eq!(dyadic(value), expected);
        }
        assert_eq!(
            dyadic(5e-324),
            Rational::new(1.into(), BigInt::from(1) << 1074u32)
        );
        assert_eq!(dyadic(f64::MAX).to_integer().bits(), 1024);
    }

    #[test]
    fn an_empty_hyperplane_is_named() {
        let rows = [row(&[(1, 1), (0, 1)]), row(&[(0, 1), (-7, 2)])];
        let error = Arrangement::new(&rows, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EmptyHyperplane);
        assert!(
            error.message().starts_with("row 1 reads 0·x = -7/2"),
            "{error}"
        );
        let error = Arrangement::new(&rows, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}
