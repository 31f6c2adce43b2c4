//! Coordinates in which the rows of the hyperplanes are short.
//!
//! The coordinates of the space do not change which hyperplanes meet, but they change the size of the
//! numbers. If an arrangement was moved, stretched or sheared, its entries are long for that reason alone.
//! A [`Frame`] undoes this before the search. Its map Q converts the vertices afterwards.
//!
//! **The linear part.** The rows of A generate a lattice in Z^d. Let S be a basis of this lattice. Then
//! A = A′·S with an integer matrix A′ whose rows generate Z^d. So the lattice of the columns of A′ is
//! saturated. A reduced basis of that lattice ([`reduced`]) makes the entries of A′ short.
//!
//! **The origin.** Multiples of the columns are added to b. This moves the origin and makes b short.
//!
//! **The way back.** Let y = S·x − z. Then a row a·x = b becomes a′·y = b − a′·z. The map Q takes
//! homogeneous coordinates in the frame to those of the space: \[A|−b\]·Q = D/g·\[A′|−b′\], where
//! D = det S > 0 and g is the content by which Q is divided. This is exact for every S and z. The
//! coordinates of a vertex in the frame are minors of d rows. Since det Q = ±D^d/g^(d+1), Q takes them to
//! the minors of the same rows in the space, divided by ±g. So a bound on minors bounds these coordinates
//! as well.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Signed, Zero};

use super::hyperplanes::Arrangement;
use crate::arrangement::lattices::reduced;
use crate::{Control, Result};

// Larger arrangements keep their coordinates, because the computation of a frame would take too long.
const MOST_DIMENSIONS: usize = 10;
const MOST_ENTRIES: usize = 1 << 13;
const MOST_BITS_AN_ENTRY: u64 = 192;

/// Hyperplanes in other coordinates.
#[derive(Clone, Debug)]
pub struct Frame {
    /// [a′|b′] of each hyperplane.
    pub rows: Vec<Vec<BigInt>>,
    /// Q, row by row. It takes homogeneous coordinates in the frame to those of the space. Its last row is
    /// 0 except for the last entry, which is positive. So Q maps infinity to infinity.
    pub map: Vec<Vec<BigInt>>,
}

impl Frame {
    /// The frame in which the rows of an arrangement are short. `None` if the normals do not span the
    /// space, or if the arrangement is too large.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub fn of(arrangement: &Arrangement, control: &Control) -> Result<Option<Self>> {
        let (dimension, rows) = (arrangement.dimension(), arrangement.rows());
        let long = |x: &BigInt| x.bits() > MOST_BITS_AN_ENTRY;
        if !(2..=MOST_DIMENSIONS).contains(&dimension)
            || rows.len() * dimension > MOST_ENTRIES
            || rows.iter().flatten().any(long)
        {
            return Ok(None);
        }
        let mut lattice = Lattice(vec![None; dimension]);
        for row in rows {
            control.check()?;
            lattice.insert(row[..dimension].to_vec());
        }
        let Some(basis) = lattice.0.into_iter().collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let coefficients: Vec<Vec<BigInt>> = rows
            .iter()
            .map(|row| {
                let mut found = coefficients(&basis, row[..dimension].to_vec());
                found.push(-&row[dimension]);
                found
            })
            .collect();
        let change = reduced(&gram(&coefficients), control)?;
        let rows = coefficients
            .iter()
            .map(|row| {
                let mut row: Vec<BigInt> = change.iter().map(|by| dot(by, row)).collect();
                row[dimension] = -&row[dimension];
                row
            })
            .collect();
        let map = scaled_inverse(&basis)
            .iter()
            .map(|row| change.iter().map(|by| dot(by, row)).collect())
            .collect();
        Ok(Some(Self {
            rows,
            map: without_content(map),
        }))
    }
}

/// A basis of a lattice in echelon form. The k-th vector, if there is one, begins with k zeros and a
/// positive number.
struct Lattice(Vec<Option<Vec<BigInt>>>);

impl Lattice {
    /// Add a generator, by Euclid's algorithm on leading numbers.
    fn insert(&mut self, mut row: Vec<BigInt>) {
        for lead in 0..row.len() {
            if row[lead].is_zero() {
                continue;
            }
            let Some(mut pivot) = self.0[lead].take() else {
                self.put(lead, row);
                return;
            };
            while !row[lead].is_zero() {
                let by = pivot[lead].div_floor(&row[lead]);
                subtract(&mut pivot, &by, &row);
                std::mem::swap(&mut pivot, &mut row);
            }
            self.put(lead, pivot);
            self.shorten(&mut row, lead + 1);
        }
    }

    fn put(&mut self, lead: usize, mut row: Vec<BigInt>) {
        if row[lead].is_negative() {
            row.iter_mut().for_each(|x| *x = -&*x);
        }
        self.shorten(&mut row, lead + 1);
        self.0[lead] = Some(row);
    }

    /// Reduce the entries from `first` on modulo the leading numbers of the basis vectors.
    fn shorten(&self, row: &mut [BigInt], first: usize) {
        for (k, pivot) in self.0.iter().enumerate().skip(first) {
            if let Some(pivot) = pivot {
                subtract(row, &row[k].div_floor(&pivot[k]), pivot);
            }
        }
    }
}

/// Subtract by·other from row.
fn subtract(row: &mut [BigInt], by: &BigInt, other: &[BigInt]) {
    if !by.is_zero() {
        row.iter_mut().zip(other).for_each(|(x, y)| *x -= by * y);
    }
}

