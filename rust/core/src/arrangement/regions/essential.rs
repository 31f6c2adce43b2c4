//! Arrangements whose normals do not span the space.
//!
//! If the normals have rank r < d, every region is a product of a region in R^r and a space of dimension
//! d − r. Choose r columns of A that are independent, and set the other coordinates to 0: the subspace of
//! the chosen coordinates meets every region in one region of the arrangement that is cut out of it,
//! because the space on which all normals vanish is a complement of it.

use num_bigint::BigInt;
use num_traits::Zero;

use crate::arrangement::arithmetic::Rational;

/// Columns of these rows, as many as possible, that are independent.
///
/// Time O(n·d·r) operations on fractions for n rows of rank r.
pub(super) fn independent_columns(rows: &[Vec<BigInt>], dimension: usize) -> Vec<usize> {
    let mut basis: Vec<(usize, Vec<Rational>)> = Vec::new();
    for row in rows {
        if basis.len() == dimension {
            break;
        }
        let mut left: Vec<Rational> = row[..dimension]
            .iter()
            .cloned()
            .map(Rational::from)
            .collect();
        for (column, pivot) in &basis {
            if !left[*column].is_zero() {
                let factor = left[*column].clone();
                left.iter_mut()
                    .zip(pivot)
                    .for_each(|(x, y)| *x -= &factor * y);
            }
        }
        if let Some(column) = left.iter().position(|x| !x.is_zero()) {
            let lead = left[column].clone();
            left.iter_mut().for_each(|x| *x /= &lead);
            basis.push((column, left));
        }
    }
    let mut columns: Vec<usize> = basis.into_iter().map(|(column, _)| column).collect();
    columns.sort_unstable();
    columns
}
