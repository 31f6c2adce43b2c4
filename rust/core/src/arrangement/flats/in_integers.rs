//! Flats in machine integers: the arrangement restricted to a basis of a
//! [lattice](crate::arrangement::lattices).
//!
//! A hyperplane a·x = b is the linear form that has the value a·x − b at (x, 1). Its row on a flat of
//! dimension r has the r + 1 values of this form at the basis vectors of the flat's lattice. The hyperplane
//! at infinity is the form that gives the last coordinate. Then:
//! * a hyperplane contains the flat if its row is 0;
//! * a hyperplane is parallel to the flat if its row is proportional to that of infinity;
//! * two hyperplanes cut the flat in the same place if their rows are proportional.
//!
//! These tests are exact: residues only give the keys, and rows with equal keys are compared as integers.

use std::sync::Arc;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::walk::Flat;
use crate::arrangement::arithmetic::{Word, is_full_rank, proportional};
use crate::arrangement::coordinates::Space;
use crate::arrangement::jobs::Walk;
use crate::arrangement::lattices::{cut, longest};
use crate::arrangement::planes::{Plane, PlaneRows, PlaneWord, RowSet};
use crate::{Control, Result, SimdLevel};

/// The stop flag is checked after this many products.
const CHECK_INTERVAL: usize = 1 << 18;

/// The hyperplanes as rows [a|−b] of machine integers.
#[derive(Debug)]
pub struct Matrix<W> {
    /// d + 1.
    pub width: usize,
    rows: Vec<W>,
    /// The largest Euclidean norm of a row.
    norm: f64,
    /// Whether every minor is below 2⁶⁰. Then a minor is zero if its residue modulo 2⁶¹ − 1 is.
    minors_fit: bool,
    /// The map from the coordinates of the rows to those of the user's space.
    pub space: Space,
}

impl<W: Word + TryFrom<i128>> Matrix<W> {
    /// The matrix of rows [a|b]. `None` if the entries do not fit.
    pub fn new(
        hyperplanes: &[Vec<BigInt>],
        width: usize,
        minors_fit: bool,
        space: &Space,
    ) -> Option<Self> {
        let word = |x: &BigInt| W::try_from(x.to_i128()?).ok();
        let mut rows = Vec::with_capacity(hyperplanes.len() * width);
        for row in hyperplanes {
            let (side, normal) = row.split_last()?;
            for x in normal {
                rows.push(word(x)?);
            }
            rows.push(word(&-side)?);
        }
        let norm = rows.chunks_exact(width).map(|row| {
            let squares = row.iter().map(|x| x.to_f64() * x.to_f64());
            squares.sum::<f64>().sqrt()
        });
        let norm = norm.fold(0.0, f64::max);
        (norm < W::LIMIT).then_some(Self {
            width,
            rows,
            norm,
            minors_fit,
            space: space.clone(),
        })
    }
}

/// The input and the memory that all flats of a walk share.
#[derive(Debug)]
pub struct IntegerScratch<W: PlaneWord> {
    matrix: Arc<Matrix<W>>,
    values: Vec<W>,
    keys: Vec<Option<u64>>,
    kept: Vec<bool>,
    seen: RowSet,
    plane: W::Plane,
    control: Control,
    /// Whether a step was stopped before its end.
    interrupted: bool,
}

impl<W: PlaneWord> IntegerScratch<W> {
    /// Scratch memory for flats of this arrangement.
    pub fn new(simd: SimdLevel, matrix: Arc<Matrix<W>>) -> Self {
        Self {
            matrix,
            values: Vec::new(),
            keys: Vec::new(),
            kept: Vec::new(),
            seen: RowSet::default(),
            plane: W::Plane::new(simd),
            control: Control::new(),
            interrupted: false,
        }
    }
}

/// A flat and the rows that cut it.
#[derive(Debug)]
pub struct IntegerFlat<W> {
    dimension: usize,
    smallest: u32,
    /// Number of each row, rising.
    numbers: Vec<u32>,
    /// r + 1 values for each row. The last row is that of infinity.
    rows: Vec<W>,
    /// The basis of the lattice: r + 1 vectors of d + 1 entries.
    lattice: Vec<W>,
}

