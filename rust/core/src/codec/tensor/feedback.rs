//! Trellis codes with errors fed back against the second moment of a layer's inputs: the vectors of
//! one input after the other, as [`codec::feedback`](crate::codec::feedback) says.
//!
//! A *vector* here is what one input is multiplied by, a stored row. Streams are whole vectors or
//! pieces of one; where vectors are short, several make a stream. Then those of a stream are coded
//! together, and feedback among them goes as if each hit its target: the stream's errors count by the
//! block of H = U·D·Uᵀ that is theirs, and everything before and after is exact all the same.
//!
//! A chain's register runs on from one stream to the next. As a stream must be final before the
//! target of the next is known, each is searched alone from where the register was left: a start
//! costs it some of the choice that its first weights would have, 0.1 dB at 384 outputs.

use std::ops::Range;

use super::bytes::{header_len, trellis_header};
use super::encode::{TrellisParams, tables};
use super::exceptions::Exceptions;
use super::fit::{Fit, dot};
use super::goal::{Budget, Goal};
use super::purse::{Allotment, Purse, Spread, grid, noises};
use super::streams::{Starts, Streams};
use super::{Axes, CompressedTensor, Energy, LEAST, Payload, kept_as_it_is, weight_count};
use crate::codec::bitstream::{Writer, pack, packed_len};
use crate::codec::decode::Unit;
use crate::codec::element::{Element, PowerOfTwo};
use crate::codec::feedback::{Factor, Finished};
use crate::codec::hadamard::Incoherence;
use crate::codec::layout::Layout;
use crate::codec::rate::{Source, rate_at, slope};
use crate::codec::scale::{ScaleGrid, ZERO_ROW};
use crate::codec::trellis::HALF_BITS;
use crate::codec::viterbi::{Lanes, Search, SearchTables};
use crate::{Control, Error, ErrorKind, Result};

/// What a layer's inputs are like.
#[derive(Clone, Copy, Debug)]
pub struct SecondMoment<'a, H> {
    /// H = E[x·xᵀ], (inputs, inputs) in C order; any positive multiple of it says the same.
    pub matrix: &'a [H],
    /// What is added to its diagonal, as a part of the diagonal's mean.
    pub damping: f64,
    /// The axis of the weights that has the inputs, 0 or 1.
    pub input_axis: usize,
}

/// Vectors whose targets are worked out together.
const TOGETHER: usize = 64;

/// Numbers of the scale grid kept free for targets that are larger than their weights: an octave and
/// a half, as a target is a vector with the errors of others added.
const LARGER: u8 = 8;

/// Encodings that are made at most, each with more room for larger scales.
const ATTEMPTS: usize = 3;

/// The slope of error over bits is worked out again when a part of the streams is coded.
const AGAIN: usize = 16;

