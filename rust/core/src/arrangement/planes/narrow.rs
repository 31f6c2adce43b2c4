//! Planes in integers below 2⁵³, which doubles hold.
//!
//! A row on a plane has three integers (x, y, z). A line on the plane is given by its row ℓ. Two vectors u
//! and v span the integer points of the line (see [`lines`]). A row c has the values α = c·u and β = c·v,
//! and meets the line in the point β·u − α·v. The quotient α/β determines the point.
//!
//! **Exact.** All these numbers and all partial sums are integers below 2⁵³, so doubles hold them exactly.
//! The rounded quotient of two such integers depends on their ratio alone. So rows that meet the line in
//! the same point have equal quotients, bit for bit. Rows with equal quotients are then compared as
//! integers.
//!
//! **Which rows make a vertex.** Row i makes a vertex on line j if i < j and no row above i, infinity
//! included, meets the line in that point. If there were such a row, it would be in the greedy basis of the
//! vertex instead of i or j.
//!
//! **Lowest terms.** u and v span a saturated lattice. So the greatest common divisor of the coordinates of
//! β·u − α·v is that of α and β.

use super::plane::{Plane, PlaneRows};
use super::row_set::RowSet;
use crate::SimdLevel;
use crate::arrangement::arithmetic::Word;
use crate::arrangement::coordinates::{Coprime, PointBasis, Space};
use crate::arrangement::lattices::{LINES, lines};

/// Pairs (α, β) are brought to lowest terms when there are this many. The first-level cache holds them.
const PENDING_PAIRS: usize = 1 << 10;

/// Doubles hold every integer up to 2⁵³.
const EXACT: f64 = (1u64 << 53) as f64;

/// The rows of a plane as doubles, coordinate by coordinate. The last row is that of infinity.
#[derive(Debug)]
pub struct NarrowPlane {
    simd: SimdLevel,
    rows: [Vec<f64>; 3],
    largest: [f64; 3],
    /// The values α and β of every row on the present line. `quotient` has α/β.
    alpha: Vec<f64>,
    beta: Vec<f64>,
    quotient: Vec<f64>,
    /// u and v of the present line.
    line: [[f64; 3]; 2],
    /// u and v of the lines of some neighbouring rows. The first of these rows is [`first`](Self::first).
    lines: [Option<[[f64; 3]; 2]>; LINES],
    first: Option<usize>,
    seen: RowSet,
    found: Vec<u32>,
    coprime: Coprime,
    /// The basis of the plane in the user's space, if coordinates have several words. `placed` says whether
    /// it is that of the present plane.
    basis_points: PointBasis,
    /// u and v of the present line in the user's space, if coordinates have several words.
    line_points: PointBasis,
    placed: bool,
    coefficients: Vec<[i128; 2]>,
}

impl Plane<i64> for NarrowPlane {
    fn new(simd: SimdLevel) -> Self {
        Self {
            simd,
            rows: Default::default(),
            largest: [0.0; 3],
            alpha: Vec::new(),
            beta: Vec::new(),
            quotient: Vec::new(),
            line: [[0.0; 3]; 2],
            lines: [None; LINES],
            first: None,
            seen: RowSet::default(),
            found: Vec::new(),
            coprime: Coprime::new(simd),
            basis_points: PointBasis::new(simd),
            line_points: PointBasis::new(simd),
            placed: false,
            coefficients: Vec::new(),
        }
    }

    fn load(&mut self, plane: &PlaneRows<'_, i64>) -> bool {
        for (c, column) in self.rows.iter_mut().enumerate() {
            column.clear();
            column.extend(plane.rows.chunks_exact(3).map(|row| row[c] as f64));
            self.largest[c] = column.iter().fold(0.0, |most, x| x.abs().max(most));
        }
        self.first = None;
        self.placed = false;
        true
    }

