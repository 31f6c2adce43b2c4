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
use num_traits::{One, Signed, Zero};

use super::cut::Lift;
use crate::arrangement::arithmetic::{Field, Mersenne61, content, echelon};
use crate::arrangement::input::Arrangement;
use crate::{Control, Result};

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
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub(super) fn new(arrangement: &Arrangement, basis: &[u32], control: &Control) -> Result<Self> {
        let dimension = arrangement.dimension();
        let rows = arrangement.rows();
        let chosen = basis.iter().map(|number| &rows[*number as usize]);
        let solved = Echelon::of(chosen, dimension, control)?;
        let free: Vec<usize> = (0..dimension)
            .filter(|column| !solved.columns.contains(column))
            .collect();
        let divisor = &solved.divisor;
        let mut lift = vec![vec![BigInt::zero(); free.len() + 1]; dimension];
        for (at, column) in free.iter().enumerate() {
            lift[*column][at] = divisor.clone();
        }
        for (pivot, row) in solved.columns.iter().zip(&solved.rows) {
            for (at, column) in free.iter().enumerate() {
                lift[*pivot][at] = -&row[*column];
            }
            lift[*pivot][free.len()] = row[dimension].clone();
        }
        let common = content(lift.iter().flatten().chain([divisor]));
        let divisor = divisor / &common;
        lift.iter_mut().flatten().for_each(|x| *x /= &common);
        // a·x − b on the flat, times the divisor.
        let on_flat = |row: &Vec<BigInt>| -> Result<Vec<BigInt>> {
            control.check()?;
            let value = |at: usize| -> BigInt {
                let terms = row[..dimension].iter().zip(&lift);
                terms.map(|(a, x)| a * &x[at]).sum()
            };
            let side = &row[dimension] * &divisor - value(free.len());
            Ok((0..free.len()).map(value).chain([side]).collect())
        };
        let mut rows = if basis.is_empty() {
            rows.to_vec()
        } else {
            rows.iter().map(on_flat).collect::<Result<Vec<_>>>()?
        };
        rows.retain(|row| row.iter().any(|x| !x.is_zero()));
        let columns = independent_columns(&rows, free.len(), control)?;
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

/// The reduced echelon form of rows [a|b], times a common divisor. Dependent rows are left out.
///
/// By fraction-free Gauss–Jordan elimination. Every number is a minor, and every division is one without a
/// remainder (E. H. Bareiss, 1968).
struct Echelon {
    /// In its own column a row has the divisor, and in those of the others 0.
    rows: Vec<Vec<BigInt>>,
    columns: Vec<usize>,
    /// Positive.
    divisor: BigInt,
}

impl Echelon {
    fn of<'a>(
        rows: impl Iterator<Item = &'a Vec<BigInt>>,
        dimension: usize,
        control: &Control,
    ) -> Result<Self> {
        let mut echelon = Self {
            rows: Vec::new(),
            columns: Vec::new(),
            divisor: BigInt::one(),
        };
        for row in rows {
            if echelon.columns.len() == dimension {
                break;
            }
            echelon.add(row, dimension, control)?;
        }
        Ok(echelon)
    }

    fn add(&mut self, row: &[BigInt], dimension: usize, control: &Control) -> Result<()> {
        let mut left: Vec<BigInt> = row.iter().map(|x| x * &self.divisor).collect();
        for (column, other) in self.columns.iter().zip(&self.rows) {
            control.check()?;
            let factor = &row[*column];
            if !factor.is_zero() {
                left.iter_mut()
                    .zip(other)
                    .for_each(|(x, y)| *x -= factor * y);
            }
        }
        let Some(column) = left[..dimension].iter().position(|x| !x.is_zero()) else {
            return Ok(());
        };
        if left[column].is_negative() {
            left.iter_mut().for_each(|x| *x = -&*x);
        }
        for other in &mut self.rows {
            let factor = other[column].clone();
            for (x, y) in other.iter_mut().zip(&left) {
                control.check()?;
                *x = (&*x * &left[column] - &factor * y) / &self.divisor;
            }
        }
        self.divisor = left[column].clone();
        self.rows.push(left);
        self.columns.push(column);
        Ok(())
    }
}

/// A largest set of independent columns of the normals of rows [a|b].
fn independent_columns(
    rows: &[Vec<BigInt>],
    dimension: usize,
    control: &Control,
) -> Result<Vec<usize>> {
    // Columns that are independent modulo a prime are independent.
    let residues = rows.iter().map(|row| {
        let row = row[..dimension].iter().map(Mersenne61::from_integer);
        row.collect::<Vec<_>>()
    });
    if dimension > 0 && echelon(residues, dimension, control)?.len() == dimension {
        return Ok((0..dimension).collect());
    }
    let mut columns = Echelon::of(rows.iter(), dimension, control)?.columns;
    columns.sort_unstable();
    Ok(columns)
}
