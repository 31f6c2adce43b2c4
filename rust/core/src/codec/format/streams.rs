//! The streams of a tensor as trellis codes: planes of path bits and of cells, the scale and the rate
//! of each stream, and the places of its codes.

use std::sync::OnceLock;

use bytes::Bytes;

use super::exceptions::Exceptions;
use super::layout::Layout;
use super::mask::Mask;
use super::scale::{ScaleGrid, ZERO_ROW};
use crate::Result;
use crate::codec::kernels::decode::StreamCodes;
use crate::codec::kernels::tiles::order::TileOrder;
use crate::codec::trellis::code_set::{CodeSet, WindowCodes};

/// Trellis codes of all streams of a tensor (see [`Layout`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Streams {
    /// The weights were divided by 2^exponent.
    pub exponent: i16,
    /// The code set.
    pub code_set: &'static CodeSet,
    /// W.
    pub window: u32,
    /// Seed of the incoherence transform's signs; `None` where the weights are coded as they are.
    pub seed: Option<u64>,
    /// The grid of the scale numbers.
    pub grid: ScaleGrid,
    /// The scale number of each stream.
    pub scales: Vec<u8>,
    /// Half bits a weight of each stream; 0 for a stream of zeros, which has no codes.
    pub rates: Vec<u8>,
    /// Path bits, each chain padded to a whole byte.
    pub path: Bytes,
    /// Cells, each chain padded to a whole byte; the tiles of a tiled code set, whose path plane is
    /// empty.
    pub cells: Bytes,
    /// The mask of zeros, if the tensor has one. A stream's codes are then those of its other weights
    /// only.
    pub mask: Option<Mask>,
    /// Weights that are stored exactly.
    pub exceptions: Exceptions,
    /// Where chains begin in the planes.
    pub starts: Starts,
    /// Which streams are multiplied by integer levels.
    pub near: Near,
}

impl Streams {
    /// The codes that the streams use.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if the set has no such window.
    pub fn codes(&self) -> Result<WindowCodes> {
        self.code_set.window(self.window)
    }
}

/// The range of one small number for each stream. A number is stored as its difference to the lowest,
/// in as few bits as the range needs. Streams of zeros have no number, or the highest of that many bits
/// as a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRange {
    /// The lowest number; 0 if there is none.
    pub lowest: u8,
    /// Bits of each.
    pub width: u32,
}

impl StoredRange {
    /// The span of the rates of the streams that are not zeros.
    pub fn of_rates(rates: &[u8]) -> Self {
        Self::of(rates.iter().copied().filter(|rate| *rate > 0), 0)
    }

    /// The span of the scale numbers, with room for a mark of zeros where there are any.
    pub fn of_scales(scales: &[u8]) -> Self {
        let marked = u32::from(scales.contains(&ZERO_ROW));
        Self::of(scales.iter().copied().filter(|s| *s != ZERO_ROW), marked)
    }

    fn of(numbers: impl Iterator<Item = u8> + Clone, marks: u32) -> Self {
        let lowest = numbers.clone().min().unwrap_or(0);
        let count = numbers.max().map_or(0, |most| u32::from(most - lowest) + 1) + marks;
        Self {
            lowest,
            width: count.next_power_of_two().ilog2(),
        }
    }

    /// The mark of a stream of zeros: the highest number of `width` bits.
    pub fn mark(self) -> u8 {
        ((1u32 << self.width) - 1) as u8
    }
}

/// Weights of a stream that have codes.
pub fn coded_length(layout: &Layout, mask: Option<&Mask>, stream: usize) -> usize {
    let weights = layout.stream(stream);
    match mask {
        Some(mask) => mask.count(weights),
        None => weights.len(),
    }
}

/// Weights of each stream that have codes.
pub fn coded_lengths(layout: &Layout, mask: Option<&Mask>) -> Vec<usize> {
    let streams = 0..layout.len();
    streams
        .map(|stream| coded_length(layout, mask, stream))
        .collect()
}

/// The first byte of a chain's codes in each plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    path: usize,
    cells: usize,
}

/// Bits that `len` weights of a stream take in the path plane and in the cell plane, which has the
/// tiles of a tiled code set.
fn code_bits(code_set: &CodeSet, half_bits: u8, len: usize) -> (usize, usize) {
    match usize::from(half_bits) {
        0 => (0, 0),
        half_bits if code_set.is_tiled() => {
            let order = TileOrder {
                half_bits: half_bits as u32,
            };
            (0, 8 * order.stream_bytes(len))
        }
        half_bits => {
            // At half rates two weights share a path bit.
            let shared = half_bits % 2;
            ((len + shared) >> shared, len * ((half_bits - 1) / 2))
        }
    }
}

