//! From weights to trellis codes: scales, rates, and the search of every chain.

use rayon::prelude::*;

use super::Energy;
use super::exceptions::Exceptions;
use super::goal::{Budget, Goal};
use super::streams::{Span, Starts, Streams, coded_lengths};
use crate::codec::bitstream::{Writer, pack, packed_len};
use crate::codec::element::{Element, PowerOfTwo};
use crate::codec::hadamard::Incoherence;
use crate::codec::layout::Layout;
use crate::codec::mask::Mask;
use crate::codec::rate::{Source, allocate};
use crate::codec::scale::{ScaleGrid, ZERO_ROW};
use crate::codec::trellis::{HALF_BITS, Trellis};
use crate::codec::viterbi::{Lanes, Search, SearchTables};
use crate::{Control, Error, ErrorKind, Result};

/// How the trellis codec is to work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrellisParams {
    /// What is asked for.
    pub goal: Goal,
    /// W, bits of the register: 8, 10, 12 or 16.
    pub window: u32,
    /// Seed of the incoherence transform's signs; `None` codes the weights as they are.
    pub seed: Option<u64>,
    /// Whether weights that are exactly zero stay so.
    pub keep_zeros: bool,
    /// The most that a weight may be missed by; those that codes miss by more are stored apart.
    pub max_error: Option<f64>,
}

impl TrellisParams {
    /// At most `bits` a weight, and nothing else asked for.
    pub fn new(bits: f64, window: u32, seed: Option<u64>) -> Self {
        Self {
            goal: Goal::Bits(bits),
            window,
            seed,
            keep_zeros: false,
            max_error: None,
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        Trellis::pinned(1, self.window)?;
        self.goal.validate(self.keep_zeros)?;
        match self.max_error {
            Some(bound) if bound.is_nan() || bound < 0.0 => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("a largest error of {bound}: 0 or more is accepted"),
            )),
            _ => Ok(()),
        }
    }
}

/// Sums over a stream, from which its best scale and its error follow.
#[derive(Clone, Copy, Default)]
struct Fit {
    /// Σ w².
    weights: f64,
    /// Σ w·level.
    product: f64,
    /// Σ level².
    levels: f64,
}

/// Sums that run side by side, as one alone would wait for itself; always as many, so that the result
/// does not depend on the machine.
const SUMS: usize = 8;

/// Σ a·b in double precision.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0; SUMS];
    let (a, last_a) = a.as_chunks::<SUMS>();
    let (b, last_b) = b.as_chunks::<SUMS>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..SUMS {
            sums[i] += f64::from(a[i]) * f64::from(b[i]);
        }
    }
    for (i, (a, b)) in last_a.iter().zip(last_b).enumerate() {
        sums[i] += f64::from(*a) * f64::from(*b);
    }
    sums.iter().sum()
}

impl Fit {
    fn of(weights: &[f32], levels: &[f32]) -> Self {
        Self {
            weights: dot(weights, weights),
            product: dot(weights, levels),
            levels: dot(levels, levels),
        }
    }

    /// The scale that leaves the least error.
    fn scale(&self) -> f64 {
        self.product / self.levels
    }

    /// Σ (w − scale·level)².
    fn error(&self, scale: f64) -> f64 {
        (self.weights - 2.0 * scale * self.product + scale * scale * self.levels).max(0.0)
    }
}

/// What the search of every chain reads.
struct Encoder<'a, T> {
    weights: &'a [T],
    layout: Layout,
    mask: Option<Mask>,
    /// Weights of each stream that are coded.
    lengths: Vec<usize>,
    normalise: PowerOfTwo,
    incoherence: Option<Incoherence>,
    grid: ScaleGrid,
    /// Root mean square of each stream.
    deviations: Vec<f64>,
    /// Half bits of each stream.
    rates: Vec<u8>,
    /// Tables of the rates that occur, by half bits.
    tables: Vec<Option<SearchTables<'static>>>,
}

/// Memory of one thread.
struct Workspace {
    search: Search,
    /// Transformed weights of the chain.
    values: Vec<f32>,
    targets: Vec<i16>,
    cells: Vec<u8>,
    levels: Vec<f32>,
}

impl Workspace {
    fn new(window: u32) -> Self {
        Self {
            search: Search::new(window, Lanes::detect()),
            values: Vec::new(),
            targets: Vec::new(),
            cells: Vec::new(),
            levels: Vec::new(),
        }
    }
}

