//! Flats in machine integers: the arrangement restricted to a [`lattice`](super::lattice) basis.
//!
//! A row is \[a|b\] of a hyperplane a·x = b at the basis of the flat's lattice, with (x, 1) taken to
//! (x·a − b): r + 1 integers. The row of the hyperplane at infinity is the last coordinate. Then
//! * a row of zeros contains the flat;
//! * a row proportional to infinity's is parallel to it;
//! * proportional rows cut it in the same place.
//!
//! No residue and no tolerance decides anything: rows with one key are compared as integers.

use std::sync::Arc;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::job::Walk;
use super::lattice::{cut, longest};
use super::plane::{Lines, Seen};
use super::rank;
use super::space::Space;
use super::walk::Flat;
use super::word::{Word, proportional};
use crate::SimdLevel;

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
pub struct Desk<W: Word> {
    matrix: Arc<Matrix<W>>,
    values: Vec<W>,
    keys: Vec<Option<u64>>,
    kept: Vec<bool>,
    seen: Seen,
    plane: W::Plane,
}

impl<W: Word> Desk<W> {
    /// A desk for flats of this arrangement.
    pub fn new(simd: SimdLevel, matrix: Arc<Matrix<W>>) -> Self {
        Self {
            matrix,
            values: Vec::new(),
            keys: Vec::new(),
            kept: Vec::new(),
            seen: Seen::default(),
            plane: W::Plane::new(simd),
        }
    }
}

/// A flat and the rows that cut it.
#[derive(Debug)]
pub struct Restriction<W> {
    free: usize,
    smallest: u32,
    /// Number of each row, rising.
    pub numbers: Vec<u32>,
    /// r + 1 values for each row, and infinity's last.
    pub rows: Vec<W>,
    /// r + 1 vectors of d + 1 entries.
    pub lattice: Vec<W>,
}

impl<W: Word> Restriction<W> {
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
    pub fn row(&self, at: usize) -> &[W] {
        let width = self.free + 1;
        &self.rows[at * width..(at + 1) * width]
    }

    /// Places of the rows numbered `from`..`to`.
    pub fn between(&self, from: u32, to: u32) -> std::ops::Range<usize> {
        let first = self.numbers.partition_point(|&n| n < from);
        first..self.numbers.partition_point(|&n| n < to).max(first)
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
    fn merge(&mut self, desk: &mut Desk<W>) -> bool {
        let width = self.free + 1;
        W::keys(&self.rows, width, &mut desk.keys);
        let count = self.numbers.len();
        let mut seen = desk.seen.clear(count + 1);
        desk.kept.clear();
        desk.kept.resize(count + 1, false);
        let (keys, mut distinct) = (&desk.keys, 0);
        // From infinity down, so that the first of each place is the one to keep.
        for at in (0..=count).rev() {
            let Some(key) = keys[at] else {
                return false;
            };
            let first = seen.first(at, key, |other| {
                keys[other] == Some(key) && proportional(self.row(at), self.row(other))
            });
            desk.kept[at] = first;
            distinct += usize::from(first);
        }
        if distinct <= count {
            let mut to = 0;
            for at in (0..=count).filter(|at| desk.kept[*at]) {
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

impl<W: Word> Restriction<W> {
    /// The vertices with numbers `from`..`to` on the line that row `at` of this plane cuts out.
    fn on_line(&self, at: usize, from: u32, to: u32, desk: &mut Desk<W>, walk: &mut Walk<'_>) {
        let plane = &mut desk.plane;
        if plane.meet(self, at, from, to).is_none() {
            walk.outgrow(from, to);
            return;
        }
        let found = plane.found();
        let granted = walk.meter.reserve(found.len());
        walk.harvest.vertices += granted as u64;
        walk.harvest.flats[0] += granted as u64;
        if let Some(&left) = found.get(granted) {
            walk.leave(self.numbers[left as usize], to);
        }
        if walk.wanted.coordinates {
            plane.push(self, &desk.matrix.space, granted, &mut walk.harvest.numbers);
        }
    }

    /// The vertices on the lines with numbers `from`..`to` of this plane.
    fn on_lines(&self, from: u32, to: u32, desk: &mut Desk<W>, walk: &mut Walk<'_>) {
        // A row's part of a line costs some nanoseconds.
        let cost = 4 * self.numbers.len() as u64;
        for at in self.children(from, to) {
            let number = self.numbers[at];
            if !walk.meter.spend(cost) {
                walk.leave(number, to);
                return;
            }
            walk.harvest.flats[1] += 1;
            walk.path.push(number);
            self.on_line(at, 0, u32::MAX, desk, walk);
            walk.path.pop();
        }
    }
}

impl<W: Word> Flat for Restriction<W> {
    type Desk = Desk<W>;
    const LAST: usize = 2;

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
    fn restrict(&self, at: usize, child: &mut Self, desk: &mut Desk<W>) -> bool {
        let matrix = desk.matrix.clone();
        child.free = self.free - 1;
        child.smallest = self.numbers[at];
        child.lattice.clone_from(&self.lattice);
        desk.values.clear();
        desk.values.extend_from_slice(self.row(at));
        if cut(&mut child.lattice, &mut desk.values, matrix.width).is_none() {
            return false;
        }
        // By Cauchy and Schwarz no value of a row exceeds this, but for the rounding of the norms.
        if longest(&child.lattice, matrix.width) * matrix.norm * 1.001 >= W::LIMIT {
            return false;
        }
        child.evaluate(self, at, &matrix);
        child.merge(desk)
    }
    fn reaches_a_vertex(&self, desk: &mut Desk<W>) -> bool {
        let width = self.free + 1;
        let candidates = self.children(0, u32::MAX).len();
        let infinity = self.row(self.numbers.len());
        let rows = std::iter::once(infinity).chain(self.rows.chunks_exact(width).take(candidates));
        rank::is_full(rows, width, desk.matrix.minors_fit)
    }
    fn finish(
        &self,
        line: Option<u32>,
        from: u32,
        to: u32,
        desk: &mut Desk<W>,
        walk: &mut Walk<'_>,
    ) {
        if !desk.plane.load(self) {
            walk.outgrow(from, to);
            return;
        }
        match line {
            Some(line) => {
                if let Ok(at) = self.numbers.binary_search(&line) {
                    self.on_line(at, from, to, desk, walk);
                }
            }
            None => self.on_lines(from, to, desk, walk),
        }
        desk.plane.flush(&mut walk.harvest.numbers);
    }
}
