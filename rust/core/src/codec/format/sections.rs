//! The stored content of trellis streams: the few numbers of a [`Head`], and sections of bytes. As
//! bytes (`bytes.rs`), they lie one after the other. As parts (`parts.rs`), each section is a part.

use bytes::Bytes;

use super::exceptions::Exceptions;
use super::layout::Layout;
use super::mask::Mask;
use super::scale::{ScaleGrid, ZERO_ROW};
use super::streams::{Near, Starts, StoredRange, Streams, coded_length, starts};
use crate::Result;
use crate::codec::numbers::bitstream::{Reader, pack, packed_len};
use crate::codec::numbers::element::Dtype;
use crate::codec::numbers::input::{Input, malformed};
use crate::codec::trellis::code::HALF_BITS;
use crate::codec::trellis::code_set::CodeSet;

/// A section of the stored streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::codec) enum Section {
    Scales,
    Rates,
    Mask,
    Path,
    Cells,
    Exact,
}

impl Section {
    /// In the order of the stored form.
    pub const ALL: [Self; 6] = [
        Self::Scales,
        Self::Rates,
        Self::Mask,
        Self::Path,
        Self::Cells,
        Self::Exact,
    ];

    /// Its name as a part.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scales => "scales",
            Self::Rates => "rates",
            Self::Mask => "mask",
            Self::Path => "path",
            Self::Cells => "cells",
            Self::Exact => "exact",
        }
    }

    /// Its name in error messages.
    fn what(self) -> &'static str {
        match self {
            Self::Scales => "the row scales",
            Self::Rates => "the rates",
            Self::Mask => "the mask of zeros",
            Self::Path => "the path plane",
            Self::Cells => "the cell plane",
            Self::Exact => "the exact weights",
        }
    }

    /// The bytes of the section.
    pub fn write(self, streams: &Streams) -> Bytes {
        match self {
            Self::Scales => packed_scales(&streams.scales),
            Self::Rates => packed_rates(&streams.rates),
            Self::Mask => match &streams.mask {
                Some(mask) => Bytes::copy_from_slice(mask.stored()),
                None => Bytes::new(),
            },
            Self::Path => streams.path.clone(),
            Self::Cells => streams.cells.clone(),
            Self::Exact => {
                let mut out = Vec::new();
                if !streams.exceptions.is_empty() {
                    streams.exceptions.write(&mut out);
                }
                out.into()
            }
        }
    }
}

/// Pack one small number for each stream: its difference to the lowest, in `width` bits.
fn packed(numbers: impl Iterator<Item = u8>, width: u32) -> Bytes {
    let numbers: Vec<u8> = numbers.collect();
    let mut out = vec![0; packed_len(numbers.len(), width)];
    pack(&numbers, width, &mut out);
    out.into()
}

fn packed_scales(scales: &[u8]) -> Bytes {
    let span = StoredRange::of_scales(scales);
    let number = |scale: u8| match scale {
        ZERO_ROW => span.mark(),
        scale => scale - span.lowest,
    };
    packed(scales.iter().map(|scale| number(*scale)), span.width)
}

fn packed_rates(rates: &[u8]) -> Bytes {
    let span = StoredRange::of_rates(rates);
    let number = |rate: &u8| rate.saturating_sub(span.lowest);
    packed(rates.iter().map(number), span.width)
}

/// Bytes of all sections.
pub(in crate::codec) fn sections_len(streams: &Streams) -> usize {
    let count = streams.scales.len();
    let scales = packed_len(count, StoredRange::of_scales(&streams.scales).width);
    let rates = packed_len(count, StoredRange::of_rates(&streams.rates).width);
    let mask = streams.mask.as_ref().map_or(0, |mask| mask.stored().len());
    let exceptions = match streams.exceptions.is_empty() {
        true => 0,
        false => streams.exceptions.nbytes(),
    };
    scales + rates + mask + streams.path.len() + streams.cells.len() + exceptions
}

/// The numbers that a reader of the sections needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::codec) struct Head {
    pub exponent: i16,
    pub code_set: &'static CodeSet,
    pub window: u32,
    pub seed: Option<u64>,
    /// Top and step of the scale grid.
    pub grid: (i8, u8),
    pub scales: StoredRange,
    pub rates: StoredRange,
    /// Whether the highest scale number marks streams of zeros.
    pub zero_streams: bool,
    pub mask: bool,
    pub exact: bool,
}

impl Head {
    pub fn of(streams: &Streams) -> Self {
        Self {
            exponent: streams.exponent,
            code_set: streams.code_set,
            window: streams.window,
            seed: streams.seed,
            grid: streams.grid.parts(),
            scales: StoredRange::of_scales(&streams.scales),
            rates: StoredRange::of_rates(&streams.rates),
            zero_streams: streams.scales.contains(&ZERO_ROW),
            mask: streams.mask.is_some(),
            exact: !streams.exceptions.is_empty(),
        }
    }
}

