//! Codes streams one after the other, each for a target that includes the feedback of earlier errors.

use super::clipping::Outliers;
use super::ldl::{Factor, Finished, Targets};
use super::plan::StreamChoices;
use super::steps::Step;
use super::vectors::Vectors;
use crate::codec::encode::fit::{Fit, dot};
use crate::codec::encode::rate::{Source, rate_at, slope};
use crate::codec::encode::tile_search::TileSearch;
use crate::codec::format::exceptions::Exceptions;
use crate::codec::format::layout::Layout;
use crate::codec::format::mask::Mask;
use crate::codec::format::scale::ZERO_ROW;
use crate::codec::format::tensor::Energy;
use crate::codec::kernels::hadamard::Incoherence;
use crate::codec::kernels::viterbi::{SearchTables, ViterbiSearch};
use crate::codec::numbers::bitstream::{Writer, pack, packed_len};
use crate::codec::numbers::element::Element;
use crate::{Control, Result, SimdLevel};

/// The slope of error over bits is worked out again when a part of the streams is coded.
const AGAIN: usize = 16;

/// The constant inputs of coding.
pub struct Coder<'a, T> {
    pub vectors: &'a Vectors<'a, T>,
    pub layout: Layout,
    pub mask: Option<&'a Mask>,
    /// Zeros that are stored as exact weights, not in codes.
    pub apart: &'a Exceptions,
    pub sources: &'a [Source],
    pub factor: &'a Factor,
    pub plan: &'a StreamChoices,
    pub incoherence: Option<&'a Incoherence>,
}

/// The result of coding so far.
#[derive(Default)]
pub struct Coded {
    pub scales: Vec<u8>,
    pub rates: Vec<u8>,
    pub path: Vec<u8>,
    pub cells: Vec<u8>,
    pub energy: Energy,
    /// tr(E·H·Eᵀ) with the damped H.
    pub objective: f64,
    /// The largest ratio of the scale that would have been best to the largest that was paid for.
    pub beyond: f64,
}

/// A chain that is not complete yet.
#[derive(Default)]
struct Chain {
    register: usize,
    /// Path bits, one a byte.
    path: Vec<u8>,
    /// The cells of each stream, and the bits of one.
    cells: Vec<(Vec<u8>, u32)>,
}

/// A stream's variance, and by half bits the noise of its codes and the scale for them.
struct Fitted {
    variance: f64,
    noise: Vec<f64>,
    scales: Vec<f64>,
}

/// Bits that are left, and how they are spent.
struct Spending {
    left: f64,
    slope: f64,
    /// The stream at which the slope is computed again.
    again: usize,
}

/// Memory that is reused from stream to stream.
struct State {
    finished: Finished,
    search: ViterbiSearch,
    /// Targets of the search, and the levels found.
    targets: Vec<i16>,
    levels: Vec<f32>,
    tiles: TileSearch,
    chain: Chain,
    spending: Spending,
    coded: Coded,
}

