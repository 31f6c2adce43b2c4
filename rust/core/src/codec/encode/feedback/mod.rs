//! Trellis codes with error feedback against the second moment of a layer's inputs. The vectors of the
//! inputs are coded one after the other, as [`ldl`] explains.
//!
//! A *vector* here is the weights of one input, which are a stored row. A stream is a whole vector or a
//! piece of one. If vectors are short, a stream has several, which are coded together. Feedback within
//! such a stream assumes that each vector hits its target, so its errors count by its block of H =
//! U·D·Uᵀ. Feedback between streams is exact.
//!
//! A chain's register continues from one stream to the next. A stream must be final before the target
//! of the next is known, so each is searched alone, from the register that the stream before left. The
//! first weights of a stream then have fewer states to choose from, which costs 0.1 dB at 384 outputs.

mod clipping;
mod coder;
mod forecast;
mod judge;
mod ldl;
mod plan;
mod steps;
mod vectors;

use coder::Coder;
use forecast::Forecaster;
use judge::Judge;
use ldl::Factor;
use plan::StreamChoices;
use steps::{blocks, sources, steps};
use vectors::Vectors;

use super::bit_budget::{BitBudget, Spread, noises};
use super::compress::Codec;
use super::params::{Budget, Goal, TrellisParams};
use super::rate::{Source, rate_at, slope};
use super::raw::{LEAST, kept_as_it_is};
use super::zero_rows::Kept;
use crate::codec::format::axes::Axes;
use crate::codec::format::bytes::{header_len, trellis_header};
use crate::codec::format::layout::Layout;
use crate::codec::format::streams::{Near, Starts, Streams, coded_lengths};
use crate::codec::format::tensor::{CompressedTensor, Energy, Payload, weight_count};
use crate::codec::kernels::hadamard::Incoherence;
use crate::codec::numbers::element::{Element, PowerOfTwo};
use crate::{Control, Error, ErrorKind, Result, SimdLevel};

/// The second moment of a layer's inputs.
#[derive(Clone, Copy, Debug)]
pub struct SecondMoment<'a, H> {
    /// H = E[x·xᵀ], (inputs, inputs) in C order; any positive multiple gives the same result.
    pub matrix: &'a [H],
    /// Added to its diagonal, relative to the diagonal's mean.
    pub damping: f64,
    /// The axis of the weights that has the inputs, 0 or 1.
    pub input_axis: usize,
}

/// Numbers of the scale grid that are reserved for targets, which may be larger than the weights
/// because they include the errors of others: half an octave on the finest grid.
const LARGER: u8 = 8;

/// How far above the largest scale that was paid for the best scale of a stream may be, as a factor.
const BEYOND: f64 = 1.1;

/// Encodings that are made at most: one, but where targets were larger than that.
const ATTEMPTS: usize = 3;

/// Rounds in which rates and the variances of targets settle.
const ROUNDS: usize = 4;

