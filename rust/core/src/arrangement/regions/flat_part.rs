//! The arrangement that the other hyperplanes cut out of a flat, in coordinates in which its normals span
//! the space.
//!
//! **Coordinates on the flat.** The equations of a basis of the flat are solved for as many coordinates as
//! there are equations. The other coordinates are those on the flat.
//!
//! **Normals that do not span the flat.** Let the normals on the flat have rank r, below its dimension.
//! Then every region is the product of a region in R^r and a linear space. Choose r coordinates whose columns
//! are independent, and set the others to 0. The space of these points is a complement of the space on which
//! all normals vanish. So it meets every region in one region of the arrangement that is cut out there.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Zero};

use super::cut::Lift;
use crate::Result;
use crate::arrangement::arithmetic::Rational;
use crate::arrangement::input::Arrangement;

/// The arrangement that another one cuts out of a flat.
#[derive(Debug)]
pub(super) struct FlatPart {
    /// The number of coordinates, which is the rank of the normals.
    pub dimension: usize,
    /// The hyperplanes [a|b] that do not contain the flat.
    pub rows: Vec<Vec<BigInt>>,
    /// The map back to the coordinates of the space.
    pub lift: Lift,
    /// Whether the normals span the flat. Only then it can have bounded faces.
    pub spanning: bool,
}

impl FlatPart {
    /// The flat in which the hyperplanes of `basis` meet. Their normals are independent.
    pub(super) fn new(arrangement: &Arrangement, basis: &[u32]) -> Result<Self> {
        let dimension = arrangement.dimension();
        let rows = arrangement.rows();
        let chosen = basis.iter().map(|number| &rows[*number as usize]);
        let solved = reduced(chosen, dimension);
        let free: Vec<usize> = (0..dimension)
            .filter(|column| solved.iter().all(|(pivot, _)| pivot != column))
            .collect();
        let divisor = solved
            .iter()
            .flat_map(|(_, row)| row)
            .fold(BigInt::one(), |lcm, x| lcm.lcm(x.denom()));
        let scaled = |x: &Rational| x.numer() * (&divisor / x.denom());
        let mut lift = vec![vec![BigInt::zero(); free.len() + 1]; dimension];
        for (at, column) in free.iter().enumerate() {
            lift[*column][at] = divisor.clone();
        }
        for (pivot, row) in &solved {
            for (at, column) in free.iter().enumerate() {
                lift[*pivot][at] = -scaled(&row[*column]);
            }
            lift[*pivot][free.len()] = scaled(&row[dimension]);
        }
        // a·x − b on the flat, times the divisor.
        let on_flat = |row: &Vec<BigInt>| -> Vec<BigInt> {
            let value = |at: usize| -> BigInt {
                row[..dimension]
                    .iter()
                    .zip(&lift)
                    .map(|(a, x)| a * &x[at])
                    .sum()
            };
            let side = &row[dimension] * &divisor - value(free.len());
            (0..free.len()).map(value).chain([side]).collect()
        };
        let mut rows: Vec<Vec<BigInt>> = rows.iter().map(on_flat).collect();
        rows.retain(|row| row.iter().any(|x| !x.is_zero()));
        let columns = independent_columns(&rows, free.len());
        let spanning = columns.len() == free.len();
        for row in rows.iter_mut().chain(&mut lift) {
            let last = free.len();
            let kept = columns.iter().chain([&last]);
            *row = kept.map(|column| row[*column].clone()).collect();
        }
        Ok(Self {
            dimension: columns.len(),
            rows,
            lift: Lift {
                rows: lift,
                divisor,
            },
            spanning,
        })
    }
}

/// The reduced echelon form of rows [a|b], each row with the column of its pivot. Dependent rows are left
/// out.
fn reduced<'a>(
    rows: impl Iterator<Item = &'a Vec<BigInt>>,
    dimension: usize,
) -> Vec<(usize, Vec<Rational>)> {
    let mut basis: Vec<(usize, Vec<Rational>)> = Vec::new();
    for row in rows {
        if basis.len() == dimension {
            break;
        }
        let mut left: Vec<Rational> = row.iter().cloned().map(Rational::from).collect();
        for (column, pivot) in &basis {
            subtract(&mut left, *column, pivot);
        }
        let Some(column) = left[..dimension].iter().position(|x| !x.is_zero()) else {
            continue;
        };
        let lead = left[column].clone();
        left.iter_mut().for_each(|x| *x /= &lead);
        for (_, other) in &mut basis {
            subtract(other, column, &left);
        }
        basis.push((column, left));
    }
    basis
}

/// Make the entry in this column 0, by a pivot row that has 1 there.
fn subtract(row: &mut [Rational], column: usize, pivot: &[Rational]) {
    if row[column].is_zero() {
        return;
    }
    let factor = row[column].clone();
    row.iter_mut()
        .zip(pivot)
        .for_each(|(x, y)| *x -= &factor * y);
}

/// A largest set of independent columns of the normals of rows [a|b].
///
/// This takes O(n·d·r) operations on fractions for n rows of rank r.
fn independent_columns(rows: &[Vec<BigInt>], dimension: usize) -> Vec<usize> {
    let mut columns: Vec<usize> = reduced(rows.iter(), dimension)
        .into_iter()
        .map(|(column, _)| column)
        .collect();
    columns.sort_unstable();
    columns
}
