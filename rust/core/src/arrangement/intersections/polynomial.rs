//! The characteristic polynomial of an arrangement, and the numbers of regions that follow from it.
//!
//! χ(t) = Σ μ(F)·t^dim F over all flats F. Zaslavsky's theorem (*Facing up to Arrangements*, 1975): an
//! arrangement in R^d has (−1)^d·χ(−1) regions, of which |χ(1)| are bounded if its normals span the
//! space. Since μ(F) has the sign (−1)^codim F, the number of regions is the sum of all |μ(F)|.

use num_bigint::{BigInt, BigUint};
use num_traits::{One, Zero};
use rayon::prelude::*;

use super::lattice::{Flat, Path, Visitor, counts, in_cheapest_field, next_level, top};
use super::restriction::Restriction;
use crate::arrangement::arithmetic::Field;
use crate::arrangement::input::Arrangement;
use crate::{Control, Result};

/// The number of flats that a thread takes at a time.
const CHUNK: usize = 256;

/// The coefficients of the characteristic polynomial. That of t^k stands at place k.
///
/// The flats of the lowest dimension are not stored, so the memory is that of the flats of one dimension
/// more. Time O(n·(d + log n)) for each of those.
///
/// # Errors
/// As [`Lattice::new`](super::Lattice::new).
pub fn characteristic_polynomial(
    arrangement: &Arrangement,
    control: &Control,
) -> Result<Vec<BigInt>> {
    let mut sums = Sums(Vec::new());
    in_cheapest_field(arrangement, &mut sums, control)?;
    let mut coefficients = vec![BigInt::zero(); arrangement.dimension() + 1];
    for (codimension, sum) in sums.0.into_iter().enumerate() {
        let sum = BigInt::from(sum);
        let sign = codimension % 2 == 1;
        coefficients[arrangement.dimension() - codimension] = if sign { -sum } else { sum };
    }
    Ok(coefficients)
}

/// The number of regions, or of bounded regions.
///
/// # Errors
/// As [`characteristic_polynomial`].
pub fn count_regions(
    arrangement: &Arrangement,
    bounded: bool,
    control: &Control,
) -> Result<BigInt> {
    let polynomial = characteristic_polynomial(arrangement, control)?;
    if !bounded {
        return Ok(polynomial
            .iter()
            .map(|x| BigInt::from(x.magnitude().clone()))
            .sum());
    }
    // If there is no vertex, every region contains a line, so none is bounded.
    if polynomial[0].is_zero() {
        return Ok(BigInt::zero());
    }
    let sum: BigInt = polynomial.iter().sum();
    Ok(sum.magnitude().clone().into())
}

/// The sums of |μ(F)| over the flats of codimension 0, 1, ….
struct Sums(Vec<BigUint>);

impl Visitor for Sums {
    fn visit<F: Field>(&mut self, whole: Restriction<F>, control: &Control) -> Result<()> {
        let rank = rank(&whole, control)?;
        let mut level = top(&whole);
        self.0.push(BigUint::one());
        for codimension in 1..=rank {
            if codimension == rank {
                self.0.push(last(&whole, &level, control)?);
                break;
            }
            level = next_level(&whole, &level, control)?;
            self.0
                .push(level.iter().map(|flat| BigUint::from(flat.mobius)).sum());
        }
        Ok(())
    }
}

/// The rank of the normals.
fn rank<F: Field>(whole: &Restriction<F>, control: &Control) -> Result<usize> {
    let mut path = Path::new(whole);
    let mut basis = Vec::new();
    // Any class of hyperplanes that cuts the flat of a basis extends the basis.
    while let Some(first) = path.go_to(&basis, control)?.first().first() {
        basis.push(*first);
    }
    Ok(basis.len())
}

