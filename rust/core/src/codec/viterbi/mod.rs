//! The search: the path through the trellis whose levels lie nearest to a stream's weights.
//!
//! Viterbi's algorithm over 2^(W−1) states with two branches in and two out, whatever the rate:
//! a branch fixes the offset, and the best cell for an offset is the nearest of three. So a weight
//! costs 2^s distances, 2^W additions and comparisons, and one stored bit a state, from which the
//! best path is traced back at the end.
//!
//! **Nearest of three.** Levels rise with the phase. Let j be the last cell whose first level is
//! ≤ x. For any offset the level of cell j − 1 is ≤ x and that of cell j + 1 is > x, so every other
//! cell is farther away than one of j − 1, j, j + 1.
//!
//! **Integers.** Metrics are 16-bit with saturation: the same path on every machine and every
//! vector width. A distance is min(|x − level|, cap)²·2^(2·shift)/2^15, the shift chosen for each
//! rate so that a typical distance is about 150 and rounding costs less than 0.01 dB. Subtracting
//! the least distance of a weight, or the least metric of all states, changes no decision; the
//! first keeps an outlier from saturating all metrics at once, the second is done every
//! [`BLOCK`] weights.
//!
//! **The start.** The register starts at 0, so after t weights the state is the number that the
//! first t path bits spell, and only states below 2^t can be reached. The first W − 1 steps grow
//! that set; the trace-back reads those bits directly from the state.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

use super::trellis::Trellis;
use crate::{Control, Result};

/// Weights whose distances are computed ahead of their steps: a distance stored a moment ago at
/// another alignment stalls the load that reads it (measured: 30 % of the search).
pub const BLOCK: usize = 8;

/// Positions behind the end of a distance array that repeat its start, so that sixteen positions
/// are one load wherever they begin.
const WRAP: usize = 16;

/// The vector unit a search runs on. Every choice finds the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// Plain Rust, for any machine.
    Portable,
    /// 256-bit vectors of x86-64.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Lanes {
    /// The best that this machine has.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            return Self::Avx2;
        }
        Self::Portable
    }
}

/// What a search reads and never writes: one for each code, shared by all threads.
#[derive(Debug)]
pub struct SearchTables<'t> {
    trellis: &'t Trellis,
    lanes: Lanes,
    /// Where the sixteen registers with this upper part begin, as a position.
    spread: Vec<u8>,
    /// `level` by cell and position.
    levels: Vec<i16>,
    /// The first level of each cell.
    first: Vec<i16>,
    /// The last cell that begins at or below the start of each bin of 16 level units.
    cell_of_bin: Vec<u8>,
    /// log2 of the factor on |x − level|, and the largest difference that it leaves in 16 bits.
    shift: u32,
    cap: u16,
}

impl<'t> SearchTables<'t> {
    /// The tables of a code, for the given lanes.
    pub fn new(trellis: &'t Trellis, lanes: Lanes) -> Self {
        let code = trellis.code;
        let cells = 1usize << (code.bits - 1);
        let positions = 1u32 << code.offset_bits;
        let spread = (0..1u32 << (code.window - 4))
            .map(|hi| code.position(hi << 4) as u8)
            .collect();
        let levels = (0..cells)
            .flat_map(|cell| {
                (0..positions).map(move |p| {
                    trellis.levels[cell << code.offset_bits | code.offset_at(p) as usize]
                })
            })
            .collect();
        let first: Vec<i16> = (0..cells)
            .map(|cell| trellis.levels[cell << code.offset_bits])
            .collect();
        let cell_of_bin = (0..1 << 12)
            .map(|bin| {
                let start = (bin << 4) - (1 << 15);
                first
                    .partition_point(|&f| i32::from(f) <= start)
                    .saturating_sub(1) as u8
            })
            .collect();
        let shift = code.bits.saturating_sub(2);
        Self {
            trellis,
            lanes,
            spread,
            levels,
            first,
            cell_of_bin,
            shift,
            cap: (i16::MAX as u16) >> shift,
        }
    }