impl<W: PlaneWord> IntegerFlat<W> {
    /// The whole space, whose lattice has the unit vectors as its basis.
    pub fn whole(matrix: &Matrix<W>) -> Self {
        let width = matrix.width;
        let unit = |c: usize| (0..width).map(move |k| if k == c { W::ONE } else { W::ZERO });
        let mut rows = matrix.rows.clone();
        rows.extend(unit(width - 1));
        Self {
            dimension: width - 1,
            smallest: u32::MAX,
            numbers: (0..(matrix.rows.len() / width) as u32).collect(),
            rows,
            lattice: (0..width).flat_map(unit).collect(),
        }
    }

    /// Row `at`. The row of infinity follows that of the last hyperplane.
    fn row(&self, at: usize) -> &[W] {
        let width = self.dimension + 1;
        &self.rows[at * width..(at + 1) * width]
    }

    /// This flat, which has dimension 2, in the form that [`Plane`] takes.
    fn plane(&self) -> PlaneRows<'_, W> {
        PlaneRows {
            numbers: &self.numbers,
            rows: &self.rows,
            lattice: &self.lattice,
        }
    }

    /// Evaluate the hyperplanes of `parent`, except row `chosen`, at the basis of this flat.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    fn evaluate(
        &mut self,
        parent: &Self,
        chosen: usize,
        matrix: &Matrix<W>,
        control: &Control,
    ) -> Result<()> {
        let width = matrix.width;
        let size = self.dimension + 1;
        self.numbers.clear();
        self.rows.clear();
        self.rows.resize((parent.numbers.len() + 1) * size, W::ZERO);
        let (mut end, mut until_check) = (0, CHECK_INTERVAL);
        for (at, &number) in parent.numbers.iter().enumerate() {
            if at == chosen {
                continue;
            }
            match until_check.checked_sub(size * width) {
                Some(left) => until_check = left,
                None => {
                    control.check()?;
                    until_check = CHECK_INTERVAL;
                }
            }
            let row = &matrix.rows[number as usize * width..][..width];
            let values = &mut self.rows[end..end + size];
            for (value, vector) in values.iter_mut().zip(self.lattice.chunks_exact(width)) {
                let terms = row.iter().zip(vector);
                *value = terms.fold(W::ZERO, |sum, (a, x)| sum.plus_product(*a, *x));
            }
            if values.iter().any(|x| !x.is_zero()) {
                self.numbers.push(number);
                end += size;
            }
        }
        for (value, vector) in self.rows[end..]
            .iter_mut()
            .zip(self.lattice.chunks_exact(width))
        {
            *value = vector[width - 1];
        }
        self.rows.truncate(end + size);
        Ok(())
    }

    /// Drop rows that are parallel to the flat. Of rows that cut it in the same place, keep the one with
    /// the largest number. False if some row has no key.
    fn merge(&mut self, scratch: &mut IntegerScratch<W>) -> bool {
        let width = self.dimension + 1;
        W::keys(&self.rows, width, &mut scratch.keys);
        let count = self.numbers.len();
        let mut seen = scratch.seen.new_set(count + 1);
        scratch.kept.clear();
        scratch.kept.resize(count + 1, false);
        let (keys, mut distinct) = (&scratch.keys, 0);
        // From infinity down, so that the first row of each place is the one to keep.
        for at in (0..=count).rev() {
            let Some(key) = keys[at] else {
                return false;
            };
            let first = seen.insert(at, key, |other| {
                keys[other] == Some(key) && proportional(self.row(at), self.row(other))
            });
            scratch.kept[at] = first;
            distinct += usize::from(first);
        }
        if distinct <= count {
            let mut to = 0;
            for at in (0..=count).filter(|at| scratch.kept[*at]) {
                if at < count {
                    self.numbers[to] = self.numbers[at];
                }
                self.rows
                    .copy_within(at * width..(at + 1) * width, to * width);
                to += 1;
            }
            self.numbers.truncate(to - 1);
            self.rows.truncate(to * width);
        }
        true
    }
}

