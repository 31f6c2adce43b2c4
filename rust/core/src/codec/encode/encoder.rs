//! From weights to trellis codes: scales, rates, and the search of every chain.

use rayon::prelude::*;

use super::bit_budget::{BitBudget, Spread, grid};
use super::fit::{Fit, dot};
use super::params::{Budget, TrellisParams};
use super::rate::Source;
use super::tile_search::TileSearch;
use super::zero_rows::{Kept, put_apart};
use crate::codec::format::axes::Axes;
use crate::codec::format::exceptions::Exceptions;
use crate::codec::format::layout::Layout;
use crate::codec::format::mask::Mask;
use crate::codec::format::scale::{ScaleGrid, ZERO_ROW};
use crate::codec::format::streams::{Near, Starts, Streams, coded_lengths};
use crate::codec::format::tensor::Energy;
use crate::codec::kernels::hadamard::Incoherence;
use crate::codec::kernels::viterbi::{SearchTables, ViterbiSearch};
use crate::codec::numbers::bitstream::{Writer, pack, packed_len};
use crate::codec::numbers::element::{Element, PowerOfTwo};
use crate::codec::trellis::code::HALF_BITS;
use crate::codec::trellis::code_set::WindowCodes;
use crate::{Control, Result, SimdLevel};

/// The constant inputs of the search, shared by all chains.
struct Encoder<'a, T> {
    weights: &'a [T],
    layout: Layout,
    mask: Option<Mask>,
    /// Number of coded weights in each stream.
    lengths: Vec<usize>,
    normalise: PowerOfTwo,
    incoherence: Option<Incoherence>,
    grid: ScaleGrid,
    /// Root mean square of each stream.
    deviations: Vec<f64>,
    /// Half bits of each stream.
    rates: Vec<u8>,
    codes: WindowCodes,
    /// Tables of the rates that occur, by half bits.
    tables: Vec<Option<SearchTables<'static>>>,
}

/// Memory of one thread.
struct SearchBuffers {
    search: ViterbiSearch,
    /// Transformed weights of the chain.
    values: Vec<f32>,
    targets: Vec<i16>,
    cells: Vec<u8>,
    levels: Vec<f32>,
    tiles: TileSearch,
}

impl SearchBuffers {
    fn new(window: u32, simd: SimdLevel) -> Self {
        Self {
            search: ViterbiSearch::new(window, simd),
            values: Vec::new(),
            targets: Vec::new(),
            cells: Vec::new(),
            levels: Vec::new(),
            tiles: TileSearch::default(),
        }
    }
}

/// The codes of a chain.
#[derive(Default)]
struct CodedChain {
    path: Vec<u8>,
    /// Cells, or tiles.
    cells: Vec<u8>,
    scales: Vec<u8>,
    energy: Energy,
}

impl CodedChain {
    /// Add a stream of zeros, which loses these values.
    fn lose(&mut self, values: &[f32]) {
        let lost = dot(values, values);
        self.energy.signal += lost;
        self.energy.error += lost;
        self.scales.push(ZERO_ROW);
    }

    /// Add the scale of a stream whose levels are known.
    fn add(&mut self, grid: &ScaleGrid, fit: &Fit) {
        let number = grid.nearest(fit.scale());
        self.scales.push(number);
        self.energy.signal += fit.weights;
        self.energy.error += fit.error(grid.scale(number).into());
    }
}

impl Streams {
    /// Encode every stream of `weights`, whose magnitudes are below 2^`exponent`, within a budget that
    /// counts all stored bytes. `header` is the number of bytes of the tensor apart from its streams.
    pub(super) fn encode<T: Element>(
        weights: &[T],
        shape: &[usize],
        exponent: i32,
        params: &TrellisParams,
        budget: Budget,
        header: usize,
        control: &Control,
    ) -> Result<(Self, Energy)> {
        let simd = SimdLevel::in_use()?;
        let layout = Layout::new(shape);
        let is_zero = |at: usize| weights[at].to_f64() == 0.0;
        let kept = match params.keep_zeros {
            true if (0..weights.len()).into_par_iter().any(is_zero) => {
                Kept::Masked(Mask::new(&layout, is_zero, control)?)
            }
            true => Kept::ByCodes,
            false => Kept::new(weights, shape, Axes::InOrder, &layout, control)?,
        };
        let beside = kept.nbytes();
        let (mask, apart) = kept.split();
        let lengths = coded_lengths(&layout, mask.as_ref());
        let normalise = PowerOfTwo::new(-exponent);
        let sources = sources(weights, &layout, &lengths, normalise, control)?;
        let bit_budget = BitBudget::new(budget, weights.len(), lengths.iter().sum(), beside);
        let bit_budget = match params.keep_zeros {
            true => bit_budget.refusing_masks(beside),
            false => bit_budget,
        };
        let spread = Spread::PLAIN;
        let codes = params.codes()?;
        let allotment = bit_budget.allot(&layout, &sources, codes, spread, header)?;
        let rates = allotment.rates;
        let encoder = Encoder {
            weights,
            layout,
            normalise,
            incoherence: params
                .seed
                .map(|seed| Incoherence::new(simd, seed, layout.longest())),
            grid: grid(&sources, &rates, spread),
            deviations: sources
                .iter()
                .map(|source| source.variance.sqrt())
                .collect(),
            tables: tables(&rates, codes)?,
            codes,
            rates,
            mask,
            lengths,
        };
        let chains = (0..layout.chains())
            .into_par_iter()
            .map_init(
                || SearchBuffers::new(params.window, simd),
                |workspace, chain| encoder.chain(chain, workspace, control),
            )
            .collect::<Result<Vec<CodedChain>>>()?;
        // In the order of the chains, whatever order the threads finished in.
        let mut energy = chains.iter().map(|chain| chain.energy).sum();
        let joined =
            |part: fn(&CodedChain) -> &[u8]| chains.iter().map(part).collect::<Vec<_>>().concat();
        let mut streams = Self {
            exponent: exponent as i16,
            code_set: params.code_set,
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
            near: Near::default(),
        };
        put_apart(apart, &mut streams, shape, &mut energy, control)?;
        Ok((streams, energy))
    }
}