/// What the search of a chain found.
struct Chain {
    path: Vec<u8>,
    cells: Vec<u8>,
    scales: Vec<u8>,
    energy: Energy,
}

impl Streams {
    /// Search every stream of `weights`, which are below 2^`exponent` in magnitude, within a budget
    /// that counts everything; `header` is the bytes that the tensor takes beside its streams.
    pub(super) fn encode<T: Element>(
        weights: &[T],
        shape: &[usize],
        exponent: i32,
        params: &TrellisParams,
        budget: Budget,
        header: usize,
        control: &Control,
    ) -> Result<(Self, Energy)> {
        let layout = Layout::new(shape);
        let is_zero = |at: usize| weights[at].to_f64() == 0.0;
        let mask = match params.keep_zeros && (0..weights.len()).into_par_iter().any(is_zero) {
            true => Some(Mask::new(&layout, is_zero, control)?),
            false => None,
        };
        let lengths = coded_lengths(&layout, mask.as_ref());
        let normalise = PowerOfTwo::new(-exponent);
        let sources = sources(weights, &layout, &lengths, normalise, control)?;
        let masked = mask.as_ref().map_or(0, |mask| mask.stored().len());
        let purse = Purse::new(budget, weights.len(), lengths.iter().sum(), masked);
        let rates = rates(&layout, &sources, params.window, &purse, header)?;
        let encoder = Encoder {
            weights,
            layout,
            normalise,
            incoherence: params
                .seed
                .map(|seed| Incoherence::new(seed, layout.longest())),
            grid: grid(&sources, &rates),
            deviations: sources
                .iter()
                .map(|source| source.variance.sqrt())
                .collect(),
            tables: tables(&rates, params.window)?,
            rates,
            mask,
            lengths,
        };
        let chains = (0..layout.chains())
            .into_par_iter()
            .map_init(
                || Workspace::new(params.window),
                |workspace, chain| encoder.chain(chain, workspace, control),
            )
            .collect::<Result<Vec<Chain>>>()?;
        // In the order of the chains, whatever order the threads finished in.
        let energy = chains.iter().map(|chain| chain.energy).sum();
        let joined =
            |part: fn(&Chain) -> &[u8]| chains.iter().map(part).collect::<Vec<_>>().concat();
        let streams = Self {
            exponent: exponent as i16,
            window: params.window,
            seed: params.seed,
            scales: joined(|chain| &chain.scales),
            path: joined(|chain| &chain.path).into(),
            cells: joined(|chain| &chain.cells).into(),
            grid: encoder.grid,
            rates: encoder.rates,
            mask: encoder.mask,
            exceptions: Exceptions::default(),
            starts: Starts::default(),
        };
        Ok((streams, energy))
    }
}

/// What each stream has to code: its weights that are not masked, and their mean square, which the
/// transform keeps. Zero for a stream of zeros, and for one so small beside the others that `f32` has
/// no place for it.
fn sources<T: Element>(
    weights: &[T],
    layout: &Layout,
    lengths: &[usize],
    normalise: PowerOfTwo,
    control: &Control,
) -> Result<Vec<Source>> {
    lengths
        .par_iter()
        .enumerate()
        .map_init(Vec::new, |values, (stream, &len)| {
            control.check()?;
            normalise_into(&weights[layout.stream(stream)], normalise, values);
            // Masked weights are zeros and add nothing.
            let variance = dot(values, values) / len.max(1) as f64;
            Ok(Source { len, variance })
        })
        .collect()
}

/// The weights as the codec sees them.
fn normalise_into<T: Element>(weights: &[T], normalise: PowerOfTwo, values: &mut Vec<f32>) {
    values.resize(weights.len(), 0.0);
    for (value, weight) in values.iter_mut().zip(weights) {
        *value = normalise.times(weight.to_f64()) as f32;
    }
}

/// The grid that holds the scales of all streams that are coded.
fn grid(sources: &[Source], rates: &[u8]) -> ScaleGrid {
    let coded = sources.iter().zip(rates).filter(|(_, rate)| **rate > 0);
    let (smallest, largest) =
        coded.fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), (source, _)| {
            let deviation = source.variance.sqrt();
            (low.min(deviation), high.max(deviation))
        });
    ScaleGrid::spanning(smallest.min(largest), largest)
}