impl CompressedTensor {
    /// Compress the weights of a layer so that the error of its outputs is as small as possible.
    ///
    /// Codes are stored input by input. For n inputs, time and memory are those of
    /// [`compress`](Self::compress) plus the factorisation of an n×n matrix in `f64` and n/2
    /// multiply-adds a weight. The result does not depend on the number of threads or the machine.
    ///
    /// Plain codes are searched, too, if those for the inputs are not better by far than plain ones could
    /// be expected to be; those with the smaller tr(E·H·Eᵀ) are taken, E the errors of the weights.
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
        let exponent = crate::codec::numbers::element::exponent(weights, control)?;
        if weights.is_empty() {
            return Ok(Self::plain(
                shape,
                T::DTYPE,
                Payload::Zeros,
                Energy::default(),
            ));
        }
        let factor = Factor::new(moment.matrix, inputs, moment.damping, control)?;
        let Some(exponent) = exponent else {
            return Ok(Self::plain(
                shape,
                T::DTYPE,
                Payload::Zeros,
                Energy::default(),
            ));
        };
        if weights.len() < LEAST {
            let (payload, energy) = kept_as_it_is(weights);
            return Ok(Self::plain(shape, T::DTYPE, payload, energy));
        }
        let vectors = Vectors {
            weights,
            inputs,
            outputs,
            axes,
            normalise: PowerOfTwo::new(-exponent),
        };
        let (streams, energy, objective) =
            encode(&vectors, exponent, params, bits, &factor, control)?;
        let judge = Judge {
            vectors: &vectors,
            factor: &factor,
        };
        let objective = judge.undamped(objective, energy.error);
        if judge.in_doubt(objective, energy.signal, bits) {
            let codec = Codec::Trellis(*params);
            let plain = Self::compress(weights, shape, &codec, control)?;
            if judge.objective(&plain, control)? < objective {
                return Ok(plain);
            }
        }
        // Where nothing is worth a bit, there is no code.
        let payload = match streams.rates.iter().all(|rate| *rate == 0) {
            true => Payload::Zeros,
            false => Payload::Trellis(Box::new(streams)),
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

/// Codes of all streams, within `bits` a weight in all; their energy, and tr(E·H·Eᵀ) with the damped H.
fn encode<T: Element>(
    vectors: &Vectors<'_, T>,
    exponent: i32,
    params: &TrellisParams,
    bits: f64,
    factor: &Factor,
    control: &Control,
) -> Result<(Streams, Energy, f64)> {
    let stored = [vectors.inputs, vectors.outputs];
    let layout = Layout::new(&stored);
    let shape = vectors.shape();
    let kept = Kept::new(vectors.weights, &shape, vectors.axes, &layout, control)?;
    let beside = kept.nbytes();
    let (mask, apart) = kept.split();
    let lengths = coded_lengths(&layout, mask.as_ref());
    let steps = steps(&layout, vectors.outputs);
    let blocks = blocks(&steps);
    let sources = sources(vectors, &layout, &lengths, &blocks, factor, control)?;
    let header = header_len(&stored, vectors.axes) + trellis_header(params.seed);
    let weights = vectors.weights.len();
    let coded = lengths.iter().sum();
    let bit_budget = BitBudget::new(Budget::All(bits), weights, coded, beside);
    let simd = SimdLevel::in_use()?;
    let incoherence = params
        .seed
        .map(|seed| Incoherence::new(simd, seed, layout.longest()));
    let mut spread = Spread {
        below: None,
        larger: LARGER,
    };
    let noise = noises(params.codes()?)?;
    let forecaster = Forecaster {
        simd,
        factor,
        steps: &steps,
        sources: &sources,
        noise: &noise,
    };
    let allot = |sources: &[Source], spread| {
        bit_budget.allot(&layout, sources, params.codes()?, spread, header)
    };
    // By slope: to sort the steps of all streams in each round would take as long as the forecasts.
    let codes_bits = allot(&sources, spread)?.codes;
    let rates = |sources: &[Source]| {
        let slope = slope(sources, &noise, codes_bits);
        let rates = sources.iter().map(|source| rate_at(source, &noise, slope));
        rates.collect::<Vec<_>>()
    };
    let mut forecast = forecaster.at(&rates(&sources), control)?;
    for _ in 0..ROUNDS {
        let next = forecaster.at(&rates(&forecast.sources), control)?;
        if next.error >= forecast.error {
            break;
        }
        forecast = next;
    }
    let sources = forecast.sources;
    let mut attempt = 1;
    loop {
        let allotment = allot(&sources, spread)?;
        let plan = StreamChoices::new(&sources, &allotment, spread, params.codes()?)?;
        let coder = Coder {
            vectors,
            layout,
            mask: mask.as_ref(),
            apart: &apart,
            sources: &sources,
            factor,
            plan: &plan,
            incoherence: incoherence.as_ref(),
        };
        let coded = coder.run(&blocks, params.window, allotment.codes, control)?;
        if coded.beyond > BEYOND && attempt < ATTEMPTS {
            let missing = (16.0 * coded.beyond.log2()).ceil().min(255.0) as u8;
            spread.larger = spread.larger.saturating_add(missing.saturating_add(4));
            attempt += 1;
            continue;
        }
        let streams = Streams {
            exponent: exponent as i16,
            code_set: params.code_set,
            window: params.window,
            seed: params.seed,
            grid: plan.grid,
            scales: coded.scales,
            rates: coded.rates,
            path: coded.path.into(),
            cells: coded.cells.into(),
            mask,
            exceptions: apart,
            starts: Starts::default(),
            near: Near::default(),
        };
        return Ok((streams, coded.energy, coded.objective));
    }
}