impl CompressedTensor {
    /// Compress the weights of a layer so that its outputs are missed by as little as possible.
    ///
    /// Codes are stored input by input. Time and memory are those of [`compress`](Self::compress),
    /// and the factorisation of an n×n matrix in `f64`, and n/2 multiply-adds a weight, for n inputs.
    /// The result does not depend on the number of threads or the machine.
    ///
    /// # Errors
    /// As [`compress`](Self::compress) and [`Factor::new`]; and [`ErrorKind::InvalidArgument`] unless
    /// there are two axes and bits are all that is asked for.
    pub fn compress_for<T: Element, H: Element>(
        weights: &[T],
        shape: &[usize],
        params: &TrellisParams,
        moment: SecondMoment<'_, H>,
        control: &Control,
    ) -> Result<Self> {
        let &[rows, columns] = shape else {
            return Err(invalid(format!(
                "second_moment with weights of shape {shape:?}: two axes are accepted"
            )));
        };
        if weight_count(shape)? != weights.len() {
            return Err(invalid(format!(
                "shape {shape:?} does not have {} weights",
                weights.len()
            )));
        }
        params.validate()?;
        let Goal::Bits(bits) = params.goal else {
            return Err(beside("target_sqnr_db"));
        };
        if params.keep_zeros {
            return Err(beside("sparsity"));
        }
        if params.max_error.is_some() {
            return Err(beside("max_error"));
        }
        let (inputs, outputs, axes) = match moment.input_axis {
            0 => (rows, columns, Axes::InOrder),
            1 => (columns, rows, Axes::Swapped),
            other => return Err(invalid(format!("input_axis={other}: 0 and 1 are accepted"))),
        };
        let exponent = crate::codec::element::exponent(weights, control)?;
        if weights.is_empty() {
            return Ok(Self::plain(shape, T::DTYPE, Payload::Zeros, Energy::default()));
        }
        let factor = Factor::new(moment.matrix, inputs, moment.damping, control)?;
        let Some(exponent) = exponent else {
            return Ok(Self::plain(shape, T::DTYPE, Payload::Zeros, Energy::default()));
        };
        if weights.len() < LEAST {
            let (payload, energy) = kept_as_it_is(weights);
            return Ok(Self::plain(shape, T::DTYPE, payload, energy));
        }
        let matrix = Matrix {
            weights,
            inputs,
            outputs,
            axes,
            normalise: PowerOfTwo::new(-exponent),
        };
        let (streams, energy) = encode(&matrix, exponent, params, bits, &factor, control)?;
        // Where nothing is worth a bit, there is no code.
        let payload = match streams.rates.iter().all(|rate| *rate == 0) {
            true => Payload::Zeros,
            false => Payload::Trellis(streams),
        };
        let axes = match payload {
            Payload::Trellis(_) => axes,
            _ => Axes::InOrder,
        };
        Ok(Self {
            axes,
            ..Self::plain(shape, T::DTYPE, payload, energy)
        })
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

fn beside(argument: &str) -> Error {
    invalid(format!(
        "{argument} and second_moment: one of the two is accepted"
    ))
}

/// Weights in the order in which they are stored: the vectors of one input after the other.
struct Matrix<'a, T> {
    weights: &'a [T],
    inputs: usize,
    outputs: usize,
    axes: Axes,
    normalise: PowerOfTwo,
}

impl<T: Element> Matrix<'_, T> {
    /// The vectors of some inputs, normalised.
    fn load(&self, inputs: Range<usize>, out: &mut Vec<f32>) {
        out.clear();
        let value = |weight: &T| self.normalise.times(weight.to_f64()) as f32;
        if self.axes == Axes::InOrder {
            let weights = inputs.start * self.outputs..inputs.end * self.outputs;
            out.extend(self.weights[weights].iter().map(value));
            return;
        }
        out.resize(inputs.len() * self.outputs, 0.0);
        for (output, row) in self.weights.chunks_exact(self.inputs).enumerate() {
            for (place, weight) in row[inputs.clone()].iter().enumerate() {
                out[place * self.outputs + output] = value(weight);
            }
        }
    }
}

/// Streams that are coded before the next target is known: the pieces of a vector, or the one of
/// several vectors.
#[derive(Clone, Debug)]
struct Step {
    inputs: Range<usize>,
    streams: Range<usize>,
}

/// The steps of a layout whose rows are vectors of so many outputs.
fn steps(layout: &Layout, outputs: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let (mut input, mut first) = (0, 0);
    for stream in 0..layout.len() {
        let end = layout.stream(stream).end;
        if end.is_multiple_of(outputs) {
            steps.push(Step {
                inputs: input..end / outputs,
                streams: first..stream + 1,
            });
            (input, first) = (end / outputs, stream + 1);
        }
    }
    steps
}

/// Blocks of about [`TOGETHER`] inputs.
fn blocks(steps: &[Step]) -> Vec<&[Step]> {
    let mut blocks = Vec::new();
    let mut rest = steps;
    while let Some(first) = rest.first() {
        let fits = |step: &&Step| step.inputs.end - first.inputs.start <= TOGETHER;
        let count = rest.iter().take_while(fits).count().max(1);
        let block;
        (block, rest) = rest.split_at(count);
        blocks.push(block);
    }
    blocks
}

