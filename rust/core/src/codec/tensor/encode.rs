//! From weights to trellis codes: scales, rates, and the search of every chain.

use std::ops::Range;

use rayon::prelude::*;

use super::Energy;
use super::streams::{RATE_WIDTHS, Starts, Streams, rate_width};
use crate::codec::bitstream::{Writer, pack, packed_len};
use crate::codec::element::{Element, PowerOfTwo};
use crate::codec::hadamard::Incoherence;
use crate::codec::layout::Layout;
use crate::codec::rate::{Source, allocate};
use crate::codec::scale::{ScaleGrid, ZERO_ROW};
use crate::codec::trellis::{HALF_BITS, Trellis};
use crate::codec::viterbi::{Lanes, Search, SearchTables};
use crate::{Control, Error, ErrorKind, Result};

/// How the trellis codec is to work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrellisParams {
    /// Bits a weight that the tensor may take with all overhead, 0.5 to 8.5.
    pub bits: f64,
    /// W, bits of the register: 8, 10, 12 or 16.
    pub window: u32,
    /// Seed of the incoherence transform's signs; `None` codes the weights as they are.
    pub seed: Option<u64>,
}

impl TrellisParams {
    pub(super) fn validate(&self) -> Result<()> {
        Trellis::pinned(1, self.window)?;
        if !(0.5..=8.5).contains(&self.bits) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("{} bits a weight: 0.5 to 8.5 are accepted", self.bits),
            ));
        }
        Ok(())
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