    /// The code these tables are of.
    pub fn trellis(&self) -> &'t Trellis {
        self.trellis
    }

    /// Turn a weight, in level units, into a target of the search.
    ///
    /// Beyond the outermost level by more than the metric can tell apart, every level would look
    /// equally far; such a weight aims at the place from which the outermost is still the nearest.
    pub fn target(&self, level_units: f32) -> i16 {
        let outermost = f32::from(self.trellis.levels[self.trellis.levels.len() - 1]);
        let bound = (outermost + f32::from(self.cap / 2)).min(f32::from(i16::MAX));
        level_units.clamp(-bound, bound).round_ties_even() as i16
    }

    fn positions(&self) -> usize {
        1 << self.trellis.code.offset_bits
    }

    /// The last cell that begins at or below `x`, or the first of all.
    fn cell_of(&self, x: i16) -> usize {
        let mut cell = usize::from(self.cell_of_bin[(i32::from(x) + (1 << 15)) as usize >> 4]);
        while cell + 1 < self.first.len() && self.first[cell + 1] <= x {
            cell += 1;
        }
        cell
    }

    /// The cells among which the nearest level to `x` lies, whatever the offset.
    fn candidates(&self, x: i16) -> std::ops::RangeInclusive<usize> {
        let cell = self.cell_of(x);
        cell.saturating_sub(1)..=(cell + 1).min(self.first.len() - 1)
    }

    /// The nearest of a cell's levels at this offset: (cell, level); the lower one in a tie.
    fn nearest(&self, x: i16, offset: usize) -> (u8, i16) {
        self.candidates(x)
            .map(|cell| {
                let level = self.trellis.levels[cell << self.trellis.code.offset_bits | offset];
                (cell as u8, level)
            })
            .min_by_key(|(_, level)| (i32::from(x) - i32::from(*level)).unsigned_abs())
            .unwrap_or_default()
    }
}

/// A search's own memory, and after [`run`](Self::run) what it found.
#[derive(Debug)]
pub struct Search<'s> {
    tables: &'s SearchTables<'s>,
    metrics: Vec<u16>,
    next_metrics: Vec<u16>,
    distances: Vec<u16>,
    decisions: Vec<u32>,
    /// Path bits of the stream last searched, one a byte.
    pub path: Vec<u8>,
    /// Its cells.
    pub cells: Vec<u8>,
    /// Its levels, which are what a decoder will find.
    pub levels: Vec<i16>,
}

impl<'s> Search<'s> {
    /// Memory for searches with these tables.
    pub fn new(tables: &'s SearchTables<'s>) -> Self {
        let states = tables.trellis.code.states();
        Self {
            tables,
            metrics: vec![0; states],
            next_metrics: vec![0; states],
            distances: vec![0; BLOCK * (tables.positions() + WRAP)],
            decisions: Vec::new(),
            path: Vec::new(),
            cells: Vec::new(),
            levels: Vec::new(),
        }
    }

    /// Find the path nearest to `targets` (see [`SearchTables::target`]); leaves it in `path`,
    /// `cells` and `levels`.
    ///
    /// Time O(n·2^W), memory n·2^(W−1) bits.
    pub fn run(&mut self, targets: &[i16], control: &Control) -> Result<()> {
        let free = self.tables.trellis.code.window as usize - 1;
        let words = self.metrics.len() / 32;
        self.decisions
            .resize(targets.len().saturating_sub(free) * words, 0);
        self.metrics[0] = 0;
        let stride = self.tables.positions() + WRAP;
        for (block, targets) in targets.chunks(BLOCK).enumerate() {
            if block % 64 == 0 {
                control.check()?;
            }
            for (x, distances) in targets.iter().zip(self.distances.chunks_exact_mut(stride)) {
                fill_distances(self.tables, *x, distances);
            }
            for i in 0..targets.len() {
                let t = block * BLOCK + i;
                let distances = i * stride..(i + 1) * stride;
                if t < free {
                    self.grow(t, distances);
                } else {
                    let at = (t - free) * words;
                    add_compare_select(
                        self.tables,
                        &self.distances[distances],
                        &self.metrics,
                        &mut self.next_metrics,
                        &mut self.decisions[at..at + words],
                    );
                }
                std::mem::swap(&mut self.metrics, &mut self.next_metrics);
            }
            let reached = 1 << (block * BLOCK + targets.len()).min(free);
            rebase(&mut self.metrics[..reached]);
        }
        self.trace_back(targets);
        Ok(())
    }