/// The start of every chain, and the bytes of the two planes; `None` beyond `usize`.
pub fn starts(
    code_set: &CodeSet,
    layout: &Layout,
    rates: &[u8],
    mask: Option<&Mask>,
) -> Option<(Vec<Start>, usize, usize)> {
    let mut starts = Vec::with_capacity(layout.chains());
    let (mut path, mut cells) = (0usize, 0usize);
    for chain in 0..layout.chains() {
        starts.push(Start {
            path: path / 8,
            cells: cells / 8,
        });
        for stream in layout.chain(chain) {
            // A weight has at most 8 bits, and the last tile of a stream up to seven weights more; eight
            // times a plane's bytes must be a `usize` too.
            let room = layout.stream(stream).len().checked_mul(8)?;
            path.checked_add(room + 64)?;
            cells.checked_add(room + 64)?;
            let coded = coded_length(layout, mask, stream);
            let (path_bits, cell_bits) = code_bits(code_set, rates[stream], coded);
            path += path_bits;
            cells += cell_bits;
        }
        path = path.next_multiple_of(8);
        cells = cells.next_multiple_of(8);
    }
    Some((starts, path / 8, cells / 8))
}

/// The starts of a tensor's chains, computed at the first call. They follow from the rates, so they are
/// ignored in comparisons.
#[derive(Clone, Debug, Default)]
pub struct Starts(OnceLock<Vec<Start>>);

impl PartialEq for Starts {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Which streams may be multiplied by integer levels, computed by the first product that needs it. This
/// follows from the codes, so it is ignored in comparisons.
#[derive(Clone, Debug, Default)]
pub struct Near(pub(in crate::codec) OnceLock<Box<NearStreams>>);

impl PartialEq for Near {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The content of [`Near`].
#[derive(Clone, Debug)]
pub(in crate::codec) struct NearStreams {
    /// Whether any stream has near enough integer levels.
    pub any: bool,
    /// Whether all streams that are not zeros have them.
    pub all: bool,
    /// One flag for each stream; empty if all or none have them.
    each: Vec<bool>,
}

impl NearStreams {
    /// From one flag for each stream. The flags of streams of zeros are ignored.
    pub fn new(each: Vec<bool>, rates: &[u8]) -> Self {
        let any = each.contains(&true);
        let all = each
            .iter()
            .zip(rates)
            .all(|(near, rate)| *near || *rate == 0);
        Self {
            any,
            all,
            each: if any && !all { each } else { Vec::new() },
        }
    }

    /// Whether a stream, which is not zeros, has them.
    pub fn has(&self, stream: usize) -> bool {
        self.each.get(stream).copied().unwrap_or(self.any)
    }
}

/// A cursor over the streams of a tensor, with the places of their codes.
pub(in crate::codec) struct Cursor<'a> {
    streams: &'a Streams,
    layout: Layout,
    starts: &'a [Start],
    /// The stream that comes next.
    stream: usize,
    /// The next chain, its first stream, and the first byte of the current chain. (They are kept
    /// because a division for each stream would take longer than the rest.)
    next_chain: usize,
    next_chain_start: usize,
    chain_path: usize,
    path_bit: usize,
    cell_bit: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at `stream`. O(streams of a chain).
    pub fn before(streams: &'a Streams, layout: Layout, stream: usize) -> Self {
        let starts = streams.starts.0.get_or_init(|| {
            starts(
                streams.code_set,
                &layout,
                &streams.rates,
                streams.mask.as_ref(),
            )
            .expect("a tensor in memory has planes in memory")
            .0
        });
        let chain = layout.chain_of(stream);
        let first = layout.chain(chain).start;
        let mut cursor = Self {
            streams,
            layout,
            starts,
            stream: first,
            next_chain: chain,
            next_chain_start: first,
            chain_path: 0,
            path_bit: 0,
            cell_bit: 0,
        };
        while cursor.stream < stream {
            cursor.next();
        }
        cursor
    }

    /// The number of the stream that comes next.
    pub fn stream(&self) -> usize {
        self.stream
    }

    /// Weights of a stream that have codes.
    pub fn coded_length(&self, stream: usize) -> usize {
        coded_length(&self.layout, self.streams.mask.as_ref(), stream)
    }

    /// Advance. Returns the stream's number and its codes; `None` for a stream of zeros.
    pub fn next(&mut self) -> (usize, Option<StreamCodes<'a>>) {
        let stream = self.stream;
        if stream == self.next_chain_start {
            let start = self.starts[self.next_chain];
            self.chain_path = start.path;
            (self.path_bit, self.cell_bit) = (8 * start.path, 8 * start.cells);
            self.next_chain_start = self.layout.chain(self.next_chain).end;
            self.next_chain += 1;
        }
        let rate = self.streams.rates[stream];
        let coded = self.coded_length(stream);
        let source = (rate > 0).then_some(StreamCodes {
            path: &self.streams.path,
            cells: &self.streams.cells,
            chain: self.chain_path,
            path_bit: self.path_bit,
            cell_bit: self.cell_bit,
            rate,
            len: coded,
        });
        let (path_bits, cell_bits) = code_bits(self.streams.code_set, rate, coded);
        self.path_bit += path_bits;
        self.cell_bit += cell_bits;
        self.stream += 1;
        (stream, source)
    }
}
