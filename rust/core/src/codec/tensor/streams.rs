//! The streams of a tensor as trellis codes: planes of path bits and of cells, a scale and a rate
//! each.

use rayon::prelude::*;

use super::exceptions::Exceptions;
use crate::codec::bitstream::Reader;
use crate::codec::element::{Element, PowerOfTwo};
use crate::codec::hadamard::Incoherence;
use crate::codec::layout::Layout;
use crate::codec::mask::Mask;
use crate::codec::scale::{ScaleGrid, ZERO_ROW};
use crate::codec::trellis::Trellis;
use crate::{Control, Result};

/// Trellis codes of all streams of a tensor (see [`Layout`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Streams {
    /// The weights were divided by 2^exponent.
    pub exponent: i16,
    /// W.
    pub window: u32,
    /// Seed of the incoherence transform's signs; `None` where the weights are coded as they are.
    pub seed: Option<u64>,
    /// What the scale numbers mean.
    pub grid: ScaleGrid,
    /// The scale number of each stream.
    pub scales: Vec<u8>,
    /// Half bits a weight of each stream; 0 for a stream of zeros, which has no codes.
    pub rates: Vec<u8>,
    /// Path bits, each chain padded to a whole byte.
    pub path: Vec<u8>,
    /// Cells, each chain padded to a whole byte.
    pub cells: Vec<u8>,
    /// Where zeros are kept apart: a stream's codes are those of its other weights alone.
    pub mask: Option<Mask>,
    /// Weights that are not left to their codes.
    pub exceptions: Exceptions,
}

/// Small numbers, one a stream, as they are stored: how far each is above the lowest, in as few bits
/// as that takes. Streams of zeros have none, or the highest that the bits can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The lowest of the numbers; 0 where there is none.
    pub lowest: u8,
    /// Bits of each.
    pub width: u32,
}

impl Span {
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

    /// The highest number of so many bits.
    pub fn mark(self) -> u8 {
        ((1u32 << self.width) - 1) as u8
    }
}

/// Where a stream's codes begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bits into the path plane.
    pub path: usize,
    /// Path bits of the chain before this stream.
    pub run: usize,
    /// Bits into the cell plane.
    pub cells: usize,
}

/// Weights of each stream that have codes.
pub fn coded_lengths(layout: &Layout, mask: Option<&Mask>) -> Vec<usize> {
    match mask {
        Some(mask) => mask.lengths(layout),
        None => layout.lengths().collect(),
    }
}

/// The place of every stream, and the bytes of the two planes; `None` beyond `usize`.
pub fn places(
    layout: &Layout,
    window: u32,
    rates: &[u8],
    lengths: &[usize],
) -> Result<Option<(Vec<Place>, usize, usize)>> {
    let mut places = Vec::with_capacity(layout.len());
    let (mut path, mut cells) = (0usize, 0usize);
    for chain in 0..layout.chains() {
        let start = path;
        for stream in layout.chain(chain) {
            places.push(Place {
                path,
                run: path - start,
                cells,
            });
            if rates[stream] == 0 {
                continue;
            }
            let code = Trellis::pinned(rates[stream].into(), window)?.code;
            let len = lengths[stream];
            // A cell has at most 7 bits; eight times a plane's bytes must be a `usize` too.
            if len.checked_mul(8).is_none_or(|bits| {
                path.checked_add(bits + 8).is_none() || cells.checked_add(bits + 8).is_none()
            }) {
                return Ok(None);
            }
            path += code.path_len(len);
            cells += code.cells_len(len);
        }
        path = path.next_multiple_of(8);
        cells = cells.next_multiple_of(8);
    }
    Ok(Some((places, path / 8, cells / 8)))
}

impl Streams {
    /// Decode stream `index`, which begins at `place`, into as many values as it has weights.
    fn decode_stream(
        &self,
        index: usize,
        place: Place,
        incoherence: Option<&Incoherence>,
        values: &mut [f32],
    ) -> Result<()> {
        if self.rates[index] == 0 {
            values.fill(0.0);
            return Ok(());
        }
        let trellis = Trellis::pinned(self.rates[index].into(), self.window)?;
        let before = place.run.min(self.window as usize);
        let mut path = Reader::starting_at(&self.path, 1, place.path - before);
        let mut register = 0;
        for _ in 0..before {
            register = register << 1 | path.next_field() as usize;
        }
        let cells = Reader::starting_at(&self.cells, trellis.code.cell_bits(), place.cells);
        let scale = self.grid.scale(self.scales[index]);
        trellis.decode(&mut path, cells, register, scale, values);
        if let Some(incoherence) = incoherence {
            incoherence.inverse(values);
        }
        Ok(())
    }

    /// Decode all streams into `out`, the C-order elements of a tensor of this shape.
    pub(super) fn decode<T: Element>(
        &self,
        shape: &[usize],
        out: &mut [T],
        control: &Control,
    ) -> Result<()> {
        let layout = Layout::new(shape);
        let incoherence = self
            .seed
            .map(|seed| Incoherence::new(seed, layout.longest()));
        let restore = PowerOfTwo::new(self.exponent.into());
        let lengths = coded_lengths(&layout, self.mask.as_ref());
        let (places, _, _) = places(&layout, self.window, &self.rates, &lengths)?
            .expect("a tensor in memory has planes in memory");
        super::split_mut(out, layout.lengths())
            .into_par_iter()
            .zip(places)
            .enumerate()
            .try_for_each_init(Vec::new, |values, (index, (out, place))| {
                control.check()?;
                values.resize(out.len(), 0.0f32);
                let coded = &mut values[..lengths[index]];
                self.decode_stream(index, place, incoherence.as_ref(), coded)?;
                if let Some(mask) = &self.mask {
                    mask.spread(layout.stream(index), values);
                }
                for (element, value) in out.iter_mut().zip(values.iter()) {
                    *element = T::from_f64(restore.times(f64::from(*value)));
                }
                control.advance(out.len() as u64);
                Ok(())
            })
    }
}
