//! The arrangement that hyperplanes cut out of a hyperplane, and the map back to the coordinates of the
//! space.

use num_bigint::BigInt;

use crate::arrangement::arithmetic::exact::reduce;
use crate::{Control, Result};

/// An affine map from the coordinates of a level to those of the space.
#[derive(Clone, Debug)]
pub(super) struct Lift {
    /// For each coordinate of the space its coefficients and then its constant, times `divisor`.
    pub rows: Vec<Vec<BigInt>>,
    /// The common denominator of all rows, which is positive.
    pub divisor: BigInt,
}

/// The rows of hyperplanes [a|b] on the hyperplane f = value. The first coordinate, which has the coefficient
/// 1 in f, is eliminated.
///
/// # Errors
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
pub(super) fn cut(
    rows: &[Vec<BigInt>],
    function: &[BigInt],
    value: &BigInt,
    control: &Control,
) -> Result<Vec<Vec<BigInt>>> {
    let on = |row: &Vec<BigInt>| {
        control.check()?;
        let (Some((first, rest)), true) = (row.split_first(), row.len() > 1) else {
            return Ok(Vec::new());
        };
        let (side, coefficients) = (&rest[rest.len() - 1], &rest[..rest.len() - 1]);
        let changed = coefficients.iter().zip(function.iter().skip(1));
        let changed = changed.map(|(x, f)| x - first * f);
        let mut row: Vec<BigInt> = changed.chain([side - first * value]).collect();
        reduce(&mut row);
        Ok(row)
    };
    rows.iter().map(on).collect()
}