/// Where sections are read from.
pub(in crate::codec) trait Sections {
    /// Number of bytes left.
    fn left(&self) -> usize;

    /// Take a section of a known length, called `what` in errors.
    fn take(&mut self, section: Section, length: usize, what: &str) -> Result<Bytes>;

    /// Take a section whose length `read` finds.
    fn read<T>(
        &mut self,
        section: Section,
        what: &str,
        read: impl FnOnce(&mut Input<'_>) -> Result<T>,
    ) -> Result<T>;
}

/// Unpack one number for each stream, relative to the lowest.
fn numbers(
    from: &mut impl Sections,
    section: Section,
    span: StoredRange,
    count: usize,
) -> Result<Vec<u32>> {
    let what = section.what();
    if span.width > 8 {
        return Err(malformed(format!(
            "{what} of {} bits: 0 to 8 are accepted",
            span.width
        )));
    }
    let bits = count
        .checked_mul(span.width as usize)
        .ok_or_else(|| malformed(format!("{what} are too large for this machine")))?;
    let bytes = from.take(section, bits.div_ceil(8), what)?;
    let mut reader = Reader::new(&bytes, span.width);
    Ok((0..count).map(|_| reader.next_field()).collect())
}

/// Read the streams of a tensor of this shape and dtype.
///
/// The input is not trusted: every length is checked against the number of bytes left before it bounds
/// an allocation or a loop.
pub(in crate::codec) fn read_streams(
    head: &Head,
    shape: &[usize],
    dtype: Dtype,
    from: &mut impl Sections,
) -> Result<Streams> {
    let layout = &Layout::new(shape);
    let codes = head.code_set.window(head.window);
    codes.map_err(|e| malformed(e.message()))?;
    let grid = ScaleGrid::from_parts(head.grid.0, head.grid.1)?;
    // Every stream has at least one bit, so the number of bytes bounds the number of streams before a
    // loop over them.
    if layout.len() / 8 > from.left() {
        return Err(malformed(format!(
            "truncated: {} streams in {} bytes",
            layout.len(),
            from.left()
        )));
    }
    let scales = numbers(from, Section::Scales, head.scales, layout.len())?;
    let rates = numbers(from, Section::Rates, head.rates, layout.len())?;
    let mut streams = Streams {
        exponent: head.exponent,
        code_set: head.code_set,
        window: head.window,
        seed: head.seed,
        grid,
        scales: Vec::with_capacity(layout.len()),
        rates: Vec::with_capacity(layout.len()),
        path: Bytes::new(),
        cells: Bytes::new(),
        mask: None,
        exceptions: Exceptions::default(),
        starts: Starts::default(),
        near: Near::default(),
    };
    let mark = u32::from(head.scales.mark());
    for (stream, (scale, rate)) in scales.into_iter().zip(rates).enumerate() {
        if head.zero_streams && scale == mark {
            streams.scales.push(ZERO_ROW);
            streams.rates.push(0);
            continue;
        }
        let scale = scale + u32::from(head.scales.lowest);
        let rate = rate + u32::from(head.rates.lowest);
        if scale >= ZERO_ROW.into() || !HALF_BITS.contains(&rate) {
            return Err(malformed(format!(
                "stream {stream} has scale number {scale} and {rate} half bits: 0 to 254 and {} to {} are accepted",
                HALF_BITS.start(),
                HALF_BITS.end()
            )));
        }
        streams.scales.push(scale as u8);
        streams.rates.push(rate as u8);
    }
    if head.mask {
        let what = Section::Mask.what();
        let mask = from.read(Section::Mask, what, |input| {
            let (mask, used) = Mask::read(input.rest(), layout)?;
            input.take(used, what)?;
            Ok(mask)
        })?;
        streams.mask = Some(mask);
    }
    // No encoder writes such a tensor, and its stored form would have fewer bytes than the check above
    // requires.
    let empty = |stream: usize| coded_length(layout, streams.mask.as_ref(), stream) == 0;
    if streams.rates.iter().all(|rate| *rate == 0) {
        return Err(malformed("a trellis tensor whose streams are all zeros"));
    }
    if streams.mask.is_some()
        && let Some(stream) = (0..layout.len()).find(|s| streams.rates[*s] > 0 && empty(*s))
    {
        return Err(malformed(format!(
            "stream {stream} has a rate, but the mask leaves it no weights"
        )));
    }
    let (_, path, cells) = starts(head.code_set, layout, &streams.rates, streams.mask.as_ref())
        .ok_or_else(|| malformed("the planes are too large for this machine"))?;
    streams.path = from.take(Section::Path, path, Section::Path.what())?;
    streams.cells = from.take(Section::Cells, cells, Section::Cells.what())?;
    if head.exact {
        let weights = shape.iter().product();
        streams.exceptions = from.read(Section::Exact, Section::Exact.what(), |input| {
            Exceptions::read(input, dtype, weights)
        })?;
    }
    Ok(streams)
}
