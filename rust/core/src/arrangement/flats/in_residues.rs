//! Flats modulo a prime, and in exact integers where that is not enough: for minors of more than 128 bits.
//!
//! A flat is kept twice. The rows of the hyperplanes are [residues](ResidueRows), and the flat itself is
//! an exact [basis](NullBasis). Numbers that are not 0 modulo the prime are not 0. What is 0 modulo the
//! prime is checked in integers:
//! * a row that vanishes on the flat: its values at the basis are 0;
//! * two rows that cut the flat in the same place: their values are proportional;
//! * rows below a flat that do not span it: they are eliminated in integers.
//!
//! In general position nothing of the kind happens, so the length of the numbers only counts for the basis of each
//! flat and for the coordinates of the vertices.
//!
//! If the prime divides a number that is not 0, then the step is left to the next arithmetic, as one that
//! [does not fit](Flat::restrict).

use std::sync::Arc;

use num_bigint::BigInt;

use super::residue_rows::{Key, ResidueRows, RowKeys};
use super::walk::Flat;
use crate::arrangement::arithmetic::{Field, Residue50, SignedWords};
use crate::arrangement::coordinates::{NullBasis, RowValues};
use crate::arrangement::jobs::Walk;
use crate::arrangement::planes::{RowSet, Slopes};
use crate::{Control, Result, SimdLevel};

/// The hyperplanes as exact rows [a|−b], and that of infinity.
#[derive(Debug)]
pub struct LongMatrix {
    /// d + 1.
    width: usize,
    /// Words that hold every minor of d + 1 rows.
    limbs: usize,
    /// Words of a coordinate.
    coordinate_limbs: usize,
    exact: SignedWords,
    residues: ResidueRows,
}

impl LongMatrix {
    /// The matrix of rows [a|b], of which every minor fits `limbs` words, and every minor of d rows
    /// `coordinate_limbs`.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub fn new(
        hyperplanes: &[Vec<BigInt>],
        width: usize,
        (limbs, coordinate_limbs): (usize, usize),
        control: &Control,
    ) -> Result<Self> {
        let bits = hyperplanes.iter().flatten().map(BigInt::bits).max();
        let words = bits.unwrap_or(0).div_ceil(64).max(1) as usize;
        let mut exact = SignedWords::new(words);
        let mut residues = Vec::with_capacity(hyperplanes.len() + 1);
        let infinity: Vec<BigInt> = (0..width)
            .map(|c| u64::from(c + 1 == width).into())
            .collect();
        for (at, row) in hyperplanes.iter().chain([&infinity]).enumerate() {
            control.check()?;
            let entries = row.iter().enumerate().map(|(c, x)| {
                let is_side = c + 1 == width && at < hyperplanes.len();
                if is_side { -x } else { x.clone() }
            });
            let entries: Vec<BigInt> = entries.collect();
            entries.iter().for_each(|x| exact.push(x));
            residues.push(entries.iter().map(Residue50::from_integer).collect());
        }
        Ok(Self {
            width,
            limbs,
            coordinate_limbs,
            exact,
            residues: ResidueRows::new(&residues),
        })
    }

    /// The number of hyperplanes, which is the number of the row of infinity.
    fn infinity(&self) -> u32 {
        self.residues.count() as u32 - 1
    }

    /// The factor by which a restriction takes longer than in machine integers.
    pub fn weight(&self) -> u64 {
        1 + self.products() / 256
    }

    /// The work of a vertex, in nanoseconds.
    fn vertex_cost(&self) -> u64 {
        200 + self.products() / 2
    }

    /// Products of words that the coordinates of a vertex take, up to a factor.
    fn products(&self) -> u64 {
        (self.limbs * self.limbs * self.width) as u64
    }

    fn evaluate(
        &self,
        basis: &NullBasis,
        number: u32,
        values: &mut RowValues,
        control: &Control,
    ) -> Result<()> {
        basis.evaluate(&self.exact, number as usize * self.width, values, control)
    }

    /// The exact values of a row at a basis.
    fn values(&self, basis: &NullBasis, number: u32, control: &Control) -> Result<RowValues> {
        let mut values = RowValues::default();
        self.evaluate(basis, number, &mut values, control)?;
        Ok(values)
    }

    /// Whether two rows cut the flat with this basis in the same place. Neither contains it.
    fn in_same_place(
        &self,
        basis: &NullBasis,
        row: u32,
        other: u32,
        control: &Control,
    ) -> Result<bool> {
        let ours = self.values(basis, row, control)?;
        ours.are_proportional(&self.values(basis, other, control)?, control)
    }
}