/// Number and mean square of the unmasked weights of each stream. The transform preserves the mean
/// square. It is 0 for a stream of zeros, and for one whose normalised weights underflow in `f32`.
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
            // Masked weights are zeros, so they may stay in the sum.
            let variance = dot(values, values) / len.max(1) as f64;
            Ok(Source::new(len, variance))
        })
        .collect()
}

/// Normalise weights to `f32`.
fn normalise_into<T: Element>(weights: &[T], normalise: PowerOfTwo, values: &mut Vec<f32>) {
    values.resize(weights.len(), 0.0);
    for (value, weight) in values.iter_mut().zip(weights) {
        *value = normalise.times(weight.to_f64()) as f32;
    }
}

/// Search tables for the rates that occur.
pub(super) fn tables(
    rates: &[u8],
    codes: WindowCodes,
) -> Result<Vec<Option<SearchTables<'static>>>> {
    (0..=*HALF_BITS.end())
        .map(|half_bits| {
            if half_bits == 0 || !rates.contains(&(half_bits as u8)) {
                return Ok(None);
            }
            Ok(Some(SearchTables::new(codes.code(half_bits)?.trellis())))
        })
        .collect()
}

impl<T: Element> Encoder<'_, T> {
    /// The search tables for a stream's rate; `None` for a stream of zeros.
    fn tables(&self, stream: usize) -> Option<&SearchTables<'static>> {
        self.tables[usize::from(self.rates[stream])].as_ref()
    }

    fn chain(
        &self,
        chain: usize,
        work: &mut SearchBuffers,
        control: &Control,
    ) -> Result<CodedChain> {
        self.load(chain, &mut work.values);
        if self.codes.set().is_tiled() {
            return self.tiles(chain, work, control);
        }
        work.targets.resize(work.values.len(), 0);
        work.search.start(0);
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

    /// The streams of a chain in tiles.
    fn tiles(
        &self,
        chain: usize,
        work: &mut SearchBuffers,
        control: &Control,
    ) -> Result<CodedChain> {
        let mut coded = CodedChain::default();
        let mut start = 0;
        for stream in self.layout.chain(chain) {
            let here = start..start + self.lengths[stream];
            start = here.end;
            let values = &mut work.values[here];
            if let Some(incoherence) = &self.incoherence {
                incoherence.forward(values);
            }
            let Some(tables) = self.tables(stream) else {
                coded.lose(values);
                continue;
            };
            let scale = self.grid.scale(self.grid.nearest(self.deviations[stream]));
            let codes = &mut coded.cells;
            work.tiles
                .search(&mut work.search, tables, scale, values, codes, control)?;
            let fit = Fit::of(values, work.tiles.levels());
            coded.add(&self.grid, &fit);
        }
        control.advance(self.layout.chain_weights(chain).len() as u64);
        Ok(coded)
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

    /// The best cells and scales for the path that the search found.
    fn choose(&self, chain: usize, work: &mut SearchBuffers) -> CodedChain {
        let streams = self.layout.chain(chain);
        let mut path = &work.search.path[..];
        let cells_len = |stream: usize| {
            let tables = self.tables(stream);
            tables.map_or(0, |t| t.trellis().code.cells_len(self.lengths[stream]))
        };
        let mut chain = CodedChain {
            path: vec![0; packed_len(path.len(), 1)],
            ..CodedChain::default()
        };
        pack(path, 1, &mut chain.path);
        let mut bytes = vec![0; streams.clone().map(cells_len).sum::<usize>().div_ceil(8)];
        let mut cells = Writer::new(&mut bytes);
        let (mut register, mut start) = (0, 0);
        for stream in streams {
            let here = start..start + self.lengths[stream];
            start = here.end;
            let values = &work.values[here.clone()];
            let Some(tables) = self.tables(stream) else {
                chain.lose(values);
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
            chain.add(&self.grid, &Fit::of(values, &work.levels));
        }
        cells.finish();
        chain.cells = bytes;
        chain
    }
}