impl<W: PlaneWord> IntegerFlat<W> {
    /// Report the vertices on the line that row `at` of this plane cuts out, those by rows with numbers
    /// `from`..`to`.
    fn on_line(
        &self,
        at: usize,
        from: u32,
        to: u32,
        scratch: &mut IntegerScratch<W>,
        walk: &mut Walk<'_>,
    ) {
        let plane = &mut scratch.plane;
        if plane.meet(&self.plane(), at, from, to).is_none() {
            walk.outgrow(from, to);
            return;
        }
        let found = plane.found();
        let granted = walk.reserve(found.len());
        walk.result.vertices += granted as u64;
        walk.result.flats[0] += granted as u64;
        if let Some(&left) = found.get(granted) {
            walk.leave(self.numbers[left as usize], to);
        }
        if walk.wanted.coordinates {
            plane.push(
                &self.plane(),
                &scratch.matrix.space,
                granted,
                &mut walk.result.numbers,
            );
        }
    }

    /// Report the vertices on the lines that rows with numbers `from`..`to` cut out of this plane.
    fn on_lines(&self, from: u32, to: u32, scratch: &mut IntegerScratch<W>, walk: &mut Walk<'_>) {
        // A line takes a few nanoseconds for each row.
        let cost = 4 * self.numbers.len() as u64;
        for at in self.children(from, to) {
            let number = self.numbers[at];
            if !walk.meter.spend(cost) {
                walk.leave(number, to);
                return;
            }
            walk.result.flats[1] += 1;
            walk.path.push(number);
            self.on_line(at, 0, u32::MAX, scratch, walk);
            walk.path.pop();
        }
    }
}

impl<W: PlaneWord> Flat for IntegerFlat<W> {
    type Scratch = IntegerScratch<W>;
    const LAST: usize = 2;

    fn set_control(scratch: &mut IntegerScratch<W>, control: &Control) {
        scratch.control = control.clone();
        scratch.interrupted = false;
    }
    fn interrupted(scratch: &IntegerScratch<W>) -> bool {
        scratch.interrupted
    }
    fn empty() -> Self {
        Self {
            dimension: 0,
            smallest: 0,
            numbers: Vec::new(),
            rows: Vec::new(),
            lattice: Vec::new(),
        }
    }
    fn dimension(&self) -> usize {
        self.dimension
    }
    fn smallest(&self) -> u32 {
        self.smallest
    }
    fn numbers(&self) -> &[u32] {
        &self.numbers
    }
    fn restrict(&self, at: usize, child: &mut Self, scratch: &mut IntegerScratch<W>) -> bool {
        let matrix = scratch.matrix.clone();
        child.dimension = self.dimension - 1;
        child.smallest = self.numbers[at];
        child.lattice.clone_from(&self.lattice);
        scratch.values.clear();
        scratch.values.extend_from_slice(self.row(at));
        if cut(&mut child.lattice, &mut scratch.values, matrix.width).is_none() {
            return false;
        }
        // By the Cauchy–Schwarz inequality no value of a row is larger than this product of norms. The
        // factor allows for the rounding of the norms.
        if longest(&child.lattice, matrix.width) * matrix.norm * 1.001 >= W::LIMIT {
            return false;
        }
        if child.evaluate(self, at, &matrix, &scratch.control).is_err() {
            scratch.interrupted = true;
            return false;
        }
        child.merge(scratch)
    }
    fn reaches_a_vertex(&self, scratch: &mut IntegerScratch<W>) -> bool {
        let width = self.dimension + 1;
        let candidates = self.children(0, u32::MAX).len();
        let infinity = self.row(self.numbers.len());
        let rows = std::iter::once(infinity).chain(self.rows.chunks_exact(width).take(candidates));
        let found = is_full_rank(rows, width, scratch.matrix.minors_fit, &scratch.control);
        scratch.interrupted |= found.is_err();
        found.unwrap_or(true)
    }
    fn finish(
        &self,
        line: Option<u32>,
        from: u32,
        to: u32,
        scratch: &mut IntegerScratch<W>,
        walk: &mut Walk<'_>,
    ) {
        if !scratch.plane.load(&self.plane()) {
            walk.outgrow(from, to);
            return;
        }
        match line {
            Some(line) => {
                if let Ok(at) = self.numbers.binary_search(&line) {
                    self.on_line(at, from, to, scratch, walk);
                }
            }
            None => self.on_lines(from, to, scratch, walk),
        }
        scratch.plane.flush(&mut walk.result.numbers);
    }
}