impl<T: Element> Coder<'_, T> {
    /// Code all steps within `budget` bits.
    pub fn run(
        &self,
        blocks: &[&[Step]],
        window: u32,
        budget: f64,
        control: &Control,
    ) -> Result<Coded> {
        let (inputs, outputs) = (self.vectors.inputs, self.vectors.outputs);
        let simd = SimdLevel::in_use()?;
        let mut state = State {
            finished: Finished::new(simd, inputs, outputs),
            search: ViterbiSearch::new(window, simd),
            targets: Vec::new(),
            levels: Vec::new(),
            tiles: TileSearch::default(),
            chain: Chain::default(),
            spending: Spending {
                left: budget,
                slope: 0.0,
                again: 0,
            },
            coded: Coded::default(),
        };
        let mut weights = Vec::new();
        for block in blocks {
            let first = block[0].inputs.start;
            let all = first..block[block.len() - 1].inputs.end;
            self.vectors.load(all.clone(), &mut weights);
            let finished = &state.finished;
            let mut targets = finished.targets(self.factor, all, &weights, control)?;
            for step in *block {
                let weights = &weights[(step.inputs.start - first) * outputs..];
                let weights = &weights[..step.inputs.len() * outputs];
                self.step(step, weights, &mut targets, &mut state, control)?;
                control.advance(weights.len() as u64);
            }
        }
        Ok(state.coded)
    }

    /// Code the vectors of a step; `weights` are theirs.
    fn step(
        &self,
        step: &Step,
        weights: &[f32],
        targets: &mut Targets,
        state: &mut State,
        control: &Control,
    ) -> Result<()> {
        let outputs = self.vectors.outputs;
        let (mut values, mut errors) = (vec![0.0; weights.len()], Vec::new());
        // Targets before zeros are kept: errors are fed to those, too, and count.
        let mut fed = Vec::with_capacity(weights.len());
        let vectors = weights.chunks_exact(outputs);
        let targeted = vectors.clone().zip(values.chunks_exact_mut(outputs));
        for (input, (weights, values)) in step.inputs.clone().zip(targeted) {
            state.finished.target(targets, input, values);
            fed.extend_from_slice(values);
            self.keep_zeros(input * outputs, values);
            // Assume that the stream hits its target, until its error is known.
            subtract(weights, values, &mut errors);
            state.finished.set(input, &errors);
        }
        let targeted = values.clone();
        let mut rest = &mut values[..];
        for stream in step.streams.clone() {
            let own;
            let at = self.layout.stream(stream);
            (own, rest) = rest.split_at_mut(at.len());
            match self.mask {
                None => self.stream(stream, own, state, control)?,
                Some(mask) => {
                    let values = own.iter().zip(at.clone());
                    let values = values.filter(|(_, at)| mask.contains(*at));
                    let mut coded: Vec<f32> = values.map(|(value, _)| *value).collect();
                    self.stream(stream, &mut coded, state, control)?;
                    mask.spread(at, &coded, own);
                }
            }
        }
        self.keep_zeros(step.inputs.start * outputs, &mut values);
        state.coded.objective += self.objective(step, &fed, &targeted, &values);
        let decoded = vectors.zip(values.chunks_exact(outputs));
        for (input, (weights, values)) in step.inputs.clone().zip(decoded) {
            subtract(weights, values, &mut errors);
            state.coded.energy.signal += dot(weights, weights);
            state.coded.energy.error += dot(&errors, &errors);
            state.finished.set(input, &errors);
        }
        Ok(())
    }

    /// What a step adds to tr(E·H·Eᵀ): Σ D_j·|n_j|² with n_j = e_j + Σ_{i<j} U_ij·e_i. That is target
    /// minus code, and of inputs in the same step, for which the target took none to be left, what
    /// they do leave.
    fn objective(&self, step: &Step, fed: &[f32], targets: &[f32], values: &[f32]) -> f64 {
        let outputs = self.vectors.outputs;
        let (mut left, mut missed) = (Vec::new(), Vec::new());
        subtract(targets, values, &mut left);
        subtract(fed, values, &mut missed);
        let mut sum = 0.0;
        for (place, input) in step.inputs.clone().enumerate() {
            let mut error = missed[place * outputs..][..outputs].to_vec();
            for (before, left) in left.chunks_exact(outputs).take(place).enumerate() {
                let feedback = self.factor.feedback(step.inputs.start + before, input) as f32;
                for (error, left) in error.iter_mut().zip(left) {
                    *error += feedback * left;
                }
            }
            sum += self.factor.pivot(input) * dot(&error, &error);
        }
        sum
    }

    /// Put zeros where a decoder will find them whatever the codes say, among weights from a flat
    /// stored index on.
    fn keep_zeros(&self, start: usize, values: &mut [f32]) {
        let range = start..start + values.len();
        for (place, _) in self.apart.within(range.clone()) {
            values[place] = 0.0;
        }
        if let Some(mask) = self.mask {
            for (at, value) in range.zip(values) {
                if !mask.contains(at) {
                    *value = 0.0;
                }
            }
        }
    }

    /// Code a stream's targets, and replace them by the decoded values.
    fn stream(
        &self,
        stream: usize,
        values: &mut [f32],
        state: &mut State,
        control: &Control,
    ) -> Result<()> {
        control.check()?;
        if let Some(incoherence) = self.incoherence {
            incoherence.forward(values);
        }
        let fitted = self.fitted(values);
        let rate = self.rate(stream, &fitted, &mut state.spending);
        match &self.plan.tables[usize::from(rate)] {
            Some(tables) => {
                let scale = fitted.scales[usize::from(rate)];
                let number = self.search(tables, scale, values, state, control)?;
                state.coded.scales.push(number);
                if let Some(incoherence) = self.incoherence {
                    incoherence.inverse(values);
                }
            }
            None => {
                values.fill(0.0);
                state.coded.scales.push(ZERO_ROW);
                state.chain.cells.push((Vec::new(), 0));
            }
        }
        state.coded.rates.push(rate);
        let chain = self.layout.chain(self.layout.chain_of(stream));
        if stream + 1 == chain.end {
            std::mem::take(&mut state.chain).close(&mut state.coded);
        }
        Ok(())
    }

    /// What the codes of each rate would make of values.
    fn fitted(&self, values: &[f32]) -> Fitted {
        let outliers = Outliers::of(values);
        let mut fitted = Fitted {
            variance: outliers.variance,
            noise: self.plan.noise.clone(),
            scales: vec![0.0; self.plan.noise.len()],
        };
        for rate in self.plan.rates.clone().map(usize::from) {
            if let Some(tables) = &self.plan.tables[rate] {
                let best = outliers.fitted(self.plan.noise[rate], tables.outermost());
                (fitted.noise[rate], fitted.scales[rate]) = (best.noise, best.scale);
            }
        }
        fitted
    }

    /// Half bits for a stream whose variance is known now.
    fn rate(&self, stream: usize, fitted: &Fitted, spending: &mut Spending) -> u8 {
        let (noise, variance) = (&self.plan.noise, fitted.variance);
        let source = Source {
            variance,
            ..self.sources[stream]
        };
        if stream >= spending.again {
            let mut rest = self.sources[stream..].to_vec();
            rest[0] = source;
            spending.slope = slope(&rest, noise, spending.left);
            spending.again = stream + rest.len().div_ceil(AGAIN);
        }
        // A stream of zero weights stays zero, even if feedback makes its targets non-zero. The slope
        // reserves no bits for it, and the other streams would get too few.
        let mut rate = match variance > 0.0 && self.sources[stream].variance > 0.0 {
            true => rate_at(&source, &fitted.noise, spending.slope),
            false => 0,
        };
        let half = source.len as f64 / 2.0;
        while rate > 0 && half * f64::from(rate) > spending.left {
            rate = if rate > self.plan.rates.start {
                rate - 1
            } else {
                0
            };
        }
        spending.left -= half * f64::from(rate);
        rate
    }

    /// Search the codes of a stream's values, and replace the values by the decoded ones. Returns the
    /// number of the scale.
    fn search(
        &self,
        tables: &SearchTables<'_>,
        scale: f64,
        values: &mut [f32],
        state: &mut State,
        control: &Control,
    ) -> Result<u8> {
        let StreamChoices { grid, scales, .. } = self.plan;
        let State {
            search,
            targets,
            levels,
            tiles,
            chain,
            coded,
            ..
        } = state;
        let mut beyond = coded.beyond;
        let mut number = |deviation: f64| {
            let largest = f64::from(grid.scale(scales.start));
            beyond = beyond.max(deviation / largest);
            grid.nearest(deviation).clamp(scales.start, scales.end - 1)
        };
        let assumed = grid.scale(number(scale));
        let levels = match tables.trellis().code.is_tiled() {
            true => {
                tiles.search(search, tables, assumed, values, &mut coded.cells, control)?;
                tiles.levels()
            }
            false => {
                let inverse = 1.0 / assumed;
                targets.clear();
                let wanted = values.iter().map(|value| tables.target(value * inverse));
                targets.extend(wanted);
                search.start(chain.register);
                search.advance(tables, targets, control)?;
                search.finish();
                let mut cells = Vec::with_capacity(values.len());
                tables.choose(
                    &mut chain.register,
                    &search.path,
                    targets,
                    &mut cells,
                    levels,
                );
                chain.path.extend_from_slice(&search.path);
                chain.cells.push((cells, tables.trellis().code.cell_bits()));
                &levels[..]
            }
        };
        let number = number(Fit::of(values, levels).scale());
        coded.beyond = beyond;
        let scale = grid.scale(number);
        for (value, level) in values.iter_mut().zip(levels) {
            *value = level * scale;
        }
        Ok(number)
    }
}

impl Chain {
    /// Append the chain's bits to those of the chains before.
    fn close(self, coded: &mut Coded) {
        let start = coded.path.len();
        coded.path.resize(start + packed_len(self.path.len(), 1), 0);
        pack(&self.path, 1, &mut coded.path[start..]);
        let bits = |(cells, width): &(Vec<u8>, u32)| cells.len() * *width as usize;
        let start = coded.cells.len();
        let bytes = self.cells.iter().map(bits).sum::<usize>().div_ceil(8);
        coded.cells.resize(start + bytes, 0);
        let mut writer = Writer::new(&mut coded.cells[start..]);
        for (cells, width) in &self.cells {
            writer.extend(cells, *width);
        }
        writer.finish();
    }
}

/// a − b.
fn subtract(a: &[f32], b: &[f32], out: &mut Vec<f32>) {
    out.clear();
    out.extend(a.iter().zip(b).map(|(a, b)| a - b));
}
