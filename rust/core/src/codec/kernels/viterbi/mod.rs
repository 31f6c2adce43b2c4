//! The search: the path through the trellis whose levels lie nearest to a chain's weights.
//!
//! Viterbi's algorithm over 2^(W−1) states with two branches in and two out, whatever the rate: a
//! branch fixes the offsets of a step's weights, and the best cell for an offset is the nearest of
//! three. So a weight costs 2^s distances. A step costs 2^W additions and comparisons, and stores one
//! decision bit for each state. The best path is traced back from these bits.
//!
//! **Nearest of three.** Levels rise with the phase. Let j be the last cell whose first level is
//! ≤ x. For any offset the level of cell j − 1 is ≤ x and that of cell j + 1 is > x, so every other
//! cell is farther away than one of j − 1, j, j + 1.
//!
//! **Integers.** Metrics are 16-bit with saturation: the same path on every machine and every vector
//! width. A distance is min(|x − level|, cap)²·2^(2·shift)/2^15, where the unit of levels and the shift
//! are chosen for each code so that a typical distance is a few units (see [`typical`]). Subtracting
//! the least distance of a weight, or the least metric of all states, changes no decision. The first
//! prevents an outlier from saturating all metrics at once. The second is done every [`BLOCK`] steps.
//!
//! **The start.** The register starts at 0, or at the value after the part coded before: the metric of
//! that state is 0, all others have the largest value. If the first weights are far from every level,
//! saturation may let a path from another state win. That costs accuracy only: the trace-back yields
//! path bits, and [`SearchTables::choose`] runs the register forward from its true start.
//!
//! **Memory.** Survivor paths merge: far enough back, the paths into all states are the same. So the
//! path is traced back when [`ViterbiSearch`] holds the decisions of a block and of [`LOOKAHEAD`]·W
//! more steps; then the block's decisions are dropped. If the paths have not merged by then, the result
//! is still valid, but the register is wrong for W steps, which costs much accuracy. (The textbook's
//! 5·W steps are far too few, because many states are nearly equally good: at W = 16, 32·W lost 0.7 dB,
//! 64·W still 0.15 dB in one chain of eight, 128·W nothing.)

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use crate::codec::trellis::code::Code;
use crate::codec::trellis::tables::Trellis;
use crate::{Control, Result, SimdLevel};

/// Steps whose distances are computed in advance. A load that reads a distance just after it was stored
/// at another alignment stalls (measured: 30 % of the search).
pub const BLOCK: usize = 8;

/// Steps of look-ahead beyond the settled ones, for each bit of the register.
const LOOKAHEAD: usize = 128;

/// Bytes of decisions that are settled at a time, or as many as the look-ahead has if that is more.
/// Those of the narrower windows stay in a second-level cache.
const SETTLED_BYTES: usize = 1 << 18;

/// Steps of a closed chain of which all paths are tried. The register must not hold a longer one more
/// than once, or the search would not know that its bits repeat: W is at most one more than the next
/// number of steps, 16.
const SHORT_CHAIN: usize = 12;

/// Weights at the beginning of a closed chain that are searched once more at its end. Half as many cost
/// 0.004 to 0.01 dB, twice as many gain 0.002 dB.
fn lap(window: u32) -> usize {
    match window {
        ..=8 => 64,
        9..=10 => 96,
        11..=12 => 128,
        _ => 256,
    }
}

/// Attempts to close a chain whose path does not return to where it began.
const ATTEMPTS: usize = 4;

/// The metric of a typical error of a code. With many cells, the outermost cell is hundreds of typical
/// errors wide. The cap on distances must lie far out there, or good and bad paths would have equal
/// metrics (at 8 bits, 16 costs 2 dB). With few cells, 4 costs 0.005 dB, and 128 gains nothing over 16.
fn typical(code: &Code) -> f32 {
    if code.cell_bits() < 7 { 16.0 } else { 4.0 }
}

/// The outermost level in level units; there is room for targets beyond it.
const OUTERMOST: f32 = 28_000.0;

/// Positions after the end of a distance array that repeat its start, so that one load reads a run of
/// registers from any place.
const WRAP: usize = 32;

/// Tables of an axis of the state map.
#[derive(Debug)]
struct AxisTables {
    /// By upper part of the register: the position of the first register of its run.
    spread: Vec<u8>,
    /// Levels by cell and position.
    levels: Vec<i16>,
}