/// The sum of the Möbius values of the next level, without storing its flats.
fn last<F: Field>(whole: &Restriction<F>, level: &[Flat], control: &Control) -> Result<BigUint> {
    let parts = level
        .par_chunks(CHUNK)
        .map(|flats| {
            let mut path = Path::new(whole);
            let mut sum = BigUint::zero();
            for flat in flats {
                control.check()?;
                let classes = path.go_to(&flat.basis, control)?;
                let added = classes.first().iter().filter(|first| counts(flat, **first));
                sum += BigUint::from(flat.mobius) * added.count();
            }
            Ok(sum)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(parts.into_iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrangement::arithmetic::Rational;
    use proptest::prelude::*;

    fn arrangement(rows: &[Vec<i64>], dimension: usize) -> Arrangement {
        let rows: Vec<Vec<Rational>> = rows
            .iter()
            .map(|row| {
                row.iter()
                    .map(|x| Rational::from_integer((*x).into()))
                    .collect()
            })
            .collect();
        Arrangement::new(&rows, dimension).unwrap()
    }

    fn polynomial(rows: &[Vec<i64>], dimension: usize) -> Vec<i64> {
        let found = characteristic_polynomial(&arrangement(rows, dimension), &Control::new());
        let found = found.unwrap();
        found.iter().map(|x| i64::try_from(x).unwrap()).collect()
    }

    /// x_i − x_j = c for i < j and each of the shifts.
    fn deformations(dimension: usize, shifts: &[i64]) -> Vec<Vec<i64>> {
        let mut rows = Vec::new();
        for i in 0..dimension {
            for j in i + 1..dimension {
                for c in shifts {
                    let mut row = vec![0; dimension + 1];
                    (row[i], row[j], row[dimension]) = (1, -1, *c);
                    rows.push(row);
                }
            }
        }
        rows
    }

    /// The product of t − r over the roots.
    fn with_roots(roots: &[i64]) -> Vec<i64> {
        roots.iter().fold(vec![1], |p, root| {
            let mut product = vec![0; p.len() + 1];
            for (k, x) in p.iter().enumerate() {
                product[k + 1] += x;
                product[k] -= root * x;
            }
            product
        })
    }

    #[test]
    fn published_polynomials() {
        // Braid: t(t−1)…(t−n+1). Shi: t(t−n)^(n−1). Catalan: t(t−n−1)…(t−2n+1). Stanley, *An
        // Introduction to Hyperplane Arrangements*, lecture 5.
        assert_eq!(
            polynomial(&deformations(5, &[0]), 5),
            with_roots(&[0, 1, 2, 3, 4])
        );
        assert_eq!(
            polynomial(&deformations(4, &[0, 1]), 4),
            with_roots(&[0, 4, 4, 4])
        );
        assert_eq!(
            polynomial(&deformations(4, &[-1, 0, 1]), 4),
            with_roots(&[0, 5, 6, 7])
        );
        // Linial: 1, 2, 7, 36, 246 regions. Semiorder: 1, 3, 19, 183.
        let regions = |rows: &[Vec<i64>], d| {
            count_regions(&arrangement(rows, d), false, &Control::new()).unwrap()
        };
        let linial = [2, 3, 4].map(|d| regions(&deformations(d, &[1]), d));
        assert_eq!(linial, [2.into(), 7.into(), 36.into()]);
        let semiorder = [2, 3, 4].map(|d| regions(&deformations(d, &[-1, 1]), d));
        assert_eq!(semiorder, [3.into(), 19.into(), 183.into()]);
    }

    #[test]
    fn the_smallest_arrangements() {
        assert_eq!(polynomial(&[], 0), [1]);
        assert_eq!(polynomial(&[], 3), [0, 0, 0, 1]);
        assert_eq!(polynomial(&[vec![2, 3]], 1), [-1, 1]);
        assert_eq!(polynomial(&[vec![1, 0, 0], vec![1, 0, 5]], 2), [0, -2, 1]);
        let bounded = |rows: &[Vec<i64>], d| {
            count_regions(&arrangement(rows, d), true, &Control::new()).unwrap()
        };
        assert_eq!(bounded(&[], 0), 1.into());
        assert_eq!(bounded(&[vec![1, 0, 0], vec![1, 0, 5]], 2), 0.into());
        assert_eq!(
            bounded(&[vec![1, 0, 0], vec![0, 1, 0], vec![1, 1, 1]], 2),
            1.into()
        );
    }

    /// The slow, plain version, by deletion and restriction in fractions: χ(A) = χ(A − H) − χ(A on H).
    fn plain(rows: &[Vec<Rational>], dimension: usize) -> Vec<i64> {
        let mut distinct: Vec<Vec<Rational>> = Vec::new();
        for row in rows {
            let Some(lead) = row[..dimension].iter().find(|x| !Zero::is_zero(*x)) else {
                // A row 0 = 0 would be the flat itself; deletion never makes one. A row 0 = c misses it.
                continue;
            };
            let row = row.iter().map(|x| x / lead).collect();
            if !distinct.contains(&row) {
                distinct.push(row);
            }
        }
        let Some(last) = distinct.pop() else {
            let mut power = vec![0; dimension + 1];
            power[dimension] = 1;
            return power;
        };
        let column = last.iter().position(|x| !Zero::is_zero(x)).unwrap();
        let on: Vec<Vec<Rational>> = distinct
            .iter()
            .map(|row| {
                let terms = row.iter().zip(&last).enumerate();
                let terms = terms.filter(|(at, _)| *at != column);
                terms.map(|(_, (x, y))| x - &row[column] * y).collect()
            })
            .collect();
        let mut sum = plain(&distinct, dimension);
        let restricted = plain(&on, dimension - 1);
        sum.iter_mut().zip(restricted).for_each(|(x, y)| *x -= y);
        sum
    }

    proptest! {
        #[test]
        fn equals_deletion_and_restriction(
            dimension in 1usize..5,
            entries in proptest::collection::vec(-2i64..3, 0..40),
        ) {
            let rows: Vec<Vec<i64>> = entries
                .chunks_exact(dimension + 1)
                .filter(|row| row[..dimension].iter().any(|x| *x != 0))
                .map(<[i64]>::to_vec)
                .collect();
            let fractions: Vec<Vec<Rational>> = rows
                .iter()
                .map(|row| row.iter().map(|x| Rational::from_integer((*x).into())).collect())
                .collect();
            prop_assert_eq!(polynomial(&rows, dimension), plain(&fractions, dimension));
        }
    }
}
