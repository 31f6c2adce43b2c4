//! H = U·D·Uᵀ of a second moment, U unit upper triangular.
//!
//! In reversed order of inputs this is the Cholesky factorisation, P = C·Cᵀ with P_rc = H_{n−1−r,
//! n−1−c}: U_ij = C_rc/C_cc and D_j = C_cc², with r = n − 1 − i, c = n − 1 − j. It runs over blocks of
//! columns. For each: factorise the block on the diagonal, solve for the rows below it by substitution,
//! sixteen rows side by side, and update the trailing matrix in tiles, which takes n³/6 multiply-adds.
//! The products are subtracted from an entry block by block, in order, so the bits are the same on any
//! machine and for any number of threads.

use std::ops::Range;

use rayon::prelude::*;

use crate::codec::kernels::feedback_tile::{HEIGHT, Real, accumulate};
use crate::codec::numbers::element::{Element, PowerOfTwo};
use crate::{Control, Error, ErrorKind, Result, SimdLevel};

/// Columns of a block: their panel of sixteen rows is 16 KiB, and stays in a first-level cache.
const BLOCK: usize = 128;
/// Rows that are solved side by side.
const LANES: usize = <f64 as Real>::PANEL;
/// Rows of a piece of work.
const ROWS: usize = 64;

/// The accepted difference of two entries that mirror each other at the diagonal, relative to the
/// largest value that a second moment may have there. It is larger than the rounding of sums in single
/// precision, and smaller than the effect of a mistake.
const SYMMETRIC: f64 = 1e-3;

/// A factorised second moment, after its diagonal was raised.
#[derive(Debug)]
pub struct Factor {
    inputs: usize,
    /// C in rows of `stride` elements; the content above the diagonal is undefined.
    lower: Vec<f64>,
    stride: usize,
    /// 1/C_cc; 0 for an input that never varies.
    inverses: Vec<f64>,
    /// What was added to the diagonal, and the sum of the diagonal before.
    raised: f64,
    trace: f64,
}

impl Factor {
    /// Factorise a second moment of `inputs` inputs, in C order, with `damping` times the mean of its
    /// diagonal added to the diagonal.
    ///
    /// O(n³/6) multiply-adds, memory for n² `f64`.
    ///
    /// # Errors
    /// [`ErrorKind::NonFinite`] for an entry that is NaN or infinite; [`ErrorKind::InvalidArgument`]
    /// for a wrong number of entries, a matrix that is not symmetric, a diagonal with negative entries
    /// or only zeros, and a matrix that a pivot shows not to be positive definite. The message says
    /// where.
    pub fn new<H: Element>(
        matrix: &[H],
        inputs: usize,
        damping: f64,
        control: &Control,
    ) -> Result<Self> {
        Self::on(SimdLevel::in_use()?, matrix, inputs, damping, control)
    }