impl Fit {
    fn of(weights: &[f32], levels: &[f32]) -> Self {
        let mut fit = Self::default();
        for (w, q) in weights.iter().zip(levels) {
            let (w, q) = (f64::from(*w), f64::from(*q));
            fit.weights += w * w;
            fit.product += w * q;
            fit.levels += q * q;
        }
        fit
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
    /// Search every stream of `weights`, which are below 2^`exponent` in magnitude; `header` is the
    /// bytes that the tensor takes beside its streams.
    pub(super) fn encode<T: Element>(
        weights: &[T],
        shape: &[usize],
        exponent: i32,
        params: &TrellisParams,
        header: usize,
        control: &Control,
    ) -> Result<(Self, Energy)> {
        let layout = Layout::new(shape);
        let normalise = PowerOfTwo::new(-exponent);
        let deviations = deviations(weights, &layout, normalise, control)?;
        let rates = rates(&layout, &deviations, params, header)?;
        let (smallest, largest) = deviations.iter().zip(&rates).filter(|(_, h)| **h > 0).fold(
            (f64::MAX, f64::MIN_POSITIVE),
            |(low, high), (deviation, _)| (low.min(*deviation), high.max(*deviation)),
        );
        let encoder = Encoder {
            weights,
            layout,
            normalise,
            incoherence: params
                .seed
                .map(|seed| Incoherence::new(seed, layout.longest())),
            grid: ScaleGrid::spanning(smallest.min(largest), largest),
            deviations,
            tables: tables(&rates, params.window)?,
            rates,
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
        let joined = |part: fn(&Chain) -> &Vec<u8>| chains.iter().flat_map(part).copied().collect();
        let streams = Self {
            exponent: exponent as i16,
            window: params.window,
            seed: params.seed,
            scales: joined(|chain| &chain.scales),
            path: joined(|chain| &chain.path),
            cells: joined(|chain| &chain.cells),
            grid: encoder.grid,
            rates: encoder.rates,
            starts: Starts::default(),
        };
        Ok((streams, energy))
    }
}

/// The root mean square of each stream; the transform keeps it. Zero for a stream of zeros, and for
/// one so small beside the others that `f32` has no place for it.
fn deviations<T: Element>(
    weights: &[T],
    layout: &Layout,
    normalise: PowerOfTwo,
    control: &Control,
) -> Result<Vec<f64>> {
    (0..layout.len())
        .into_par_iter()
        .map(|index| {
            control.check()?;
            let stream = &weights[layout.stream(index)];
            let square = |w: &T| f64::from(normalise.times(w.to_f64()) as f32).powi(2);
            Ok((stream.iter().map(square).sum::<f64>() / stream.len() as f64).sqrt())
        })
        .collect()
}

/// How far below the rate that was asked for a row may be, in half bits.
const BELOW: u8 = 2;

/// Half bits for each stream, so that codes and all that is stored beside them take `budget` bits;
/// the codes alone, in a tensor so small that the rest would take more than half.
fn rates(
    layout: &Layout,
    deviations: &[f64],
    params: &TrellisParams,
    header: usize,
) -> Result<Vec<u8>> {
    let budget = params.bits * layout.lengths().sum::<usize>() as f64;
    let least = ((2.0 * params.bits) as u8).saturating_sub(BELOW).max(1);
    let mut noise = vec![1.0];
    for half_bits in HALF_BITS {
        noise.push(Trellis::pinned(half_bits, params.window)?.code.noise.into());
    }
    let sources: Vec<Source> = layout
        .lengths()
        .zip(deviations)
        .map(|(len, deviation)| Source {
            len,
            variance: deviation.powi(2),
        })
        .collect();
    let mut rates = Vec::new();
    for width in RATE_WIDTHS {
        // A byte for each scale; two planes that end at a whole byte for each chain.
        let beside = 8 * header + (8 + width as usize) * layout.len() + 14 * layout.chains() + 7;
        let codes = match beside as f64 {
            beside if 2.0 * beside <= budget => budget - beside,
            _ => budget,
        };
        rates = allocate(&sources, &noise, least, codes);
        if rate_width(&rates) <= width {
            break;
        }
    }
    Ok(rates)
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
        let streams = self.layout.chain(chain);
        let weights = self.layout.chain_weights(chain);
        let within = |stream: usize| {
            let stream = self.layout.stream(stream);
            stream.start - weights.start..stream.end - weights.start
        };
        work.values.clear();
        let load = |w: &T| self.normalise.times(w.to_f64()) as f32;
        work.values
            .extend(self.weights[weights.clone()].iter().map(load));
        work.targets.resize(weights.len(), 0);
        work.search.start();
        for stream in streams.clone() {
            let values = &mut work.values[within(stream)];
            if let Some(incoherence) = &self.incoherence {
                incoherence.forward(values);
            }
            let Some(tables) = self.tables(stream) else {
                continue;
            };
            let inverse = 1.0 / self.grid.scale(self.grid.nearest(self.deviations[stream]));
            let targets = &mut work.targets[within(stream)];
            for (target, value) in targets.iter_mut().zip(values.iter()) {
                *target = tables.target(value * inverse);
            }
            work.search.advance(tables, targets, control)?;
        }
        work.search.finish();
        control.advance(weights.len() as u64);
        Ok(self.choose(streams, within, work))
    }

    /// Cells and scales for the path that the search has found.
    fn choose(
        &self,
        streams: Range<usize>,
        within: impl Fn(usize) -> Range<usize>,
        work: &mut Workspace,
    ) -> Chain {
        let mut path = &work.search.path[..];
        let cells_len = |stream: usize| {
            let tables = self.tables(stream);
            tables.map_or(0, |t| t.trellis().code.cells_len(within(stream).len()))
        };
        let mut chain = Chain {
            path: vec![0; packed_len(path.len(), 1)],
            cells: vec![0; streams.clone().map(cells_len).sum::<usize>().div_ceil(8)],
            scales: Vec::with_capacity(streams.len()),
            energy: Energy::default(),
        };
        pack(path, 1, &mut chain.path);
        let mut cells = Writer::new(&mut chain.cells);
        let mut register = 0;
        for stream in streams {
            let values = &work.values[within(stream)];
            let Some(tables) = self.tables(stream) else {
                let lost: f64 = values.iter().map(|w| f64::from(*w).powi(2)).sum();
                chain.energy.signal += lost;
                chain.energy.error += lost;
                chain.scales.push(ZERO_ROW);
                continue;
            };
            let code = tables.trellis().code;
            let targets = &work.targets[within(stream)];
            let (here, rest) = path.split_at(code.path_len(values.len()));
            path = rest;
            tables.choose(
                &mut register,
                here,
                targets,
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
