//! From rational rows to the distinct hyperplanes that they are.

use std::collections::HashSet;

use super::field::Rational;
use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, Zero};

use crate::{Error, ErrorKind, Result};

/// The distinct hyperplanes of an arrangement, in the order in which they were first given.
#[derive(Clone, Debug)]
pub struct Arrangement {
    dimension: usize,
    /// [a|b] with coprime integer entries, the first that is not 0 positive; no a is 0.
    rows: Vec<Vec<BigInt>>,
}

impl Arrangement {
    /// The arrangement of the hyperplanes a·x = b, where each row is a followed by b.
    ///
    /// Multiples of a row are the same hyperplane and are kept once. A row 0·x = 0 holds
    /// everywhere, bounds nothing, and is left out.
    ///
    /// # Errors
    /// [`ErrorKind::EmptyHyperplane`] for a row 0·x = c, c ≠ 0; [`ErrorKind::InvalidArgument`] for
    /// a row that does not have `dimension` + 1 entries. Both name the row.
    pub fn new(rows: &[Vec<Rational>], dimension: usize) -> Result<Self> {
        let mut distinct = Vec::new();
        let mut seen = HashSet::new();
        for (index, row) in rows.iter().enumerate() {
            if row.len() != dimension + 1 {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!(
                        "row {index} has {} entries: {dimension} coefficients and a right-hand side are accepted",
                        row.len()
                    ),
                ));
            }
            let row = primitive(row);
            if row[..dimension].iter().all(Zero::is_zero) {
                if row[dimension].is_zero() {
                    continue;
                }
                return Err(Error::new(
                    ErrorKind::EmptyHyperplane,
                    format!(
                        "row {index} reads 0·x = {}: no point satisfies it",
                        rows[index][dimension]
                    ),
                ));
            }
            if seen.insert(row.clone()) {
                distinct.push(row);
            }
        }
        Ok(Self {
            dimension,
            rows: distinct,
        })
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

/// The multiple of a row with coprime integer entries and a positive first one.
fn primitive(row: &[Rational]) -> Vec<BigInt> {
    let denominator = row.iter().fold(BigInt::one(), |lcm, x| lcm.lcm(x.denom()));
    let mut integers: Vec<BigInt> = row
        .iter()
        .map(|x| x.numer() * (&denominator / x.denom()))
        .collect();
    let mut divisor = integers.iter().fold(BigInt::zero(), |gcd, x| gcd.gcd(x));
    if integers
        .iter()
        .find(|x| !x.is_zero())
        .is_some_and(Signed::is_negative)
    {
        divisor = -divisor;
    }
    if !divisor.is_zero() {
        integers.iter_mut().for_each(|x| *x /= &divisor);
    }
    integers
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