/// How far below the rate that there is for all of them a row may be, in bits.
const BELOW: f64 = 1.0;

/// A mask of so few bytes is a part of the header, which is not counted where it would take half.
const SMALL_MASK: usize = 64;

/// The bits that codes and scales may take, once the mask is paid, or codes alone.
struct Purse {
    bits: f64,
    codes_alone: bool,
    /// The mask's, where it must leave half a bit for each of the others.
    mask: Option<f64>,
    weights: usize,
}

impl Purse {
    /// Of so many weights, of which a mask of `masked` bytes says which are zero, and the others are
    /// `coded`: weights that are masked leave their bits to them.
    fn new(budget: Budget, weights: usize, coded: usize, masked: usize) -> Self {
        let mask = 8.0 * masked as f64;
        match budget {
            Budget::Coded(bits) => Self {
                bits: bits * coded as f64,
                codes_alone: true,
                mask: None,
                weights,
            },
            Budget::All(bits) => Self {
                bits: bits * weights as f64 - mask,
                codes_alone: false,
                mask: (masked > SMALL_MASK).then_some(mask),
                weights,
            },
        }
    }

    /// What there is for codes, if it is at least half a bit for each of `coded` weights.
    fn at_least(&self, codes: f64, coded: usize) -> Result<f64> {
        let least = 0.5 * coded as f64;
        match self.mask {
            Some(mask) if codes < least => {
                let a_weight = |bits: f64| bits / self.weights as f64;
                Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!(
                        "{:.3} bits a weight: which are zero takes {:.3}, and half a bit for each of \
                         the others {:.3}",
                        a_weight(self.bits + mask),
                        a_weight(mask),
                        a_weight(least),
                    ),
                ))
            }
            _ => Ok(codes.max(least)),
        }
    }
}

/// Half bits for each stream, so that codes and all that is stored beside them take the purse's bits;
/// the codes alone, in a tensor so small that the rest would take more than half.
fn rates(
    layout: &Layout,
    sources: &[Source],
    window: u32,
    purse: &Purse,
    header: usize,
) -> Result<Vec<u8>> {
    let budget = purse.bits;
    let coded: usize = sources.iter().map(|source| source.len).sum();
    let header_bits = if purse.codes_alone { 0 } else { 8 * header };
    let rate = (budget - header_bits as f64) / coded.max(1) as f64;
    let least = (2.0 * (rate - BELOW)).ceil().clamp(1.0, 16.0) as u8;
    let mut noise = vec![1.0];
    for half_bits in HALF_BITS {
        noise.push(Trellis::pinned(half_bits, window)?.code.noise.into());
    }
    // Where two weights share a bit of the path, the last of an odd number has one to itself.
    let odd = sources.iter().filter(|source| source.len % 2 == 1).count() / 2;
    let mut rates = Vec::new();
    // A byte for each scale to begin with; then what the scales of the streams will take, with room
    // to either side, as they are fitted again after the search.
    for rate_bits in 0..=4 {
        let scale_bits = match rate_bits {
            0 => 8,
            _ => scale_bits(sources, &rates),
        };
        // Two planes that end at a whole byte for each chain; so do the scales and rates.
        let a_stream = (scale_bits + rate_bits) as usize;
        let beside = 8 * header + a_stream * layout.len() + 14 * layout.chains() + 14 + odd;
        let codes = match beside as f64 {
            beside if 2.0 * beside <= budget && !purse.codes_alone => budget - beside,
            _ => budget,
        };
        rates = allocate(sources, &noise, least, purse.at_least(codes, coded)?);
        if rate_bits > 0 && Span::of_rates(&rates).width <= rate_bits {
            break;
        }
    }
    Ok(rates)
}

/// Weights of a stream, in the mean, below which streams are short.
const SHORT: usize = 128;

/// Bits that a scale will take.
fn scale_bits(sources: &[Source], rates: &[u8]) -> u32 {
    let grid = grid(sources, rates);
    let numbers = sources.iter().zip(rates).map(|(source, rate)| match rate {
        0 => ZERO_ROW,
        _ => grid.nearest(source.variance.sqrt()),
    });
    let mut numbers: Vec<u8> = numbers.collect();
    let span = Span::of_scales(&numbers);
    // Few weights say little of their best scale: fitted again, it may be several numbers away.
    let coded: usize = sources.iter().map(|source| source.len).sum();
    let away = if coded < SHORT * sources.len() { 4 } else { 1 };
    let most = numbers.iter().copied().filter(|n| *n != ZERO_ROW).max();
    numbers.push(span.lowest.saturating_sub(away));
    numbers.push(most.map_or(0, |most| most.saturating_add(away)).min(254));
    Span::of_scales(&numbers).width
}