    fn meet(&mut self, plane: &PlaneRows<'_, i64>, at: usize, from: u32, to: u32) -> Option<()> {
        self.found.clear();
        self.line = self.basis(at)?;
        for vector in &self.line {
            let terms = vector.iter().zip(&self.largest);
            if terms.map(|(x, most)| x.abs() * most).sum::<f64>() >= EXACT {
                return None;
            }
        }
        let line = self.line;
        self.evaluate(&line);
        let count = plane.numbers.len();
        let mut seen = self.seen.new_set(count + 1);
        let quotient = &self.quotient[..=count];
        let (alpha, beta) = (&self.alpha[..=count], &self.beta[..=count]);
        let mut first = |row: usize| {
            let bits = quotient[row].to_bits();
            seen.insert(row, bits, |other| {
                quotient[other].to_bits() == bits
                    && i64::same_ratio(
                        alpha[row] as i64,
                        beta[row] as i64,
                        alpha[other] as i64,
                        beta[other] as i64,
                    )
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
        plane: &PlaneRows<'_, i64>,
        space: &Space,
        count: usize,
        out: &mut Vec<u64>,
    ) {
        if space.limbs() > 1 {
            self.push_wide(plane, space, count, out);
            return;
        }
        let width = plane.lattice.len() / 3;
        let at = |vector: &[i64; 3], c: usize| {
            let [x, y, z] = *vector;
            let (x, y) = (
                x.wrapping_mul(plane.lattice[c]),
                y.wrapping_mul(plane.lattice[width + c]),
            );
            let z = z.wrapping_mul(plane.lattice[2 * width + c]);
            x.wrapping_add(y).wrapping_add(z)
        };
        let [u, v] = self.line.map(|vector| vector.map(|x| x as i64));
        let ends = (0..width).map(|c| (at(&u, c), at(&v, c)));
        let values = (&self.alpha[..], &self.beta[..]);
        self.coprime.push(&self.found[..count], values, ends);
        if self.coprime.len() >= PENDING_PAIRS {
            self.coprime.write(out);
        }
    }

    fn flush(&mut self, out: &mut Vec<u64>) {
        self.coprime.write(out);
    }
}

impl NarrowPlane {
    /// Append vertices whose coordinates have several words. They are brought to lowest terms later, when
    /// the caller asks for them.
    fn push_wide(
        &mut self,
        plane: &PlaneRows<'_, i64>,
        space: &Space,
        count: usize,
        out: &mut Vec<u64>,
    ) {
        if !self.placed {
            let basis = plane.lattice.iter().map(|x| i128::from(*x));
            space.place(basis, &mut self.basis_points);
            self.placed = true;
        }
        let line = self.line.map(|vector| vector.map(|x| x as i128));
        self.basis_points
            .derive(line.as_flattened(), &mut self.line_points);
        self.coefficients.clear();
        self.coefficients
            .extend(self.found[..count].iter().map(|&row| {
                let (alpha, beta) = (self.alpha[row as usize], self.beta[row as usize]);
                [beta as i128, -alpha as i128]
            }));
        self.line_points.push(&self.coefficients, out);
    }

    /// u and v of the line of a row. The lines of several rows are computed together, so calls should be in
    /// the order of the rows.
    fn basis(&mut self, at: usize) -> Option<[[f64; 3]; 2]> {
        let first = at / LINES * LINES;
        if self.first != Some(first) {
            let rows = self.rows.each_ref().map(|column| {
                let rest = &column[first..];
                std::array::from_fn(|k| rest.get(k).copied().unwrap_or(1.0))
            });
            self.lines = lines(self.simd, &rows);
            self.first = Some(first);
        }
        self.lines[at - first]
    }

    /// Compute α, β and α/β of every row. The quotient is ∞ if β is 0.
    fn evaluate(&mut self, line: &[[f64; 3]; 2]) {
        let count = self.rows[0].len();
        for column in [&mut self.alpha, &mut self.beta, &mut self.quotient] {
            column.resize(count, 0.0);
        }
        let [x, y, z] = self.rows.each_ref().map(|column| &column[..count]);
        let out = (
            &mut self.alpha[..],
            &mut self.beta[..],
            &mut self.quotient[..],
        );
        match self.simd {
            SimdLevel::Portable => evaluate(line, x, y, z, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves that the machine has these instructions.
            SimdLevel::Avx2(_) => unsafe { evaluate_avx2(line, x, y, z, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            SimdLevel::Avx512(_) | SimdLevel::Vbmi(_) => unsafe {
                evaluate_avx512(line, x, y, z, out)
            },
        }
    }
}

type Values<'a> = (&'a mut [f64], &'a mut [f64], &'a mut [f64]);

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn evaluate_avx2(line: &[[f64; 3]; 2], x: &[f64], y: &[f64], z: &[f64], out: Values<'_>) {
    evaluate(line, x, y, z, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn evaluate_avx512(line: &[[f64; 3]; 2], x: &[f64], y: &[f64], z: &[f64], out: Values<'_>) {
    evaluate(line, x, y, z, out);
}

#[inline(always)]
fn evaluate(line: &[[f64; 3]; 2], x: &[f64], y: &[f64], z: &[f64], out: Values<'_>) {
    let count = x.len();
    let (alpha, beta, quotient) = out;
    let (y, z) = (&y[..count], &z[..count]);
    let (alpha, beta, quotient) = (
        &mut alpha[..count],
        &mut beta[..count],
        &mut quotient[..count],
    );
    for i in 0..count {
        let a = x[i] * line[0][0] + y[i] * line[0][1] + z[i] * line[0][2];
        let b = x[i] * line[1][0] + y[i] * line[1][1] + z[i] * line[1][2];
        alpha[i] = a;
        beta[i] = b;
        // Adding 0 turns −0 into 0.
        let ratio = a / b + 0.0;
        quotient[i] = if b == 0.0 { f64::INFINITY } else { ratio };
    }
}