/// What a squared error in the vectors of a step counts: the mean of its inputs' D and, as the
/// errors of the earlier are not fed back to the later, of what they add to those.
fn weight(factor: &Factor, inputs: &Range<usize>) -> f64 {
    let of = |from: usize| -> f64 {
        let later = (from + 1..inputs.end)
            .map(|to| factor.pivot(to) * factor.feedback(from, to).powi(2));
        factor.pivot(from) + later.sum::<f64>()
    };
    inputs.clone().map(of).sum::<f64>() / inputs.len() as f64
}

/// What each stream has to code.
fn sources<T: Element>(
    matrix: &Matrix<'_, T>,
    layout: &Layout,
    blocks: &[&[Step]],
    factor: &Factor,
    control: &Control,
) -> Result<Vec<Source>> {
    use rayon::prelude::*;
    let of_block = |weights: &mut Vec<f32>, block: &&[Step]| {
        control.check()?;
        let first = block[0].inputs.start;
        matrix.load(first..block[block.len() - 1].inputs.end, weights);
        let mut sources = Vec::new();
        for step in *block {
            let weight = weight(factor, &step.inputs);
            for stream in step.streams.clone() {
                let at = layout.stream(stream);
                let origin = first * matrix.outputs;
                let values = &weights[at.start - origin..at.end - origin];
                sources.push(Source {
                    len: at.len(),
                    variance: dot(values, values) / at.len() as f64,
                    weight,
                });
            }
        }
        Ok(sources)
    };
    let sources = blocks.par_iter().map_init(Vec::new, of_block);
    Ok(sources.collect::<Result<Vec<_>>>()?.concat())
}

/// Codes of all streams, within `bits` a weight in all.
fn encode<T: Element>(
    matrix: &Matrix<'_, T>,
    exponent: i32,
    params: &TrellisParams,
    bits: f64,
    factor: &Factor,
    control: &Control,
) -> Result<(Streams, Energy)> {
    let stored = [matrix.inputs, matrix.outputs];
    let layout = Layout::new(&stored);
    let steps = steps(&layout, matrix.outputs);
    let blocks = blocks(&steps);
    let sources = sources(matrix, &layout, &blocks, factor, control)?;
    let header = header_len(&stored, matrix.axes) + trellis_header(params.seed);
    let weights = matrix.weights.len();
    let purse = Purse::new(Budget::All(bits), weights, weights, 0);
    let incoherence = params
        .seed
        .map(|seed| Incoherence::new(seed, layout.longest()));
    let mut spread = Spread {
        below: None,
        larger: LARGER,
    };
    let mut attempt = 1;
    loop {
        let allotment = purse.allot(&layout, &sources, params.window, spread, header)?;
        let plan = Plan::new(&sources, &allotment, spread, params.window)?;
        let encoder = Encoder {
            matrix,
            layout,
            sources: &sources,
            factor,
            plan: &plan,
            incoherence: incoherence.as_ref(),
        };
        let coded = encoder.run(&blocks, params.window, allotment.codes, control)?;
        let missing = plan.scales.start.saturating_sub(coded.largest);
        if missing > 1 && attempt < ATTEMPTS {
            spread.larger = spread.larger.saturating_add(missing.saturating_add(4));
            attempt += 1;
            continue;
        }
        let streams = Streams {
            exponent: exponent as i16,
            window: params.window,
            seed: params.seed,
            grid: plan.grid,
            scales: coded.scales,
            rates: coded.rates,
            path: coded.path.into(),
            cells: coded.cells.into(),
            mask: None,
            exceptions: Exceptions::default(),
            starts: Starts::default(),
        };
        return Ok((streams, coded.energy));
    }
}

/// What the streams may choose from: what was paid for.
struct Plan {
    grid: ScaleGrid,
    /// Scale numbers.
    scales: Range<u8>,
    /// Half bits but 0.
    rates: Range<u8>,
    /// By half bits; infinite for those that are not among the rates.
    noise: Vec<f64>,
    tables: Vec<Option<SearchTables<'static>>>,
}