    /// [`new`](Self::new) with a level of vector instructions.
    pub fn on<H: Element>(
        simd: SimdLevel,
        matrix: &[H],
        inputs: usize,
        damping: f64,
        control: &Control,
    ) -> Result<Self> {
        if !(0.0..f64::INFINITY).contains(&damping) {
            return Err(invalid(format!("damping={damping}: 0 or more is accepted")));
        }
        if inputs.checked_mul(inputs) != Some(matrix.len()) {
            return Err(invalid(format!(
                "second_moment has {} entries: {inputs} inputs have {inputs}·{inputs}",
                matrix.len()
            )));
        }
        let scale = PowerOfTwo::new(-exponent(matrix, inputs, control)?);
        let stride = inputs.next_multiple_of(LANES);
        let mut factor = Self {
            inputs,
            lower: vec![0.0; inputs * stride],
            stride,
            inverses: vec![0.0; inputs],
            raised: 0.0,
            trace: 0.0,
        };
        let diagonal = factor.load(matrix, scale, damping, control)?;
        for start in (0..inputs).step_by(BLOCK) {
            let block = start..(start + BLOCK).min(inputs);
            control.check()?;
            factor.factorise_diagonal(block.clone(), &diagonal, damping)?;
            let solved = factor.solve_below(simd, block.clone(), control)?;
            factor.subtract(simd, block, &solved, control)?;
        }
        Ok(factor)
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// What was added to the diagonal, in the units of [`pivot`](Self::pivot).
    pub fn raised(&self) -> f64 {
        self.raised
    }

    /// The sum of the diagonal before, in the same units.
    pub fn trace(&self) -> f64 {
        self.trace
    }

    /// D_j, in units of a power of two near the largest entry.
    pub fn pivot(&self, input: usize) -> f64 {
        match self.inverses[self.inputs - 1 - input] {
            0.0 => 0.0,
            inverse => (1.0 / inverse).powi(2),
        }
    }

    /// U_ij for i < j.
    #[inline]
    pub fn feedback(&self, from: usize, to: usize) -> f64 {
        let (row, column) = (self.inputs - 1 - from, self.inputs - 1 - to);
        self.lower[row * self.stride + column] * self.inverses[column]
    }

    /// The factors of [`accumulate`] for the targets of the inputs `to`: for each group of [`HEIGHT`]
    /// of them and every input i before `to.end`, U_ij, or 0 unless i < j.
    pub fn columns(&self, to: Range<usize>) -> Vec<f32> {
        let tiles = to.len().div_ceil(HEIGHT);
        let mut factors = vec![0.0; tiles * to.end * HEIGHT];
        let tiles = factors.par_chunks_exact_mut(to.end * HEIGHT);
        tiles.enumerate().for_each(|(tile, factors)| {
            let first = to.start + tile * HEIGHT;
            for (from, factors) in factors.chunks_exact_mut(HEIGHT).enumerate() {
                for (factor, to) in factors.iter_mut().zip(first..to.end) {
                    if from < to {
                        *factor = self.feedback(from, to) as f32;
                    }
                }
            }
        });
        factors
    }

    /// The input that a row or column of P belongs to.
    fn input(&self, row: usize) -> usize {
        self.inputs - 1 - row
    }

    /// Check and scale the second moment, and store P below the diagonal. Returns its diagonal with
    /// damping.
    fn load<H: Element>(
        &mut self,
        matrix: &[H],
        scale: PowerOfTwo,
        damping: f64,
        control: &Control,
    ) -> Result<Vec<f64>> {
        let n = self.inputs;
        let diagonal: Vec<f64> = (0..n)
            .map(|row| scale.times(matrix[(n - 1 - row) * (n + 1)].to_f64()))
            .collect();
        if let Some(row) = (0..n).rev().find(|row| diagonal[*row] < 0.0) {
            let j = n - 1 - row;
            return Err(invalid(format!(
                "second_moment[{j}, {j}] is {}: a mean of squares is not negative",
                matrix[j * (n + 1)].to_f64()
            )));
        }
        let mean = diagonal.iter().sum::<f64>() / n as f64;
        if mean == 0.0 {
            return Err(invalid(
                "second_moment has a diagonal of zeros: no input ever varied, so no error counts"
                    .into(),
            ));
        }
        (self.raised, self.trace) = (damping * mean, mean * n as f64);
        // The underflow of sums of tiny products in a 16- or 32-bit float.
        let nothing = mean * SYMMETRIC.powi(2);
        let stride = self.stride;
        let bands = self.lower.par_chunks_mut(LANES * stride).enumerate();
        bands.try_for_each(|(band, rows)| {
            control.check()?;
            let first = band * LANES;
            let last = (first + LANES).min(n);
            for column in 0..last {
                for row in first.max(column)..last {
                    let (i, j) = (n - 1 - row, n - 1 - column);
                    let across = [i * n + j, j * n + i].map(|at| scale.times(matrix[at].to_f64()));
                    let most = (diagonal[row] * diagonal[column]).sqrt();
                    if (across[0] - across[1]).abs() > SYMMETRIC * most + nothing {
                        return Err(invalid(format!(
                            "second_moment[{i}, {j}] is {} and [{j}, {i}] is {}: a symmetric matrix is accepted",
                            matrix[i * n + j].to_f64(),
                            matrix[j * n + i].to_f64()
                        )));
                    }
                    let entry = (across[0] + across[1]) / 2.0;
                    // The Cauchy–Schwarz inequality.
                    if entry.abs() > (1.0 + SYMMETRIC) * most + nothing {
                        return Err(invalid(format!(
                            "second_moment is not positive definite: [{i}, {j}] is {}, and the diagonal \
                             there has {} and {}",
                            matrix[i * n + j].to_f64(),
                            matrix[i * (n + 1)].to_f64(),
                            matrix[j * (n + 1)].to_f64()
                        )));
                    }
                    // An input that never varies goes with no other.
                    let varies = most > 0.0;
                    rows[(row - first) * stride + column] = if varies { entry } else { 0.0 };
                }
            }
            for row in first..last {
                rows[(row - first) * stride + row] += damping * mean;
            }
            Ok(())
        })?;
        Ok(diagonal.iter().map(|d| d + damping * mean).collect())
    }

    /// The block on the diagonal, row by row.
    fn factorise_diagonal(
        &mut self,
        block: Range<usize>,
        diagonal: &[f64],
        damping: f64,
    ) -> Result<()> {
        let (n, stride) = (self.inputs, self.stride);
        // A pivot is a difference of numbers as large as the diagonal entry, so a pivot of zero is
        // rounded to less than this.
        let nothing = n as f64 * f64::EPSILON;
        for row in block.clone() {
            let (above, here) = self.lower.split_at_mut(row * stride);
            for column in block.start..row {
                let other = &above[column * stride..][..stride];
                let mut value = here[column];
                for k in block.start..column {
                    value -= here[k] * other[k];
                }
                here[column] = value * self.inverses[column];
            }
            let mut pivot = here[row];
            for value in &here[block.start..row] {
                pivot -= value * value;
            }
            // An input that never varies goes with no other.
            let varies = diagonal[row] > 0.0;
            let least = nothing * diagonal[row];
            if pivot.is_nan() || pivot < least || varies && pivot == least {
                return Err(invalid(format!(
                    "second_moment is not positive definite: with damping={damping}, pivot {pivot:.3e} of \
                     {:.3e} at input {}; a larger damping makes a singular one regular",
                    diagonal[row],
                    self.input(row)
                )));
            }
            here[row] = pivot.max(0.0).sqrt();
            self.inverses[row] = if varies { 1.0 / here[row] } else { 0.0 };
        }
        Ok(())
    }

    /// Solve for the rows below a block, in place. Returns them also as panels of sixteen rows.
    fn solve_below(
        &mut self,
        simd: SimdLevel,
        block: Range<usize>,
        control: &Control,
    ) -> Result<Vec<f64>> {
        let (stride, width) = (self.stride, block.len());
        let (above, below) = self.lower.split_at_mut(block.end * stride);
        let inverses = &self.inverses[block.clone()];
        let corner = &above[block.start * stride..];
        let rows = below.len() / stride;
        let mut solved = vec![0.0; rows.next_multiple_of(LANES) * width];
        let panels = solved.par_chunks_exact_mut(width * LANES);
        let bands = below.par_chunks_mut(LANES * stride);
        panels.zip(bands).try_for_each(|(panel, rows)| {
            control.check()?;
            let (panel, _) = panel.as_chunks_mut::<LANES>();
            for (lane, row) in rows.chunks_exact(stride).enumerate() {
                for (place, value) in panel.iter_mut().zip(&row[block.clone()]) {
                    place[lane] = *value;
                }
            }
            simd.run(
                #[inline(always)]
                || substitute(panel, corner, block.start, stride, inverses),
            );
            for (lane, row) in rows.chunks_exact_mut(stride).enumerate() {
                for (place, value) in row[block.clone()].iter_mut().zip(panel.iter()) {
                    *place = value[lane];
                }
            }
            Ok(())
        })?;
        Ok(solved)
    }

    /// Subtract the products of a block's columns from the trailing matrix.
    fn subtract(
        &mut self,
        simd: SimdLevel,
        block: Range<usize>,
        solved: &[f64],
        control: &Control,
    ) -> Result<()> {
        let (stride, width) = (self.stride, block.len());
        let (first, panel) = (block.end, width * LANES);
        let bands = self.lower[first * stride..].par_chunks_mut(ROWS * stride);
        bands.enumerate().try_for_each(|(band, rows)| {
            control.check()?;
            let count = rows.len() / stride;
            let factors = negated(&solved[band * ROWS * width..], width, count);
            for (at, panel) in solved.chunks_exact(panel).enumerate() {
                let column = first + at * LANES;
                for (tile, factors) in factors.chunks_exact(width * HEIGHT).enumerate() {
                    let row = tile * HEIGHT;
                    let height = HEIGHT.min(count - row);
                    // Entries above the diagonal are not needed.
                    if column < first + band * ROWS + row + height {
                        let sums = &mut rows[row * stride + column..];
                        accumulate(simd, 0..height, factors, panel, sums, stride);
                    }
                }
            }
            Ok(())
        })
    }
}

/// Solve X·Cᵀ = P for sixteen rows X side by side. `corner` has the rows of C, from `first` on.
#[inline(always)]
fn substitute(
    panel: &mut [[f64; LANES]],
    corner: &[f64],
    first: usize,
    stride: usize,
    inverses: &[f64],
) {
    for k in 0..panel.len() {
        let row = &corner[k * stride + first..][..k];
        let (done, rest) = panel.split_at_mut(k);
        let value = &mut rest[0];
        for (x, factor) in done.iter().zip(row) {
            for (value, x) in value.iter_mut().zip(x) {
                *value -= x * factor;
            }
        }
        for value in value {
            *value *= inverses[k];
        }
    }
}

/// The negated factors of [`accumulate`], so that it subtracts, for the first `rows` rows of these
/// panels.
fn negated(panels: &[f64], width: usize, rows: usize) -> Vec<f64> {
    let tiles = rows.div_ceil(HEIGHT);
    let mut factors = Vec::with_capacity(tiles * width * HEIGHT);
    for tile in 0..tiles {
        let (panel, lane) = (tile * HEIGHT / LANES, tile * HEIGHT % LANES);
        for row in panels[panel * width * LANES..][..width * LANES].chunks_exact(LANES) {
            factors.extend(row[lane..lane + HEIGHT].iter().map(|value| -value));
        }
    }
    factors
}

/// The exponent of the power of two above the largest magnitude; an error that names the first entry
/// that is not finite.
fn exponent<H: Element>(matrix: &[H], inputs: usize, control: &Control) -> Result<i32> {
    crate::codec::numbers::element::exponent(matrix, control)
        .map(Option::unwrap_or_default)
        .map_err(
            |error| match matrix.iter().position(|h| !h.to_f64().is_finite()) {
                Some(at) => Error::new(
                    ErrorKind::NonFinite,
                    format!(
                        "second_moment[{}, {}] is {}: every entry must be finite",
                        at / inputs,
                        at % inputs,
                        matrix[at].to_f64()
                    ),
                ),
                None => error,
            },
        )
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}
