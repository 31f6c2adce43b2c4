//! Flats in machine integers: the arrangement restricted to a basis of a
//! [lattice](crate::arrangement::lattices).
//!
//! The row of a hyperplane a·x = b on a flat of dimension r is its r + 1 values at the basis of the
//! flat's lattice, where (x, 1) has the value a·x − b. The row of the hyperplane at infinity is the
//! last coordinate. Then:
//! * a row of zeros contains the flat;
//! * a row proportional to that of infinity is parallel to the flat;
//! * proportional rows cut the flat in the same place.
//!
//! No residue and no tolerance decides anything: rows with one key are compared as integers.

use std::sync::Arc;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::walk::Flat;
use crate::arrangement::arithmetic::{Word, is_full_rank, proportional};
use crate::arrangement::coordinates::Space;
use crate::arrangement::jobs::Walk;
use crate::arrangement::lattices::{cut, longest};
use crate::arrangement::planes::{Plane, PlaneRows, PlaneWord, RowSet};
use crate::{Control, SimdLevel};

/// The hyperplanes as rows [a|−b] of machine integers.
#[derive(Debug)]
pub struct Matrix<W> {
    /// d + 1.
    pub width: usize,
    rows: Vec<W>,
    /// The largest norm of a row.
    norm: f64,
    /// Whether every minor is below 2⁶⁰, so that a residue modulo 2⁶¹ − 1 is zero only if it is.
    minors_fit: bool,
    /// The coordinates of the rows as points of the space.
    pub space: Space,
}

impl<W: Word + TryFrom<i128>> Matrix<W> {
    /// Of rows [a|b]; `None` where the entries do not fit.
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

/// What the flats of one walk share.
#[derive(Debug)]
pub struct IntegerScratch<W: PlaneWord> {
    matrix: Arc<Matrix<W>>,
    values: Vec<W>,
    keys: Vec<Option<u64>>,
    kept: Vec<bool>,
    seen: RowSet,
    plane: W::Plane,
    control: Control,
    /// Whether a step has stopped in its middle.
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
    free: usize,
    smallest: u32,
    /// Number of each row, rising.
    numbers: Vec<u32>,
    /// r + 1 values for each row, and infinity's last.
    rows: Vec<W>,
    /// r + 1 vectors of d + 1 entries.
    lattice: Vec<W>,
}

impl<W: PlaneWord> IntegerFlat<W> {
    /// The whole space, whose basis is the coordinates'.
    pub fn whole(matrix: &Matrix<W>) -> Self {
        let width = matrix.width;
        let unit = |c: usize| (0..width).map(move |k| if k == c { W::ONE } else { W::ZERO });
        let mut rows = matrix.rows.clone();
        rows.extend(unit(width - 1));
        Self {
            free: width - 1,
            smallest: u32::MAX,
            numbers: (0..(matrix.rows.len() / width) as u32).collect(),
            rows,
            lattice: (0..width).flat_map(unit).collect(),
        }
    }

    /// Row `at`; infinity's is the one after the last.
    fn row(&self, at: usize) -> &[W] {
        let width = self.free + 1;
        &self.rows[at * width..(at + 1) * width]
    }

    /// This flat, a plane, for [`Plane`].
    fn plane(&self) -> PlaneRows<'_, W> {
        PlaneRows {
            numbers: &self.numbers,
            rows: &self.rows,
            lattice: &self.lattice,
        }
    }

    /// Put the values of every row of `parent` but `chosen` at this flat's basis.
    fn evaluate(&mut self, parent: &Self, chosen: usize, matrix: &Matrix<W>) {
        let width = matrix.width;
        let free = self.free + 1;
        self.numbers.clear();
        self.rows.clear();
        self.rows.resize((parent.numbers.len() + 1) * free, W::ZERO);
        let mut end = 0;
        for (at, &number) in parent.numbers.iter().enumerate() {
            if at == chosen {
                continue;
            }
            let row = &matrix.rows[number as usize * width..][..width];
            let values = &mut self.rows[end..end + free];
            for (value, vector) in values.iter_mut().zip(self.lattice.chunks_exact(width)) {
                let terms = row.iter().zip(vector);
                *value = terms.fold(W::ZERO, |sum, (a, x)| sum.plus_product(*a, *x));
            }
            if values.iter().any(|x| !x.is_zero()) {
                self.numbers.push(number);
                end += free;
            }
        }
        for (value, vector) in self.rows[end..]
            .iter_mut()
            .zip(self.lattice.chunks_exact(width))
        {
            *value = vector[width - 1];
        }
        self.rows.truncate(end + free);
    }

    /// Drop rows that are parallel to the flat, and keep of those that cut it in the same place the
    /// one of the largest number. False where some rows have no key to be told apart by.
    fn merge(&mut self, scratch: &mut IntegerScratch<W>) -> bool {
        let width = self.free + 1;
        W::keys(&self.rows, width, &mut scratch.keys);
        let count = self.numbers.len();
        let mut seen = scratch.seen.clear(count + 1);
        scratch.kept.clear();
        scratch.kept.resize(count + 1, false);
        let (keys, mut distinct) = (&scratch.keys, 0);
        // From infinity down, so that the first of each place is the one to keep.
        for at in (0..=count).rev() {
            let Some(key) = keys[at] else {
                return false;
            };
            let first = seen.first(at, key, |other| {
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
    /// The vertices with numbers `from`..`to` on the line that row `at` of this plane cuts out.
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

    /// The vertices on the lines with numbers `from`..`to` of this plane.
    fn on_lines(&self, from: u32, to: u32, scratch: &mut IntegerScratch<W>, walk: &mut Walk<'_>) {
        // A row's part of a line costs some nanoseconds.
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

    fn attend(scratch: &mut IntegerScratch<W>, control: &Control) {
        scratch.control = control.clone();
        scratch.interrupted = false;
    }
    fn interrupted(scratch: &IntegerScratch<W>) -> bool {
        scratch.interrupted
    }
    fn empty() -> Self {
        Self {
            free: 0,
            smallest: 0,
            numbers: Vec::new(),
            rows: Vec::new(),
            lattice: Vec::new(),
        }
    }
    fn free(&self) -> usize {
        self.free
    }
    fn smallest(&self) -> u32 {
        self.smallest
    }
    fn numbers(&self) -> &[u32] {
        &self.numbers
    }
    fn restrict(&self, at: usize, child: &mut Self, scratch: &mut IntegerScratch<W>) -> bool {
        let matrix = scratch.matrix.clone();
        child.free = self.free - 1;
        child.smallest = self.numbers[at];
        child.lattice.clone_from(&self.lattice);
        scratch.values.clear();
        scratch.values.extend_from_slice(self.row(at));
        if cut(&mut child.lattice, &mut scratch.values, matrix.width).is_none() {
            return false;
        }
        // By Cauchy and Schwarz no value of a row exceeds this, but for the rounding of the norms.
        if longest(&child.lattice, matrix.width) * matrix.norm * 1.001 >= W::LIMIT {
            return false;
        }
        child.evaluate(self, at, &matrix);
        child.merge(scratch)
    }
    fn reaches_a_vertex(&self, scratch: &mut IntegerScratch<W>) -> bool {
        let width = self.free + 1;
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