impl Plan {
    fn new(
        sources: &[Source],
        allotment: &Allotment,
        spread: Spread,
        window: u32,
    ) -> Result<Self> {
        let grid = grid(sources, &allotment.rates, spread);
        let coded = sources.iter().zip(&allotment.rates);
        let numbers: Vec<u8> = coded
            .filter(|(_, rate)| **rate > 0)
            .map(|(source, _)| grid.nearest(source.variance.sqrt()))
            .collect();
        let smallest = numbers.iter().copied().max().unwrap_or(0);
        // One number below the smallest; all others that the bits can say, but the mark, above.
        let end = smallest.saturating_add(2).min(ZERO_ROW);
        let many = (1u32 << allotment.scale_bits) - 1;
        let start = u32::from(end).saturating_sub(many) as u8;
        let rates = allotment.rates.iter().copied().filter(|rate| *rate > 0);
        let lowest = rates.clone().min().unwrap_or(1);
        let highest = rates.max().unwrap_or(lowest);
        // What the bits can say beyond these, to either side.
        let many = 1u8 << allotment.rate_bits;
        let below = (many - (highest - lowest + 1)) / 2;
        let lowest = lowest.saturating_sub(below).max(1);
        let rates = lowest..(lowest + many).min(*HALF_BITS.end() as u8 + 1);
        let mut noise = noises(window)?;
        noise.truncate(usize::from(rates.end));
        noise[1..usize::from(rates.start)].fill(f64::INFINITY);
        let tables = tables(&rates.clone().collect::<Vec<u8>>(), window)?;
        Ok(Self {
            grid,
            scales: start..end,
            rates,
            noise,
            tables,
        })
    }
}

/// What coding reads.
struct Encoder<'a, T> {
    matrix: &'a Matrix<'a, T>,
    layout: Layout,
    sources: &'a [Source],
    factor: &'a Factor,
    plan: &'a Plan,
    incoherence: Option<&'a Incoherence>,
}

/// What has been coded.
#[derive(Default)]
struct Coded {
    scales: Vec<u8>,
    rates: Vec<u8>,
    path: Vec<u8>,
    cells: Vec<u8>,
    energy: Energy,
    /// The number of the largest scale that would have been best.
    largest: u8,
}

/// A chain whose end is not reached.
#[derive(Default)]
struct Chain {
    register: usize,
    /// Path bits, one a byte.
    path: Vec<u8>,
    /// The cells of each stream, and the bits of one.
    cells: Vec<(Vec<u8>, u32)>,
}

/// Memory of the search.
struct Workspace {
    search: Search,
    targets: Vec<i16>,
    levels: Vec<f32>,
    chain: Chain,
}

/// Bits that are left, and how they are spent.
struct Spending {
    left: f64,
    slope: f64,
    /// The stream before which the slope is worked out again.
    again: usize,
}