/// The constant tables of a search: one for each code, shared by all threads.
#[derive(Debug)]
pub struct SearchTables<'t> {
    trellis: &'t Trellis,
    axes: Vec<AxisTables>,
    /// Levels by phase.
    levels: Vec<i16>,
    /// The first level of each cell.
    first: Vec<i16>,
    /// The last cell that begins at or below the start of each bin of 16 level units.
    cell_of_bin: Vec<u8>,
    /// Level units a standard deviation.
    unit: f32,
    /// log2 of the factor on |x − level|, and the largest difference that it leaves in 16 bits.
    shift: u32,
    cap: u16,
}

impl<'t> SearchTables<'t> {
    /// The tables of a code.
    pub fn new(trellis: &'t Trellis) -> Self {
        let code = trellis.code;
        let positions = code.positions();
        let outermost = trellis.levels[trellis.levels.len() - 1];
        let typical = (typical(&code) * 32768.0).sqrt() / code.noise.sqrt();
        let unit = (OUTERMOST / outermost).min(typical);
        let shift = (typical / unit).log2().round() as u32;
        let levels: Vec<i16> = trellis
            .levels
            .iter()
            .map(|level| (level * unit).round_ties_even() as i16)
            .collect();
        let first: Vec<i16> = levels
            .iter()
            .copied()
            .step_by(1 << code.offset_bits)
            .collect();
        let axes = (0..code.weights_a_step())
            .map(|axis| AxisTables {
                spread: (0..1u32 << (code.window - code.run_bits()))
                    .map(|hi| code.position(axis, hi << code.run_bits()) as u8)
                    .collect(),
                levels: (0..positions << code.cell_bits())
                    .map(|at| {
                        (at / positions) << code.offset_bits | code.offset_at(axis, at % positions)
                    })
                    .map(|phase| levels[phase as usize])
                    .collect(),
            })
            .collect();
        let cell_of_bin = (0..1 << 12)
            .map(|bin| {
                let start = (bin << 4) - (1 << 15);
                first
                    .partition_point(|&f| i32::from(f) <= start)
                    .saturating_sub(1) as u8
            })
            .collect();
        Self {
            trellis,
            axes,
            levels,
            first,
            cell_of_bin,
            unit,
            shift,
            cap: (i16::MAX as u16) >> shift,
        }
    }