/// Search tables for the rates that occur.
fn tables(rates: &[u8], window: u32) -> Result<Vec<Option<SearchTables<'static>>>> {
    (0..=*HALF_BITS.end())
        .map(|half_bits| {
            if half_bits == 0 || !rates.contains(&(half_bits as u8)) {
                return Ok(None);
            }
            let trellis = Trellis::pinned(half_bits, window)?;
            Ok(Some(SearchTables::new(trellis)))
        })
        .collect()
}

impl<T: Element> Encoder<'_, T> {
    /// The tables of a stream's rate; `None` where it is zeros.
    fn tables(&self, stream: usize) -> Option<&SearchTables<'static>> {
        self.tables[usize::from(self.rates[stream])].as_ref()
    }

    fn chain(&self, chain: usize, work: &mut Workspace, control: &Control) -> Result<Chain> {
        self.load(chain, &mut work.values);
        work.targets.resize(work.values.len(), 0);
        work.search.start();
        let mut start = 0;
        for stream in self.layout.chain(chain) {
            let here = start..start + self.lengths[stream];
            start = here.end;
            let values = &mut work.values[here.clone()];
            if let Some(incoherence) = &self.incoherence {
                incoherence.forward(values);
            }
            let Some(tables) = self.tables(stream) else {
                continue;
            };
            let inverse = 1.0 / self.grid.scale(self.grid.nearest(self.deviations[stream]));
            let targets = &mut work.targets[here];
            for (target, value) in targets.iter_mut().zip(values.iter()) {
                *target = tables.target(value * inverse);
            }
            work.search.advance(tables, targets, control)?;
        }
        work.search.finish();
        control.advance(self.layout.chain_weights(chain).len() as u64);
        Ok(self.choose(chain, work))
    }

    /// The weights of a chain that are coded, normalised.
    fn load(&self, chain: usize, values: &mut Vec<f32>) {
        let range = self.layout.chain_weights(chain);
        normalise_into(&self.weights[range.clone()], self.normalise, values);
        if let Some(mask) = &self.mask {
            let mut coded = 0;
            for (at, place) in range.zip(0..values.len()) {
                values[coded] = values[place];
                coded += usize::from(mask.contains(at));
            }
            values.truncate(coded);
        }
    }

    /// Cells and scales for the path that the search has found.
    fn choose(&self, chain: usize, work: &mut Workspace) -> Chain {
        let streams = self.layout.chain(chain);
        let mut path = &work.search.path[..];
        let cells_len = |stream: usize| {
            let tables = self.tables(stream);
            tables.map_or(0, |t| t.trellis().code.cells_len(self.lengths[stream]))
        };
        let mut chain = Chain {
            path: vec![0; packed_len(path.len(), 1)],
            cells: vec![0; streams.clone().map(cells_len).sum::<usize>().div_ceil(8)],
            scales: Vec::with_capacity(streams.len()),
            energy: Energy::default(),
        };
        pack(path, 1, &mut chain.path);
        let mut cells = Writer::new(&mut chain.cells);
        let (mut register, mut start) = (0, 0);
        for stream in streams {
            let here = start..start + self.lengths[stream];
            start = here.end;
            let values = &work.values[here.clone()];
            let Some(tables) = self.tables(stream) else {
                let lost = dot(values, values);
                chain.energy.signal += lost;
                chain.energy.error += lost;
                chain.scales.push(ZERO_ROW);
                continue;
            };
            let code = tables.trellis().code;
            let (bits, rest) = path.split_at(code.path_len(values.len()));
            path = rest;
            tables.choose(
                &mut register,
                bits,
                &work.targets[here],
                &mut work.cells,
                &mut work.levels,
            );
            cells.extend(&work.cells, code.cell_bits());
            let fit = Fit::of(values, &work.levels);
            let number = self.grid.nearest(fit.scale());
            chain.scales.push(number);
            chain.energy.signal += fit.weights;
            chain.energy.error += fit.error(self.grid.scale(number).into());
        }
        cells.finish();
        chain
    }
}
