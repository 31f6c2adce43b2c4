//! The last two levels in numbers of two words; see [`plane`](super::plane).
//!
//! The place where a row meets a line is told by its parameter modulo 2⁶¹ − 1, which takes one
//! batch inversion a line. Equal places have equal parameters; rows with equal ones are compared by
//! their determinant with the line, an integer of six words. Where two rows are different but
//! agree modulo the prime, so that they have no parameter on each other, the plane is left to a
//! wider arithmetic.

use super::field::{Field, invert_all, lowest_terms};
use super::limbs::{Limbs, product};
use super::mersenne::Mersenne61;
use super::plane::{Lines, Seen};
use super::restriction::Restriction;

/// The key of the point at which the parameter is infinite.
const AT_INFINITY: u64 = u64::MAX;

/// Rows of a plane modulo the prime, scaled to a leading 1, infinity's last.
#[derive(Debug, Default)]
pub struct WidePlane {
    rows: Vec<[Mersenne61; 3]>,
    /// Values of each row at two vectors that span the present line.
    alpha: Vec<Mersenne61>,
    beta: Vec<Mersenne61>,
    products: Vec<Mersenne61>,
    /// Where each row meets the line.
    keys: Vec<u64>,
    line: usize,
    seen: Seen,
    found: Vec<u32>,
}

impl Lines<i128> for WidePlane {
    fn load(&mut self, plane: &Restriction<i128>) -> bool {
        self.rows.clear();
        self.alpha.clear();
        for row in plane.rows.chunks_exact(3) {
            let row: [Mersenne61; 3] = std::array::from_fn(|k| Mersenne61::of(row[k]));
            let Some(lead) = row.iter().find(|x| !x.is_zero()) else {
                return false;
            };
            self.alpha.push(*lead);
            self.rows.push(row);
        }
        invert_all(&mut self.alpha, &mut self.products);
        for (row, inverse) in self.rows.iter_mut().zip(&self.alpha) {
            *row = row.map(|x| x.times(inverse));
        }
        true
    }

    fn meet(&mut self, plane: &Restriction<i128>, at: usize, from: u32, to: u32) -> Option<()> {
        self.found.clear();
        self.line = at;
        self.place(at)?;
        let count = plane.numbers.len();
        let mut seen = self.seen.clear(count + 1);
        let keys = &self.keys;
        let mut first = |row: usize| {
            seen.first(row, keys[row], |other| {
                keys[other] == keys[row]
                    && concurrent(plane.row(at), plane.row(row), plane.row(other))
            })
        };
        for row in (at + 1..=count).rev() {
            first(row);
        }
        let wanted = plane.between(from, to);
        for row in (0..at).rev() {
            if first(row) && wanted.contains(&row) {
                self.found.push(row as u32);
            }
        }
        self.found.reverse();
        Some(())
    }

    fn found(&self) -> &[u32] {
        &self.found
    }

    fn push(&mut self, plane: &Restriction<i128>, count: usize, limbs: usize, out: &mut Vec<u64>) {
        let width = plane.lattice.len() / 3;
        for &row in &self.found[..count] {
            let point = cross(plane.row(self.line), plane.row(row as usize)).map(|x| x.resized());
            let coordinate = |c: usize, negative: bool| {
                let terms = point.iter().zip(plane.lattice.chunks_exact(width));
                let value = terms.fold(Limbs::<6>::ZERO, |sum, (x, basis)| {
                    sum.plus(&x.times(&Limbs::from_i128(basis[c])))
                });
                if negative { value.negated() } else { value }
            };
            let negative = coordinate(width - 1, false).is_negative();
            for c in 0..width {
                let value = coordinate(c, negative);
                out.extend_from_slice(&value.0[..limbs.min(6)]);
                let sign = if value.is_negative() { u64::MAX } else { 0 };
                out.extend(std::iter::repeat_n(sign, limbs.saturating_sub(6)));
            }
            if limbs == 1 {
                // Coordinates of one word are in lowest terms from the start; others wait until they
                // are looked at.
                let start = out.len() - width;
                let mut minors: Vec<i64> = out[start..].iter().map(|x| *x as i64).collect();
                lowest_terms(&mut minors);
                out.truncate(start);
                out.extend(minors.into_iter().map(|x| x as u64));
            }
        }
    }
}

impl WidePlane {
    /// The keys of all rows on a line; `None` where a row is the line modulo the prime.
    fn place(&mut self, at: usize) -> Option<()> {
        let line = self.rows[at];
        let lead = line.iter().position(|x| !x.is_zero())?;
        let (first, second) = [(1, 2), (0, 2), (0, 1)][lead];
        self.alpha.clear();
        self.beta.clear();
        self.keys.clear();
        for (other, row) in self.rows.iter().enumerate() {
            let by = &row[lead];
            let alpha = row[first].minus_product(by, &line[first]);
            let beta = row[second].minus_product(by, &line[second]);
            let infinite = alpha.is_zero();
            if infinite && beta.is_zero() && other != at {
                return None;
            }
            self.keys.push(if infinite { AT_INFINITY } else { 0 });
            self.alpha.push(if infinite { Field::one() } else { alpha });
            self.beta.push(beta);
        }
        invert_all(&mut self.alpha, &mut self.products);
        for (key, (alpha, beta)) in self.keys.iter_mut().zip(self.alpha.iter().zip(&self.beta)) {
            if *key != AT_INFINITY {
                *key = beta.times(alpha).value();
            }
        }
        Some(())
    }
}

/// The point of the plane in which two lines meet, in homogeneous coordinates.
fn cross(a: &[i128], b: &[i128]) -> [Limbs<4>; 3] {
    [(1, 2), (2, 0), (0, 1)].map(|(i, j)| product(a[i], b[j]).minus(&product(a[j], b[i])))
}

/// Whether three lines of a plane share a point.
fn concurrent(a: &[i128], b: &[i128], c: &[i128]) -> bool {
    let point = cross(a, b);
    let terms = point.iter().zip(c);
    let sum = terms.fold(Limbs::<6>::ZERO, |sum, (x, y)| {
        sum.plus(&x.resized().times(&Limbs::from_i128(*y)))
    });
    sum == Limbs::ZERO
}

#[cfg(test)]
mod tests {
    use super::super::field::Rational;
    use super::super::input::Arrangement;
    use super::super::restriction::Matrix;
    use super::*;
    use num_bigint::BigInt;

    /// Lines that are one modulo the prime have no parameter on each other.
    #[test]
    fn lines_that_agree_modulo_the_prime_are_left_to_wider_numbers() {
        let p = BigInt::from(Mersenne61::PRIME);
        let n = |x: i64| BigInt::from(x);
        let rows = [[n(1), n(0), n(0)], [n(1), p.clone(), p], [n(0), n(1), n(7)]];
        let rows = rows.map(|row| row.map(Rational::from_integer).to_vec());
        let arrangement = Arrangement::new(&rows, 2).unwrap();
        let whole = Restriction::<i128>::whole(&Matrix::new(&arrangement, false).unwrap());
        let mut plane = WidePlane::default();
        assert!(plane.load(&whole));
        assert!(plane.meet(&whole, 0, 0, u32::MAX).is_none());
        assert!(plane.meet(&whole, 2, 0, u32::MAX).is_some());
    }
}