    /// The code of these tables.
    pub fn trellis(&self) -> &'t Trellis {
        self.trellis
    }

    /// The outermost level, in standard deviations.
    pub fn outermost(&self) -> f64 {
        f64::from(self.trellis.levels[self.trellis.levels.len() - 1])
    }

    /// Turn a weight, in standard deviations, into a target of the search.
    ///
    /// A weight far beyond the outermost level would have the capped distance to every level. Its
    /// target is moved to a place from which the outermost level is still the nearest.
    #[inline]
    pub fn target(&self, deviations: f32) -> i16 {
        let outermost = f32::from(self.levels[self.levels.len() - 1]);
        let bound = (outermost + f32::from(self.cap / 2)).min(f32::from(i16::MAX));
        let units = (deviations * self.unit).clamp(-bound, bound);
        // Rounds like `round_ties_even`, but without a library call on targets that lack the
        // instruction: floats between 2^23 and 2^24 are whole numbers.
        const WHOLE: f32 = 12_582_912.0;
        ((units + WHOLE) - WHOLE) as i16
    }

    /// The levels, by position, of the cells that may contain the level nearest to `x`.
    #[inline]
    fn near(&self, axis: usize, x: i16) -> &[i16] {
        let cells = self.candidates(x);
        let positions = self.positions();
        &self.axes[axis].levels[cells.start() * positions..(cells.end() + 1) * positions]
    }

    #[inline]
    fn positions(&self) -> usize {
        self.trellis.code.positions() as usize
    }

    /// The last cell that begins at or below `x`, or the first of all.
    #[inline]
    fn cell_of(&self, x: i16) -> usize {
        let mut cell = usize::from(self.cell_of_bin[(i32::from(x) + (1 << 15)) as usize >> 4]);
        while cell + 1 < self.first.len() && self.first[cell + 1] <= x {
            cell += 1;
        }
        cell
    }

    /// The cells that contain the level nearest to `x`, for any offset.
    #[inline]
    fn candidates(&self, x: i16) -> std::ops::RangeInclusive<usize> {
        let cell = self.cell_of(x);
        cell.saturating_sub(1)..=(cell + 1).min(self.first.len() - 1)
    }

    /// The cell whose level at this offset is nearest to `x`, the lower one in a tie.
    #[inline]
    fn nearest(&self, x: i16, offset: usize) -> usize {
        let level =
            |cell: usize| i32::from(self.levels[cell << self.trellis.code.offset_bits | offset]);
        let miss = |cell: usize| (i32::from(x) - level(cell)).unsigned_abs();
        // Levels rise with the cell: if the cell's is above `x`, so is the next one's.
        let cell = self.cell_of(x);
        if level(cell) > i32::from(x) {
            let lower = cell.saturating_sub(1);
            if miss(lower) <= miss(cell) {
                lower
            } else {
                cell
            }
        } else {
            let upper = (cell + 1).min(self.first.len() - 1);
            if miss(upper) < miss(cell) {
                upper
            } else {
                cell
            }
        }
    }

    /// The best cells for a stream's targets along the path that the search found, by their stored
    /// numbers, and the levels that a decoder will compute. `register` continues from one stream of a chain to the next.
    pub fn choose(
        &self,
        register: &mut usize,
        path: &[u8],
        targets: &[i16],
        cells: &mut Vec<u8>,
        levels: &mut Vec<f32>,
    ) {
        cells.clear();
        cells.resize(targets.len(), 0);
        levels.clear();
        levels.resize(targets.len(), 0.0);
        let code = &self.trellis.code;
        let mask = (1usize << code.window) - 1;
        let group = code.weights_a_step();
        let found = cells.chunks_mut(group).zip(levels.chunks_mut(group));
        for ((bit, targets), (cells, levels)) in path.iter().zip(targets.chunks(group)).zip(found) {
            *register = (*register << 1 | usize::from(*bit)) & mask;
            let found = cells.iter_mut().zip(levels);
            for ((x, offsets), (stored, level)) in
                targets.iter().zip(&self.trellis.offsets).zip(found)
            {
                let offset = usize::from(offsets[*register]);
                let cell = self.nearest(*x, offset);
                *stored = code.stored_cell(cell as u32, offset as u32) as u8;
                *level = self.trellis.levels[cell << code.offset_bits | offset];
            }
        }
    }
}

/// The register before the first step of a closed chain: its last path bits.
pub fn closed_register(path: &[u8], window: u32) -> usize {
    let last = path.iter().rev().cycle().take(window as usize);
    let bits = last.zip(0..window).map(|(bit, at)| usize::from(*bit) << at);
    bits.sum()
}

/// The state before a step, by its decisions.
#[inline]
fn before(state: usize, decisions: &[u32], window: u32) -> usize {
    let oldest = !(decisions[state / 32] >> (state % 32)) as usize & 1;
    (state | oldest << (window - 1)) >> 1
}

/// No state: all are below 2^15.
const NO_STATE: u16 = u16::MAX;

/// A Viterbi search with its memory, which is reused from chain to chain.
#[derive(Debug)]
pub struct ViterbiSearch {
    simd: SimdLevel,
    window: u32,
    metrics: Vec<u16>,
    next_metrics: Vec<u16>,
    distances: Vec<u16>,
    /// For each step that is not settled yet one bit a state: set if the oldest bit is 0.
    decisions: Vec<u32>,
    /// The path bits that are settled, one a byte; after [`finish`](Self::finish) the whole chain's.
    pub path: Vec<u8>,
    /// The states of the path that a closed chain was last traced back along.
    states: Vec<u16>,
}

impl ViterbiSearch {
    /// Memory for searches with a register of `window` bits.
    pub fn new(window: u32, simd: SimdLevel) -> Self {
        let states = 1 << (window - 1);
        Self {
            simd,
            window,
            metrics: vec![0; states],
            next_metrics: vec![0; states],
            distances: Vec::new(),
            decisions: Vec::new(),
            path: Vec::new(),
            states: Vec::new(),
        }
    }

    /// Begin a chain, or a part of one, with this register: 0 at the start of a chain.
    pub fn start(&mut self, register: usize) {
        let states = self.metrics.len();
        self.metrics.fill(u16::MAX);
        self.metrics[register % states] = 0;
        self.decisions.clear();
        self.path.clear();
    }