    /// A step of the start: state n came from n/2 and its register is n.
    fn grow(&mut self, t: usize, distances: std::ops::Range<usize>) {
        let distances = &self.distances[distances];
        for n in 0..2usize << t {
            let position = usize::from(self.tables.spread[n >> 4]) + (n & 15);
            self.next_metrics[n] = self.metrics[n >> 1].saturating_add(distances[position]);
        }
        rebase(&mut self.next_metrics[..2 << t]);
    }

    fn trace_back(&mut self, targets: &[i16]) {
        let trellis = self.tables.trellis;
        let free = trellis.code.window as usize - 1;
        let states = self.metrics.len();
        let reached = 1usize << targets.len().min(free);
        let mut state = 0;
        for (n, metric) in self.metrics[..reached].iter().enumerate() {
            if *metric < self.metrics[state] {
                state = n;
            }
        }
        for out in [&mut self.path, &mut self.cells] {
            out.clear();
            out.resize(targets.len(), 0);
        }
        self.levels.clear();
        self.levels.resize(targets.len(), 0);
        for t in (0..targets.len()).rev() {
            let register = match t.checked_sub(free) {
                Some(step) => {
                    let word = self.decisions[step * (states / 32) + state / 32];
                    // A set bit chose the register whose oldest bit is 0.
                    let oldest = !(word >> (state % 32)) as usize & 1;
                    state | (oldest * states)
                }
                None => state,
            };
            self.path[t] = register as u8 & 1;
            let offset = usize::from(trellis.offsets[register]);
            (self.cells[t], self.levels[t]) = self.tables.nearest(targets[t], offset);
            state = register >> 1;
        }
    }
}

/// Subtract the least metric from all.
fn rebase(metrics: &mut [u16]) {
    let least = metrics.iter().copied().min().unwrap_or(0);
    for metric in metrics {
        *metric -= least;
    }
}

/// The distance of a weight to the nearest level at each position, less the least of them.
fn fill_distances(tables: &SearchTables<'_>, x: i16, out: &mut [u16]) {
    let positions = tables.positions();
    match tables.lanes {
        Lanes::Portable => portable::distances(tables, x, &mut out[..positions]),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Lanes::Avx2` is only chosen where the machine has it, and every code has a
        // multiple of 16 positions (s ≥ 4).
        Lanes::Avx2 => unsafe { avx2::distances(tables, x, &mut out[..positions]) },
    }
    out.copy_within(..WRAP, positions);
}

/// One step of the search: from the metrics of all states to those after one more weight.
fn add_compare_select(
    tables: &SearchTables<'_>,
    distances: &[u16],
    metrics: &[u16],
    next: &mut [u16],
    decisions: &mut [u32],
) {
    match tables.lanes {
        Lanes::Portable => {
            portable::add_compare_select(&tables.spread, distances, metrics, next, decisions);
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Lanes::Avx2` is only chosen where the machine has it; the slices are those of
        // one code, as `avx2` states.
        Lanes::Avx2 => unsafe {
            avx2::add_compare_select(&tables.spread, distances, metrics, next, decisions);
        },
    }
}

#[cfg(test)]
mod tests;