impl<T: Element> Encoder<'_, T> {
    fn run(
        &self,
        blocks: &[&[Step]],
        window: u32,
        budget: f64,
        control: &Control,
    ) -> Result<Coded> {
        let Matrix {
            inputs, outputs, ..
        } = *self.matrix;
        let mut finished = Finished::new(Unit::detect(), inputs, outputs);
        let mut work = Workspace {
            search: Search::new(window, Lanes::detect()),
            targets: Vec::new(),
            levels: Vec::new(),
            chain: Chain::default(),
        };
        let mut coded = Coded {
            largest: u8::MAX,
            ..Coded::default()
        };
        let mut spending = Spending {
            left: budget,
            slope: 0.0,
            again: 0,
        };
        let (mut weights, mut values, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for block in blocks {
            let first = block[0].inputs.start;
            let end = block[block.len() - 1].inputs.end;
            self.matrix.load(first..end, &mut weights);
            let mut targets = finished.targets(self.factor, first..end, &weights, control)?;
            for step in *block {
                let weights = &weights[(step.inputs.start - first) * outputs..];
                let weights = &weights[..step.inputs.len() * outputs];
                values.resize(weights.len(), 0.0);
                let vectors = weights.chunks_exact(outputs).zip(values.chunks_exact_mut(outputs));
                for (input, (weights, values)) in step.inputs.clone().zip(vectors) {
                    finished.target(&mut targets, input, values);
                    // As if it hit its target, until that is known better.
                    subtract(weights, values, &mut errors);
                    finished.set(input, &errors);
                }
                let mut rest = &mut values[..];
                for stream in step.streams.clone() {
                    let own;
                    (own, rest) = rest.split_at_mut(self.sources[stream].len);
                    self.stream(stream, own, &mut spending, &mut work, &mut coded, control)?;
                }
                let vectors = weights.chunks_exact(outputs).zip(values.chunks_exact(outputs));
                for (input, (weights, values)) in step.inputs.clone().zip(vectors) {
                    subtract(weights, values, &mut errors);
                    coded.energy.signal += dot(weights, weights);
                    coded.energy.error += dot(&errors, &errors);
                    finished.set(input, &errors);
                }
                control.advance(weights.len() as u64);
            }
        }
        Ok(coded)
    }

    /// Code a stream's targets, and put in their place what a decoder will find.
    fn stream(
        &self,
        stream: usize,
        values: &mut [f32],
        spending: &mut Spending,
        work: &mut Workspace,
        coded: &mut Coded,
        control: &Control,
    ) -> Result<()> {
        control.check()?;
        if let Some(incoherence) = self.incoherence {
            incoherence.forward(values);
        }
        let variance = dot(values, values) / values.len() as f64;
        let rate = self.rate(stream, variance, spending);
        match &self.plan.tables[usize::from(rate)] {
            Some(tables) => {
                let number = self.search(tables, variance.sqrt(), values, work, coded, control)?;
                coded.scales.push(number);
                if let Some(incoherence) = self.incoherence {
                    incoherence.inverse(values);
                }
            }
            None => {
                values.fill(0.0);
                coded.scales.push(ZERO_ROW);
                work.chain.cells.push((Vec::new(), 0));
            }
        }
        coded.rates.push(rate);
        let chain = self.layout.chain(self.layout.chain_of(stream));
        if stream + 1 == chain.end {
            std::mem::take(&mut work.chain).close(coded);
        }
        Ok(())
    }

    /// Half bits for a stream whose variance is known now.
    fn rate(&self, stream: usize, variance: f64, spending: &mut Spending) -> u8 {
        let noise = &self.plan.noise;
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
        let mut rate = match variance > 0.0 {
            true => rate_at(&source, noise, spending.slope),
            false => 0,
        };
        let half = source.len as f64 / 2.0;
        while rate > 0 && half * f64::from(rate) > spending.left {
            rate = if rate > self.plan.rates.start { rate - 1 } else { 0 };
        }
        spending.left -= half * f64::from(rate);
        rate
    }

    /// Search a stream's values, and put in their place the levels found, scaled; gives the number of
    /// the scale.
    fn search(
        &self,
        tables: &SearchTables<'_>,
        deviation: f64,
        values: &mut [f32],
        work: &mut Workspace,
        coded: &mut Coded,
        control: &Control,
    ) -> Result<u8> {
        let Plan { grid, scales, .. } = self.plan;
        let mut number = |deviation: f64| {
            let best = grid.nearest(deviation);
            coded.largest = coded.largest.min(best);
            best.clamp(scales.start, scales.end - 1)
        };
        let inverse = 1.0 / grid.scale(number(deviation));
        work.targets.clear();
        let targets = values.iter().map(|value| tables.target(value * inverse));
        work.targets.extend(targets);
        let chain = &mut work.chain;
        work.search.start(chain.register);
        work.search.advance(tables, &work.targets, control)?;
        work.search.finish();
        let mut cells = Vec::with_capacity(values.len());
        tables.choose(
            &mut chain.register,
            &work.search.path,
            &work.targets,
            &mut cells,
            &mut work.levels,
        );
        chain.path.extend_from_slice(&work.search.path);
        chain.cells.push((cells, tables.trellis().code.cell_bits()));
        let number = number(Fit::of(values, &work.levels).scale());
        let scale = grid.scale(number);
        for (value, level) in values.iter_mut().zip(&work.levels) {
            *value = level * scale;
        }
        Ok(number)
    }
}

impl Chain {
    /// Write its bits behind those of the chains before.
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