    /// Continue with a stream's targets (see [`SearchTables::target`]), for the code of `tables`.
    ///
    /// Time O(n·(2^s + 2^W)).
    pub fn advance(
        &mut self,
        tables: &SearchTables<'_>,
        targets: &[i16],
        control: &Control,
    ) -> Result<()> {
        debug_assert_eq!(tables.trellis.code.window, self.window);
        let words = self.metrics.len() / 32;
        let ahead = LOOKAHEAD * self.window as usize;
        let settled = (SETTLED_BYTES / (4 * words)).max(ahead);
        let full = (settled + ahead) * words;
        let group = tables.trellis.code.weights_a_step();
        let stride = tables.positions() + WRAP;
        self.distances.resize(BLOCK * group * stride, 0);
        for block in targets.chunks(BLOCK * group) {
            if self.decisions.len() >= full {
                control.check()?;
                self.trace_back(settled, self.best());
            }
            let steps = block.len().div_ceil(group);
            // The last step may lack its second weight. Any distances serve for a missing weight.
            let distances = &mut self.distances[..steps * group * stride];
            distances[block.len() * stride..].fill(0);
            fill_distances(
                self.simd,
                tables,
                block,
                &mut distances[..block.len() * stride],
            );
            let at = self.decisions.len();
            self.decisions.resize(at + steps * words, 0);
            let steps = Steps {
                run_bits: tables.trellis.code.run_bits(),
                axes: &tables.axes,
                distances,
                stride,
            };
            let decisions = &mut self.decisions[at..];
            let swapped = add_compare_select(
                self.simd,
                &steps,
                &mut self.metrics,
                &mut self.next_metrics,
                decisions,
            );
            if swapped {
                std::mem::swap(&mut self.metrics, &mut self.next_metrics);
            }
        }
        Ok(())
    }

    /// End the chain and settle all of its path bits.
    pub fn finish(&mut self) {
        self.trace_back(self.pending(), self.best());
    }

    /// Find the path bits of a closed chain: a tile of whole lanes, whose register begins with its last
    /// path bits (tail-biting).
    ///
    /// The chain is searched from any register, and its first weights, a lap, are searched once more
    /// after its last ones. The path from the second time at the end of the lap back to the first time
    /// there is a whole chain; it is closed if both states are the same. Paths merge far enough back,
    /// so nearly all states at the end lead to one state at the first time. A path back from this state
    /// is therefore closed. (Shao, Lin and Fossorier, *Two decoding algorithms for tailbiting codes*,
    /// 2003, call this the wrap-around Viterbi algorithm.)
    pub fn closed_chain(
        &mut self,
        tables: &SearchTables<'_>,
        targets: &[i16],
        control: &Control,
    ) -> Result<()> {
        let group = tables.trellis.code.weights_a_step();
        let steps = targets.len() / group;
        if steps <= SHORT_CHAIN {
            self.shortest_chain(tables, targets);
            return Ok(());
        }
        let lap = lap(self.window).min(targets.len()) / group * group;
        self.start(0);
        self.metrics.fill(0);
        self.advance(tables, targets, control)?;
        self.advance(tables, &targets[..lap], control)?;
        let lap = lap / group;
        let mut end = self.best();
        self.states.clear();
        self.states.resize(steps, NO_STATE);
        let mut first = end;
        for _ in 0..ATTEMPTS {
            self.trace_lap(lap, end, &mut first);
            if first == end {
                self.path.clear();
                self.path
                    .extend(self.states.iter().map(|state| *state as u8 & 1));
                // The path begins with the step after the lap.
                self.path.rotate_right(lap);
                return Ok(());
            }
            end = first;
        }
        // Any path from a state to itself is a closed chain.
        self.start(end);
        let from_lap = [&targets[lap * group..], &targets[..lap * group]].concat();
        self.advance(tables, &from_lap, control)?;
        self.trace_back(self.pending(), end);
        self.path.rotate_right(lap);
        Ok(())
    }