/// The coefficients of a vector of the lattice in its basis in echelon form.
fn coefficients(basis: &[Vec<BigInt>], mut row: Vec<BigInt>) -> Vec<BigInt> {
    let mut found = Vec::with_capacity(row.len() + 1);
    for (lead, vector) in basis.iter().enumerate() {
        let by = &row[lead] / &vector[lead];
        subtract(&mut row, &by, vector);
        found.push(by);
    }
    debug_assert!(row.iter().all(Zero::is_zero));
    found
}

/// D·S⁻¹ with D = det S, and one more row and column for the last homogeneous coordinate.
fn scaled_inverse(basis: &[Vec<BigInt>]) -> Vec<Vec<BigInt>> {
    let size = basis.len();
    let determinant: BigInt = (0..size).map(|k| &basis[k][k]).product();
    let mut inverse = vec![vec![BigInt::zero(); size + 1]; size + 1];
    inverse[size][size].clone_from(&determinant);
    for i in (0..size).rev() {
        let (above, below) = inverse.split_at_mut(i + 1);
        let row = &mut above[i];
        row[i].clone_from(&determinant);
        for (by, other) in basis[i][i + 1..].iter().zip(below) {
            subtract(&mut row[..size], by, other);
        }
        row.iter_mut().for_each(|x| *x /= &basis[i][i]);
    }
    inverse
}

fn without_content(mut map: Vec<Vec<BigInt>>) -> Vec<Vec<BigInt>> {
    let content = map
        .iter()
        .flatten()
        .fold(BigInt::zero(), |gcd, x| gcd.gcd(x));
    map.iter_mut().flatten().for_each(|x| *x /= &content);
    map
}

fn dot(a: &[BigInt], b: &[BigInt]) -> BigInt {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The inner products of the columns.
fn gram(rows: &[Vec<BigInt>]) -> Vec<Vec<BigInt>> {
    let width = rows.first().map_or(0, Vec::len);
    let product = |i: usize, j: usize| rows.iter().map(|row| &row[i] * &row[j]).sum();
    (0..width)
        .map(|i| (0..width).map(|j| product(i, j)).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrangement::arithmetic::Rational;
    use proptest::prelude::*;

    fn arrangement(rows: &[Vec<i128>]) -> Arrangement {
        let rows: Vec<Vec<Rational>> = rows
            .iter()
            .map(|row| row.iter().map(|x| BigInt::from(*x).into()).collect())
            .collect();
        Arrangement::new(&rows, rows[0].len() - 1).unwrap()
    }

    fn framed(arrangement: &Arrangement) -> Option<Frame> {
        Frame::of(arrangement, &Control::new()).unwrap()
    }

    proptest! {
        /// [A|−b]·Q is a positive multiple of [A′|−b′].
        #[test]
        fn rows_are_those_of_the_space(
            (rows, map, shift) in (2usize..5).prop_flat_map(|d| (
                proptest::collection::vec(proptest::collection::vec(-9i128..10, d + 1), d..9),
                proptest::collection::vec(proptest::collection::vec(-99i128..100, d), d),
                proptest::collection::vec(-99i128..100, d),
            )),
        ) {
            let d = map.len();
            let moved: Vec<Vec<i128>> = rows
                .iter()
                .map(|row| {
                    let dot = |by: &dyn Fn(usize) -> i128| (0..d).map(|k| row[k] * by(k)).sum::<i128>();
                    let mut new: Vec<i128> = (0..d).map(|c| dot(&|k| map[k][c])).collect();
                    new.push(row[d] + dot(&|k| shift[k]));
                    new
                })
                .filter(|row| row[..d].iter().any(|x| *x != 0))
                .collect();
            prop_assume!(!moved.is_empty());
            let moved = arrangement(&moved);
            let Some(frame) = framed(&moved) else { return Ok(()); };
            let mut scale: Option<Rational> = None;
            for (old, new) in moved.rows().iter().zip(&frame.rows) {
                for c in 0..=d {
                    let sign = |k: usize, x: &BigInt| if k == d { -x } else { x.clone() };
                    let value: BigInt = (0..=d).map(|k| sign(k, &old[k]) * &frame.map[k][c]).sum();
                    let new = sign(c, &new[c]);
                    prop_assert_eq!(value.is_zero(), new.is_zero());
                    if !new.is_zero() {
                        let ratio = Rational::new(value, new);
                        prop_assert!(ratio.is_positive());
                        prop_assert_eq!(scale.get_or_insert_with(|| ratio.clone()), &ratio);
                    }
                }
            }
            let last = &frame.map[d];
            prop_assert!(last[..d].iter().all(Zero::is_zero) && last[d].is_positive());
        }
    }

    #[test]
    fn long_entries_become_short_again() {
        let rows: Vec<Vec<i128>> = vec![
            vec![1, 0, 0, 1],
            vec![0, 1, 0, -2],
            vec![0, 0, 1, 3],
            vec![1, 1, 0, 1],
            vec![1, -1, 1, 5],
        ];
        let map = [
            [982_451_653i128, 12, 57_885_161],
            [7, 433_494_437, 1],
            [31, 2_971_215_073, 11],
        ];
        let shift = [1_234_567_891i128, -987_654_321, 5];
        let moved: Vec<Vec<i128>> = rows
            .iter()
            .map(|row| {
                let mut new: Vec<i128> = (0..3)
                    .map(|c| (0..3).map(|k| row[k] * map[k][c]).sum())
                    .collect();
                new.push(row[3] + (0..3).map(|c| new[c] * shift[c]).sum::<i128>());
                new
            })
            .collect();
        let frame = framed(&arrangement(&moved)).unwrap();
        assert!(
            frame.rows.iter().flatten().all(|x| x.abs() < 20.into()),
            "{:?}",
            frame.rows
        );
    }

    #[test]
    fn normals_that_do_not_span_have_none() {
        assert!(framed(&arrangement(&[vec![1, 2, 0], vec![2, 4, 1]])).is_none());
    }
}