/// The input and the memory that all flats of a walk share.
#[derive(Debug)]
pub struct ResidueScratch {
    matrix: Arc<LongMatrix>,
    keys: RowKeys,
    values: RowValues,
    kept: Vec<bool>,
    seen: RowSet,
    slopes: Slopes,
    /// The basis of the present line.
    line: NullBasis,
    found: Vec<usize>,
    control: Control,
    /// Whether a step was stopped before its end.
    interrupted: bool,
}

impl ResidueScratch {
    /// Scratch memory for flats of this arrangement.
    pub fn new(simd: SimdLevel, matrix: Arc<LongMatrix>) -> Self {
        Self {
            keys: RowKeys::new(simd, matrix.width),
            matrix,
            values: RowValues::default(),
            kept: Vec::new(),
            seen: RowSet::default(),
            slopes: Slopes::new(simd),
            line: NullBasis::default(),
            found: Vec::new(),
            control: Control::new(),
            interrupted: false,
        }
    }

    /// The result of a step, and false if the caller has stopped it.
    fn unless_stopped(&mut self, result: Result<bool>) -> bool {
        self.interrupted |= result.is_err();
        result.unwrap_or(false)
    }
}

/// A flat and the rows that cut it.
#[derive(Debug)]
pub struct ResidueFlat {
    dimension: usize,
    smallest: u32,
    /// Number of each row, rising, without that of infinity.
    numbers: Vec<u32>,
    rows: ResidueRows,
    basis: NullBasis,
}

impl ResidueFlat {
    /// The whole space.
    pub fn whole(matrix: &LongMatrix) -> Self {
        Self {
            dimension: matrix.width - 1,
            smallest: u32::MAX,
            numbers: (0..matrix.infinity()).collect(),
            rows: matrix.residues.clone(),
            basis: NullBasis::whole(matrix.width, matrix.limbs),
        }
    }

    /// [`Flat::restrict`].
    fn restricted(
        &self,
        at: usize,
        child: &mut Self,
        scratch: &mut ResidueScratch,
    ) -> Result<bool> {
        let ResidueScratch {
            matrix,
            keys,
            values,
            control,
            ..
        } = scratch;
        child.dimension = self.dimension - 1;
        child.smallest = self.numbers[at];
        matrix.evaluate(&self.basis, self.numbers[at], values, control)?;
        self.basis.cut(values, &mut child.basis, control)?;
        self.rows.restrict(at, &mut child.rows, keys);
        child.numbers.clone_from(&self.numbers);
        child.merge(at, scratch)
    }