    /// Trace back from a state after the last pending step to the state after the first `lap` steps, which
    /// becomes `first`. `self.states` has the states of the path traced before; where the two paths meet,
    /// they are the same, and so are their first states.
    fn trace_lap(&mut self, lap: usize, mut state: usize, first: &mut usize) {
        let words = self.metrics.len() / 32;
        let pending = self.decisions[lap * words..].chunks_exact(words);
        for (known, decisions) in self.states.iter_mut().zip(pending).rev() {
            if usize::from(*known) == state {
                return;
            }
            *known = state as u16;
            state = before(state, decisions, self.window);
        }
        *first = state;
    }

    /// The best path of a closed chain so short that the register holds it more than once: all are
    /// tried, at most 2^12.
    fn shortest_chain(&mut self, tables: &SearchTables<'_>, targets: &[i16]) {
        let steps = targets.len() / tables.trellis.code.weights_a_step();
        let (mut cells, mut levels) = (Vec::new(), Vec::new());
        let mut least = f64::INFINITY;
        for bits in 0..1u32 << steps {
            let path: Vec<u8> = (0..steps).map(|step| (bits >> step & 1) as u8).collect();
            let mut register = closed_register(&path, self.window);
            tables.choose(&mut register, &path, targets, &mut cells, &mut levels);
            let misses = targets.iter().zip(&levels);
            let misses = misses.map(|(x, level)| f64::from(f32::from(*x) - level * tables.unit));
            let error: f64 = misses.map(|miss| miss * miss).sum();
            if error < least {
                (least, self.path) = (error, path);
            }
        }
    }

    /// Number of steps that are not settled.
    fn pending(&self) -> usize {
        self.decisions.len() * 32 / self.metrics.len()
    }

    /// The state with the least metric.
    fn best(&self) -> usize {
        let mut state = 0;
        for (n, metric) in self.metrics.iter().enumerate() {
            if *metric < self.metrics[state] {
                state = n;
            }
        }
        state
    }

    /// Settle the path bits of the first `settled` pending steps by the best path to a state.
    fn trace_back(&mut self, settled: usize, mut state: usize) {
        let words = self.metrics.len() / 32;
        let known = self.path.len();
        self.path.resize(known + settled, 0);
        for (step, decisions) in self.decisions.chunks_exact(words).enumerate().rev() {
            if step < settled {
                self.path[known + step] = state as u8 & 1;
            }
            state = before(state, decisions, self.window);
        }
        self.decisions.drain(..settled * words);
    }
}

/// Some steps of the search: the distances of their weights, by axis.
struct Steps<'a> {
    run_bits: u32,
    axes: &'a [AxisTables],
    /// For each step and axis `stride` distances: one for each position, then the first [`WRAP`] again.
    distances: &'a [u16],
    stride: usize,
}

impl Steps<'_> {
    /// The distances of one step after another.
    fn iter(&self) -> std::slice::ChunksExact<'_, u16> {
        self.distances.chunks_exact(self.axes.len() * self.stride)
    }
}

/// For each weight the distance to the nearest level at each position, minus the least distance of the
/// weight.
fn fill_distances(simd: SimdLevel, tables: &SearchTables<'_>, weights: &[i16], out: &mut [u16]) {
    match simd {
        SimdLevel::Portable => portable::distances(tables, weights, out),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token proves that the machine has these instructions, and every code has a
        // multiple of 32 positions (s ≥ 5).
        SimdLevel::Avx2(_) => unsafe { avx2::distances(tables, weights, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Avx512(_) | SimdLevel::Vbmi(_) => unsafe {
            avx512::distances(tables, weights, out)
        },
    }
}

/// Run some steps of the search: compute the metrics of all states after these steps, minus the least
/// metric. Returns the buffer that holds them, which is `next` after an odd number of steps.
fn add_compare_select(
    simd: SimdLevel,
    steps: &Steps<'_>,
    metrics: &mut [u16],
    next: &mut [u16],
    decisions: &mut [u32],
) -> bool {
    match simd {
        SimdLevel::Portable => portable::add_compare_select(steps, metrics, next, decisions),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token proves that the machine has these instructions; the slices are those of
        // one code, as the modules state.
        SimdLevel::Avx2(_) => unsafe { avx2::add_compare_select(steps, metrics, next, decisions) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Avx512(_) | SimdLevel::Vbmi(_) => unsafe {
            avx512::add_compare_select(steps, metrics, next, decisions)
        },
    }
}

#[cfg(test)]
mod tests;
