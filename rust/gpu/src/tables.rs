//! Tables that kernels read beside the planes of a trellis tensor, computed once on the host.

use hypercomp_core::codec::format::layout::Layout;
use hypercomp_core::codec::format::mask::Mask;
use hypercomp_core::codec::numbers::element::PowerOfTwo;
use hypercomp_core::codec::trellis::{PinnedCode, WindowCodes, scaled_shape};
use hypercomp_core::codec::{Placement, Streams};

use crate::abi;

/// Weights of a mask for each stored rank.
const RANKED: usize = 1024;

/// The tables of a trellis tensor.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The division into streams.
    pub layout: Layout,
    /// One entry for every stream.
    pub streams: Vec<abi::Stream>,
    /// The constants of every rate, of streams in chains.
    pub codes: [abi::Code; 16],
    /// The argument of the kernels, without its pointers.
    pub tensor: abi::Tensor,
    /// The most tiles of a stream.
    pub tiles: u32,
    /// The most frequent rate of the streams.
    pub rate: u32,
    /// The code of that rate; `None` if all streams are zeros.
    pub code: Option<PinnedCode>,
    /// The shape of a product, without a batch; `None` if products have to decode the tensor.
    pub matrix: Option<abi::Matrix>,
}

impl Tables {
    /// The tables of a tensor of this shape.
    pub fn new(streams: &Streams, shape: &[usize]) -> Self {
        let layout = Layout::new(shape);
        let codes_of_window = streams.codes();
        let window_codes = codes_of_window.expect("a tensor's window is one of its set's");
        let placements = streams.placements(&layout);
        let rows = rows(&placements);
        let tiles = rows.iter().map(|row| abi::tiles(row.length.into()));
        let rate = commonest(&rows);
        Self {
            tiles: tiles.max().unwrap_or(1),
            rate,
            code: window_codes.code(rate).ok(),
            codes: codes(window_codes),
            tensor: tensor(streams, window_codes),
            matrix: matrix(streams, &layout, shape),
            streams: rows,
            layout,
        }
    }
}

fn rows(placements: &[Placement]) -> Vec<abi::Stream> {
    let mut first = 0;
    placements
        .iter()
        .map(|placement| {
            let mut row = abi::Stream {
                first,
                scale: placement.scale,
                length: u16::try_from(placement.coded).expect("streams are shorter than 2^16"),
                ..abi::Stream::default()
            };
            first += placement.coded as u64;
            if let Some(codes) = placement.codes {
                row.path_bit = codes.path_bit as u64;
                row.cell_bit = codes.cell_bit as u64;
                row.half_bits = codes.rate;
                row.history = codes.history.min(255) as u8;
            }
            row
        })
        .collect()
}

/// The most frequent rate of the streams; the lowest one if several are equally frequent.
fn commonest(rows: &[abi::Stream]) -> u32 {
    let mut counts = [0usize; 17];
    for row in rows {
        counts[usize::from(row.half_bits)] += 1;
    }
    let rates = (1..counts.len() as u32).rev();
    rates.max_by_key(|rate| counts[*rate as usize]).unwrap_or(0)
}

/// The constants of h = 1..=16, for one window.
fn codes(window: WindowCodes) -> [abi::Code; 16] {
    let mut table = [abi::Code::default(); 16];
    if window.set().is_tiled() {
        return table;
    }
    for code in window.iter() {
        let (winding, shape) = code.quantile();
        table[code.half_bits as usize - 1] = abi::Code {
            turn: winding.axes.map(|axis| axis.turn),
            skew: winding.axes.map(|axis| axis.skew),
            shape: scaled_shape(shape),
            unused: 0,
        };
    }
    table
}

fn tensor(streams: &Streams, codes: WindowCodes) -> abi::Tensor {
    let power = PowerOfTwo::new(streams.exponent.into());
    let narrow = power.narrow();
    // Constants that all codes of a window share.
    let code = codes.iter().next().expect("a window has codes");
    abi::Tensor {
        path_bytes: streams.path.len() as u64,
        cell_bytes: streams.cells.len() as u64,
        seed: streams.seed.unwrap_or(0),
        wide: power.factors(),
        narrow: narrow.map_or([0.0; 2], |(first, second)| [first, second]),
        fits: narrow.is_some().into(),
        transformed: streams.seed.is_some().into(),
        window: streams.window,
        offset_bits: code.offset_bits,
        run_bits: code.run_bits(),
        ..abi::Tensor::default()
    }
}

fn matrix(streams: &Streams, layout: &Layout, shape: &[usize]) -> Option<abi::Matrix> {
    let &[rows, columns] = shape else {
        return None;
    };
    if streams.mask.is_some()
        || !streams.exceptions.is_empty()
        || layout.is_empty()
        || rows as u64 >= abi::MOST_ROWS
    {
        return None;
    }
    let pieces = layout.streams_a_row(columns)?;
    Some(abi::Matrix {
        rows: rows as u64,
        columns: columns.try_into().ok()?,
        pieces: pieces.try_into().ok()?,
        piece: layout.stream(0).len().try_into().ok()?,
        batch: 0,
    })
}

/// A mask's words, and the number of set bits before every 1024th weight.
pub fn mask(mask: &Mask) -> (Vec<u32>, Vec<u64>) {
    let words = mask
        .words()
        .iter()
        .flat_map(|word| [*word as u32, (*word >> 32) as u32])
        .collect();
    let mut before = 0;
    let ranks = mask
        .words()
        .chunks(RANKED / 64)
        .map(|words| {
            let rank = before;
            before += words
                .iter()
                .map(|word| u64::from(word.count_ones()))
                .sum::<u64>();
            rank
        })
        .collect();
    (words, ranks)
}