    /// Drop row `chosen` and all others that contain the flat or are parallel to it. Of rows that cut it in the same
    /// place, keep the one with the largest number. False if the prime has hidden a difference.
    fn merge(&mut self, chosen: usize, scratch: &mut ResidueScratch) -> Result<bool> {
        let ResidueScratch {
            matrix,
            keys,
            kept,
            seen,
            control,
            ..
        } = scratch;
        let (count, infinity) = (self.numbers.len(), matrix.infinity());
        let number = |at: usize| self.numbers.get(at).copied().unwrap_or(infinity);
        let mut seen = seen.new_set(count + 1);
        kept.clear();
        kept.resize(count + 1, false);
        let mut stopped = Ok(());
        // From infinity down, so that the first row of each place is the one to keep.
        for at in (0..=count).rev().filter(|at| *at != chosen) {
            let key = match keys.of(&self.rows, at) {
                Key::Missing => return Ok(false),
                Key::Zero => {
                    let values = matrix.values(&self.basis, number(at), control)?;
                    if values.are_zero() {
                        continue;
                    }
                    return Ok(false);
                }
                Key::Some(key) => key,
            };
            kept[at] = seen.insert(at, key, |other| {
                keys.of(&self.rows, other) == Key::Some(key)
                    && stopped.is_ok()
                    && matrix
                        .in_same_place(&self.basis, number(at), number(other), control)
                        .unwrap_or_else(|error| {
                            stopped = Err(error);
                            false
                        })
            });
        }
        stopped?;
        self.rows.retain(kept);
        let mut at = 0;
        self.numbers.retain(|_| {
            at += 1;
            kept[at - 1]
        });
        Ok(true)
    }

    /// Whether the rows that make children span this flat, decided in integers.
    fn spans(&self, candidates: usize, scratch: &ResidueScratch) -> Result<bool> {
        let (matrix, control) = (&scratch.matrix, &scratch.control);
        let mut basis = self.basis.clone();
        let mut left = self.dimension + 1;
        for number in self.numbers[..candidates]
            .iter()
            .copied()
            .chain([matrix.infinity()])
        {
            let mut values = matrix.values(&basis, number, control)?;
            if values.are_zero() {
                continue;
            }
            if left == 1 {
                return Ok(true);
            }
            let mut cut = NullBasis::default();
            basis.cut(&mut values, &mut cut, control)?;
            (basis, left) = (cut, left - 1);
        }
        Ok(false)
    }

    /// The rows with numbers `from`..`to` that make vertices on the line of row `at` of this plane. False if the
    /// prime has hidden a difference.
    fn meet(&self, at: usize, from: u32, to: u32, scratch: &mut ResidueScratch) -> Result<bool> {
        let ResidueScratch {
            matrix,
            values,
            seen,
            slopes,
            line,
            found,
            control,
            ..
        } = scratch;
        found.clear();
        let Some(keys) = slopes.on_line(at) else {
            return Ok(false);
        };
        matrix.evaluate(&self.basis, self.numbers[at], values, control)?;
        self.basis.cut(values, line, control)?;
        let count = self.numbers.len();
        let number = |at: usize| self.numbers.get(at).copied().unwrap_or(matrix.infinity());
        let mut seen = seen.new_set(count + 1);
        let mut stopped = Ok(());
        let mut first = |row: usize| {
            seen.insert(row, keys[row], |other| {
                keys[other] == keys[row]
                    && stopped.is_ok()
                    && matrix
                        .in_same_place(line, number(row), number(other), control)
                        .unwrap_or_else(|error| {
                            stopped = Err(error);
                            false
                        })
            })
        };
        for row in (at + 1..=count).rev() {
            first(row);
        }
        let wanted =
            self.numbers.partition_point(|&n| n < from)..self.numbers.partition_point(|&n| n < to);
        for row in (0..at).rev() {
            if first(row) && wanted.contains(&row) {
                found.push(row);
            }
        }
        found.reverse();
        stopped?;
        Ok(true)
    }

