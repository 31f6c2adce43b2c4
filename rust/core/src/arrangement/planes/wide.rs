//! Planes in integers of 128 bits. The method is that of [`narrow`](super::narrow), with other keys.
//!
//! A slope modulo a prime is the key for the point in which a row meets a line (see [`Slopes`]). Rows with
//! equal slopes are compared exactly: they meet the line in the same point if and only if the determinant of
//! the two rows and the line, an integer of six words, is 0. If two different rows are equal modulo the
//! prime, they have no slope on each other. Such a line is left to a wider arithmetic.
//!
//! Let E₀, E₁, E₂ be the basis of the plane in the user's space. Line ℓ and row c meet in the vertex
//! Σ (ℓ × c)ₖ·Eₖ. This is Σ cₖ·Kₖ with three points K, which are computed once for each line.

use super::plane::{Plane, PlaneRows};
use super::row_set::RowSet;
use super::slopes::Slopes;
use crate::SimdLevel;
use crate::arrangement::arithmetic::{Limbs, lowest_terms, product};
use crate::arrangement::coordinates::{PointBasis, Space};

/// A plane with rows of 128-bit integers.
#[derive(Debug)]
pub struct WidePlane {
    slopes: Slopes,
    line: usize,
    seen: RowSet,
    found: Vec<u32>,
    /// The points E. `placed` says whether they are those of the present plane.
    basis_points: PointBasis,
    /// The points K of the present line.
    line_points: PointBasis,
    placed: bool,
    coefficients: Vec<[i128; 3]>,
}

impl Plane<i128> for WidePlane {
    fn new(simd: SimdLevel) -> Self {
        Self {
            slopes: Slopes::new(simd),
            line: 0,
            seen: RowSet::default(),
            found: Vec::new(),
            basis_points: PointBasis::new(simd),
            line_points: PointBasis::new(simd),
            placed: false,
            coefficients: Vec::new(),
        }
    }

    fn load(&mut self, plane: &PlaneRows<'_, i128>) -> bool {
        self.placed = false;
        self.slopes.load(plane.rows)
    }

    fn meet(&mut self, plane: &PlaneRows<'_, i128>, at: usize, from: u32, to: u32) -> Option<()> {
        self.found.clear();
        self.line = at;
        let keys = self.slopes.on_line(at)?;
        let count = plane.numbers.len();
        let mut seen = self.seen.new_set(count + 1);
        let mut first = |row: usize| {
            seen.insert(row, keys[row], |other| {
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

    fn push(
        &mut self,
        plane: &PlaneRows<'_, i128>,
        space: &Space,
        count: usize,
        out: &mut Vec<u64>,
    ) {
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
            // Coordinates of one word are brought to lowest terms here. Longer ones are brought to lowest
            // terms later, when the caller asks for them.
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

/// The point in which two lines of the plane meet, in homogeneous coordinates.
fn cross(a: &[i128], b: &[i128]) -> [Limbs<4>; 3] {
    [(1, 2), (2, 0), (0, 1)].map(|(i, j)| product(a[i], b[j]).minus(&product(a[j], b[i])))
}

/// Whether three lines of the plane have a common point.
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
    use super::*;
    use crate::arrangement::arithmetic::PRIME_50;

    /// Lines that are equal modulo the prime have no slope on each other.
    #[test]
    fn lines_that_agree_modulo_the_prime_are_left_to_wider_numbers() {
        let p = i128::from(PRIME_50);
        let rows = [1, 0, 0, 1, p, -p, 0, 1, -7, 0, 0, 1];
        let plane = PlaneRows {
            numbers: &[0, 1, 2],
            rows: &rows,
            lattice: &[1, 0, 0, 0, 1, 0, 0, 0, 1],
        };
        for simd in SimdLevel::available() {
            let mut lines = WidePlane::new(simd);
            assert!(lines.load(&plane));
            assert!(lines.meet(&plane, 0, 0, u32::MAX).is_none());
            assert!(lines.meet(&plane, 2, 0, u32::MAX).is_some());
        }
    }
}
