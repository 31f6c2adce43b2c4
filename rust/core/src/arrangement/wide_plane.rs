//! The last two levels in numbers of two words; see [`plane`](super::plane).
//!
//! The place where a row meets a line is told by a slope modulo a prime ([`slopes`](super::slopes)).
//! Equal places have equal slopes; rows with equal ones are compared by their determinant with the
//! line, an integer of six words. Where two rows are different but agree modulo the prime, so that
//! they have no slope on each other, the plane is left to a wider arithmetic.
//!
//! With E₀, E₁, E₂ the basis of the plane in space, the vertex of ℓ and c is Σ (ℓ × c)ₖ·Eₖ. For one line
//! that is Σ cₖ·Kₖ with three points K, made once a line.

use super::field::lowest_terms;
use super::limbs::{Limbs, product};
use super::plane::{Lines, Seen};
use super::restriction::Restriction;
use super::slopes::Slopes;
use super::space::Space;
use super::span::Span;
use crate::SimdLevel;

/// Rows of a plane of wide numbers, infinity's last.
#[derive(Debug)]
pub struct WidePlane {
    slopes: Slopes,
    line: usize,
    seen: Seen,
    found: Vec<u32>,
    /// E and K, and whether the first is of this plane.
    basis_points: Span,
    line_points: Span,
    placed: bool,
    coefficients: Vec<[i128; 3]>,
}

impl Lines<i128> for WidePlane {
    fn new(simd: SimdLevel) -> Self {
        Self {
            slopes: Slopes::new(simd),
            line: 0,
            seen: Seen::default(),
            found: Vec::new(),
            basis_points: Span::new(simd),
            line_points: Span::new(simd),
            placed: false,
            coefficients: Vec::new(),
        }
    }

    fn load(&mut self, plane: &Restriction<i128>) -> bool {
        self.placed = false;
        self.slopes.load(&plane.rows)
    }

    fn meet(&mut self, plane: &Restriction<i128>, at: usize, from: u32, to: u32) -> Option<()> {
        self.found.clear();
        self.line = at;
        let keys = self.slopes.on_line(at)?;
        let count = plane.numbers.len();
        let mut seen = self.seen.clear(count + 1);
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

    fn push(&mut self, plane: &Restriction<i128>, space: &Space, count: usize, out: &mut Vec<u64>) {
        if !self.placed {
            space.place(plane.lattice.iter().copied(), &mut self.basis_points);
            self.placed = true;
        }
        let [x, y, z] = <[i128; 3]>::try_from(plane.row(self.line)).unwrap_or_default();
        self.basis_points
            .derive(&[0, z, -y, -z, 0, x, y, -x, 0], &mut self.line_points);
        self.coefficients.clear();
        let rows = self.found[..count].iter();
        self.coefficients.extend(
            rows.map(|row| <[i128; 3]>::try_from(plane.row(*row as usize)).unwrap_or_default()),
        );
        let start = out.len();
        self.line_points.push(&self.coefficients, out);
        if space.limbs() == 1 && count > 0 {
            // Coordinates of one word are in lowest terms from the start; others wait until they are
            // looked at.
            let width = (out.len() - start) / count;
            for point in out[start..].chunks_exact_mut(width) {
                let mut minors: Vec<i64> = point.iter().map(|x| *x as i64).collect();
                lowest_terms(&mut minors);
                point
                    .iter_mut()
                    .zip(minors)
                    .for_each(|(to, x)| *to = x as u64);
            }
        }
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
    use super::super::zero_lanes::PRIME;
    use super::*;
    use num_bigint::BigInt;

    /// Lines that are one modulo the prime have no parameter on each other.
    #[test]
    fn lines_that_agree_modulo_the_prime_are_left_to_wider_numbers() {
        let p = BigInt::from(PRIME);
        let n = |x: i64| BigInt::from(x);
        let rows = [[n(1), n(0), n(0)], [n(1), p.clone(), p], [n(0), n(1), n(7)]];
        let rows = rows.map(|row| row.map(Rational::from_integer).to_vec());
        let arrangement = Arrangement::new(&rows, 2).unwrap();
        for simd in SimdLevel::available() {
            let space = Space::new(simd, 3, 1, None);
            let whole = Restriction::<i128>::whole(
                &Matrix::new(arrangement.rows(), 3, false, &space).unwrap(),
            );
            let mut plane = WidePlane::new(simd);
            assert!(plane.load(&whole));
            assert!(plane.meet(&whole, 0, 0, u32::MAX).is_none());
            assert!(plane.meet(&whole, 2, 0, u32::MAX).is_some());
        }
    }
}