    /// Report the vertices on the line that row `at` of this plane cuts out, those by rows with numbers
    /// `from`..`to`.
    fn on_line(
        &self,
        at: usize,
        from: u32,
        to: u32,
        scratch: &mut ResidueScratch,
        walk: &mut Walk<'_>,
    ) {
        let met = self.meet(at, from, to, scratch);
        if !scratch.unless_stopped(met) {
            if scratch.interrupted {
                walk.leave(from, to);
            } else {
                walk.outgrow(from, to);
            }
            return;
        }
        let ResidueScratch {
            matrix,
            values,
            line,
            found,
            control,
            interrupted,
            ..
        } = scratch;
        if !walk.wanted.coordinates {
            let granted = walk.reserve(found.len());
            walk.result.vertices += granted as u64;
            walk.result.flats[0] += granted as u64;
            if let Some(&left) = found.get(granted) {
                walk.leave(self.numbers[left], to);
            }
            return;
        }
        for &row in found.iter() {
            let number = self.numbers[row];
            // Room first: the point must not make the vector of coordinates grow.
            if walk.reserve(1) == 0 {
                walk.leave(number, to);
                return;
            }
            let evaluated = matrix.evaluate(line, number, values, control);
            let (limbs, numbers) = (matrix.coordinate_limbs, &mut walk.result.numbers);
            let pushed = evaluated.and_then(|()| line.push_point(values, limbs, numbers, control));
            if pushed.is_err() {
                // The caller has cancelled, or its time is over: the room for one vertex is not missed.
                *interrupted = true;
                walk.leave(number, to);
                return;
            }
            walk.result.vertices += 1;
            walk.result.flats[0] += 1;
        }
    }

    /// Report the vertices on the lines that rows with numbers `from`..`to` cut out of this plane.
    fn on_lines(&self, from: u32, to: u32, scratch: &mut ResidueScratch, walk: &mut Walk<'_>) {
        let line = 4 * self.numbers.len() as u64;
        // The meter multiplies by the weight. Every row below may make a vertex.
        let vertex = scratch.matrix.vertex_cost() / scratch.matrix.weight();
        for at in self.children(from, to) {
            let number = self.numbers[at];
            if !walk.meter.spend(line + vertex * at as u64) {
                walk.leave(number, to);
                return;
            }
            walk.result.flats[1] += 1;
            walk.path.push(number);
            self.on_line(at, 0, u32::MAX, scratch, walk);
            walk.path.pop();
            if scratch.interrupted {
                // The line has already put down the job that is left of it.
                walk.leave(number + 1, to);
                return;
            }
        }
    }
}

impl Flat for ResidueFlat {
    type Scratch = ResidueScratch;
    const LAST: usize = 2;

    fn set_control(scratch: &mut ResidueScratch, control: &Control) {
        scratch.control = control.clone();
        scratch.interrupted = false;
    }
    fn interrupted(scratch: &ResidueScratch) -> bool {
        scratch.interrupted
    }
    fn empty() -> Self {
        Self {
            dimension: 0,
            smallest: 0,
            numbers: Vec::new(),
            rows: ResidueRows::default(),
            basis: NullBasis::default(),
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
    fn restrict(&self, at: usize, child: &mut Self, scratch: &mut ResidueScratch) -> bool {
        let restricted = self.restricted(at, child, scratch);
        scratch.unless_stopped(restricted)
    }
    fn reaches_a_vertex(&self, scratch: &mut ResidueScratch) -> bool {
        let candidates = self.children(0, u32::MAX).len();
        if candidates < self.dimension {
            return false;
        }
        if self.rows.span(candidates) {
            return true;
        }
        let spans = self.spans(candidates, scratch);
        scratch.unless_stopped(spans)
    }
    /// Modulo the prime only: for probes, a wrong answer makes an estimate worse and nothing else.
    fn first_child(&self, _: &mut ResidueScratch) -> usize {
        let (mut few, mut many) = (0, self.numbers.len());
        while few < many {
            let middle = few.midpoint(many);
            if self.rows.span(middle) {
                many = middle;
            } else {
                few = middle + 1;
            }
        }
        few.saturating_sub(1)
    }
    fn finish(
        &self,
        line: Option<u32>,
        from: u32,
        to: u32,
        scratch: &mut ResidueScratch,
        walk: &mut Walk<'_>,
    ) {
        let columns = [0, 1, 2].map(|c| self.rows.column(c));
        if !scratch.slopes.load_residues(columns, self.rows.count()) {
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
    }
}
