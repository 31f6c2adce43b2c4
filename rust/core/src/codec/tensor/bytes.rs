//! A compressed tensor as bytes: `docs/format.md` is the description, this its implementation.
//!
//! Nothing read is trusted: every size is checked against the bytes that are there before anything
//! is allocated or walked by it, and a checksum covers the whole.

use super::exceptions::Exceptions;
use super::streams::{Span, Starts, Streams, starts};
use super::{CompressedTensor, Energy, MAX_AXES, Payload, weight_count};
use crate::codec::bitstream::{Reader, pack, packed_len};
use crate::codec::element::Dtype;
use crate::codec::layout::Layout;
use crate::codec::mask::Mask;
use crate::codec::scale::{ScaleGrid, ZERO_ROW};
use crate::codec::trellis::{HALF_BITS, Trellis};
use crate::codec::winding::Winding;
use crate::{Error, ErrorKind, Result};

const MAGIC: [u8; 4] = *b"HYPC";
const VERSION: u16 = 1;

fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Format, message)
}

/// The unread part of a byte string, and where it begins.
struct Input<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(malformed(format!(
                "truncated: {what} needs {length} bytes at byte {}, {} are left",
                self.at,
                self.rest.len()
            )));
        };
        self.rest = rest;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    fn byte(&mut self, what: &str) -> Result<u8> {
        Ok(self.array::<1>(what)?[0])
    }

    /// A number in groups of seven bits, least first, all but the last marked by the highest bit.
    fn number(&mut self, what: &str) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let group = u64::from(byte & 0x7F);
            if group << shift >> shift != group {
                break;
            }
            value |= group << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed(format!("{what}: a number beyond 64 bits")))
    }

    /// Such a number that is a length or a place in memory.
    fn length(&mut self, what: &str) -> Result<usize> {
        let number = self.number(what)?;
        usize::try_from(number).map_err(|_| malformed(format!("{what}: {number} is too large")))
    }
}

/// Append a number in groups of seven bits.
pub(super) fn push_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes that [`push_number`] takes.
fn number_len(number: u64) -> usize {
    (u64::BITS - number.leading_zeros()).div_ceil(7).max(1) as usize
}

impl CompressedTensor {
    /// The stored form, as `docs/format.md` describes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.nbytes());
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.push(self.dtype as u8);
        out.push(match &self.payload {
            Payload::Zeros => 0,
            Payload::Raw(_) => 1,
            Payload::Trellis(_) => 2,
            Payload::Winding(_) => 3,
        });
        out.push(self.shape.len() as u8);
        for &axis in &self.shape {
            push_number(axis as u64, &mut out);
        }
        for energy in [self.energy.signal, self.energy.error] {
            out.extend((energy as f32).to_le_bytes());
        }
        match &self.payload {
            Payload::Zeros => {}
            Payload::Raw(bytes) => out.extend(bytes),
            Payload::Trellis(streams) => write_trellis(streams, &mut out),
            Payload::Winding(winding) => winding.to_bytes(&mut out),
        }
        let checksum = crc32fast::hash(&out);
        out.extend(checksum.to_le_bytes());
        out
    }

    /// Length of [`to_bytes`](Self::to_bytes): everything that has to be kept.
    pub fn nbytes(&self) -> usize {
        let payload = match &self.payload {
            Payload::Zeros => 0,
            Payload::Raw(bytes) => bytes.len(),
            Payload::Trellis(streams) => trellis_header(streams.seed) + streams_len(streams),
            Payload::Winding(winding) => winding.nbytes(),
        };
        header_len(&self.shape) + payload
    }

    /// Read what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// Anything else is an [`ErrorKind::Format`] error that says what was wrong and at which byte.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut input = Input { rest: bytes, at: 0 };
        let magic: [u8; 4] = input.array("the magic number")?;
        if magic != MAGIC {
            return Err(malformed(
                "not a compressed tensor: it must begin with HYPC",
            ));
        }
        let version = u16::from_le_bytes(input.array("the version")?);
        if version != VERSION {
            return Err(malformed(format!(
                "format version {version}: this program reads version {VERSION}"
            )));
        }
        let Some(body) = input.rest.len().checked_sub(4) else {
            return Err(malformed("truncated before the checksum"));
        };
        let (covered, checksum) = bytes.split_at(input.at + body);
        if crc32fast::hash(covered).to_le_bytes() != checksum {
            return Err(malformed(
                "checksum mismatch: the bytes were altered or cut off",
            ));
        }
        input.rest = &input.rest[..body];

        let dtype = Dtype::from_code(input.byte("the dtype")?)?;
        let kind = input.byte("the codec number")?;
        let shape = read_shape(&mut input)?;
        let energy = Energy {
            signal: f32::from_le_bytes(input.array("the signal energy")?).into(),
            error: f32::from_le_bytes(input.array("the error energy")?).into(),
        };
        if !(energy.signal >= 0.0 && energy.error >= 0.0) {
            return Err(malformed("energies must not be negative or NaN"));
        }
        let weights = weight_count(&shape).map_err(|e| malformed(e.message()))?;
        let payload = match kind {
            0 => Payload::Zeros,
            1 => Payload::Raw(
                input
                    .take(weights * dtype.size(), "the raw weights")?
                    .to_vec(),
            ),
            2 => Payload::Trellis(read_trellis(&mut input, &shape, dtype)?),
            3 => {
                let stored = input.take(input.rest.len(), "the trajectory codes")?;
                let winding = Winding::from_bytes(stored)?;
                if winding.len() != weights {
                    return Err(malformed(format!(
                        "trajectory codes of {} weights in a tensor of {weights}",
                        winding.len()
                    )));
                }
                Payload::Winding(winding)
            }
            other => return Err(malformed(format!("codec number {other}: known are 0 to 3"))),
        };
        if !input.rest.is_empty() {
            return Err(malformed(format!(
                "{} bytes too many at byte {}",
                input.rest.len(),
                input.at
            )));
        }
        Ok(Self {
            shape,
            dtype,
            energy,
            payload,
        })
    }
}

/// Magic, version, dtype, codec, number of axes, two energies, checksum.
const FIXED: usize = 4 + 2 + 1 + 1 + 1 + 8 + 4;

/// Bytes of a stored tensor beside its codec's part.
pub(super) fn header_len(shape: &[usize]) -> usize {
    FIXED
        + shape
            .iter()
            .map(|axis| number_len(*axis as u64))
            .sum::<usize>()
}

/// Bytes of the trellis codec's part beside its streams: exponent, W, flags, the seed, top and step
/// of the scale grid, lowest and width of the scales and of the rates.
pub(super) fn trellis_header(seed: Option<u64>) -> usize {
    2 + 1 + 1 + seed.map_or(0, number_len) + 2 + 2 + 2
}

/// Bytes of the streams.
pub(super) fn streams_len(streams: &Streams) -> usize {
    let count = streams.scales.len();
    let scales = packed_len(count, Span::of_scales(&streams.scales).width);
    let rates = packed_len(count, Span::of_rates(&streams.rates).width);
    let mask = streams.mask.as_ref().map_or(0, |mask| mask.stored().len());
    let exceptions = match streams.exceptions.is_empty() {
        true => 0,
        false => streams.exceptions.nbytes(),
    };
    scales + rates + mask + streams.path.len() + streams.cells.len() + exceptions
}

fn read_shape(input: &mut Input<'_>) -> Result<Vec<usize>> {
    let axes = usize::from(input.byte("the number of axes")?);
    if axes > MAX_AXES {
        return Err(malformed(format!("{axes} axes: at most {MAX_AXES}")));
    }
    (0..axes).map(|_| input.length("the shape")).collect()
}

/// Flags of the trellis codec's part.
const SEED: u8 = 1;
const MASK: u8 = 2;
const ZERO_STREAMS: u8 = 4;
const EXCEPTIONS: u8 = 8;

fn write_trellis(streams: &Streams, out: &mut Vec<u8>) {
    let (top, step) = streams.grid.parts();
    let scales = Span::of_scales(&streams.scales);
    let rates = Span::of_rates(&streams.rates);
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.extend(streams.exponent.to_le_bytes());
    out.push(streams.window as u8);
    out.push(
        flag(streams.seed.is_some(), SEED)
            | flag(streams.mask.is_some(), MASK)
            | flag(streams.scales.contains(&ZERO_ROW), ZERO_STREAMS)
            | flag(!streams.exceptions.is_empty(), EXCEPTIONS),
    );
    if let Some(seed) = streams.seed {
        push_number(seed, out);
    }
    out.extend(top.to_le_bytes());
    out.push(step);
    for span in [scales, rates] {
        out.extend([span.lowest, span.width as u8]);
    }
    let numbers = |number: fn(u8, Span) -> u8, all: &[u8], span: Span| -> Vec<u8> {
        all.iter().map(|x| number(*x, span)).collect()
    };
    let scale = |x, span: Span| {
        if x == ZERO_ROW {
            span.mark()
        } else {
            x - span.lowest
        }
    };
    let rate = |x: u8, span: Span| x.saturating_sub(span.lowest);
    for (numbers, span) in [
        (numbers(scale, &streams.scales, scales), scales),
        (numbers(rate, &streams.rates, rates), rates),
    ] {
        let at = out.len();
        out.resize(at + packed_len(numbers.len(), span.width), 0);
        pack(&numbers, span.width, &mut out[at..]);
    }
    out.extend(streams.mask.iter().flat_map(|mask| mask.stored()));
    out.extend(&streams.path);
    out.extend(&streams.cells);
    if !streams.exceptions.is_empty() {
        streams.exceptions.write(out);
    }
}

fn read_exceptions(input: &mut Input<'_>, dtype: Dtype, weights: usize) -> Result<Exceptions> {
    let count = input.length("the number of exact weights")?;
    // A gap takes a byte at least.
    if count > input.rest.len() {
        return Err(malformed(format!(
            "truncated: {count} exact weights in {} bytes",
            input.rest.len()
        )));
    }
    let mut places = Vec::with_capacity(count);
    let mut next = 0usize;
    for _ in 0..count {
        let place = next
            .checked_add(input.length("the place of an exact weight")?)
            .filter(|place| *place < weights)
            .ok_or_else(|| malformed(format!("an exact weight beyond the {weights} there are")))?;
        places.push(place);
        next = place + 1;
    }
    let values = input.take(count * dtype.size(), "the exact weights")?;
    Exceptions::new(places, values, dtype)
}

fn read_span(input: &mut Input<'_>, what: &str) -> Result<Span> {
    let [lowest, width] = input.array(what)?;
    if width > 8 {
        return Err(malformed(format!(
            "{what} of {width} bits: 0 to 8 are accepted"
        )));
    }
    Ok(Span {
        lowest,
        width: width.into(),
    })
}

/// One packed number a stream, as `u32`s above the lowest.
fn read_numbers<'a>(
    input: &mut Input<'a>,
    span: Span,
    count: usize,
    what: &str,
) -> Result<impl Iterator<Item = u32> + use<'a>> {
    let bits = count
        .checked_mul(span.width as usize)
        .ok_or_else(|| malformed(format!("{what} beyond this machine")))?;
    let mut reader = Reader::new(input.take(bits.div_ceil(8), what)?, span.width);
    Ok((0..count).map(move |_| reader.next_field()))
}

fn read_trellis(input: &mut Input<'_>, shape: &[usize], dtype: Dtype) -> Result<Streams> {
    let layout = &Layout::new(shape);
    let exponent = i16::from_le_bytes(input.array("the exponent")?);
    let window = u32::from(input.byte("the window")?);
    Trellis::pinned(1, window).map_err(|e| malformed(e.message()))?;
    let flags = input.byte("the flags")?;
    if flags & !(SEED | MASK | ZERO_STREAMS | EXCEPTIONS) != 0 {
        return Err(malformed(format!("flags {flags}: bits 0 to 3 are known")));
    }
    let seed = match flags & SEED {
        0 => None,
        _ => Some(input.number("the seed")?),
    };
    let top = i8::from_le_bytes(input.array("the scale grid")?);
    let grid = ScaleGrid::from_parts(top, input.byte("the scale grid")?)?;
    let scale_span = read_span(input, "the row scales")?;
    let rate_span = read_span(input, "the rates")?;
    // Every stream has codes, so that bytes bound the number of streams before they are walked.
    if layout.len() / 8 > input.rest.len() {
        return Err(malformed(format!(
            "truncated: {} streams in {} bytes",
            layout.len(),
            input.rest.len()
        )));
    }
    let scales = read_numbers(input, scale_span, layout.len(), "the row scales")?;
    let rates = read_numbers(input, rate_span, layout.len(), "the rates")?;
    let mut streams = Streams {
        exponent,
        window,
        seed,
        grid,
        scales: Vec::with_capacity(layout.len()),
        rates: Vec::with_capacity(layout.len()),
        path: Vec::new(),
        cells: Vec::new(),
        mask: None,
        exceptions: Exceptions::default(),
        starts: Starts::default(),
    };
    for (stream, (scale, rate)) in scales.zip(rates).enumerate() {
        if flags & ZERO_STREAMS != 0 && scale == u32::from(scale_span.mark()) {
            streams.scales.push(ZERO_ROW);
            streams.rates.push(0);
            continue;
        }
        let scale = scale + u32::from(scale_span.lowest);
        let rate = rate + u32::from(rate_span.lowest);
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
    if flags & MASK != 0 {
        let (mask, used) = Mask::read(input.rest, layout)?;
        input.take(used, "the mask of zeros")?;
        streams.mask = Some(mask);
    }
    let (_, path, cells) = starts(layout, &streams.rates, streams.mask.as_ref())
        .ok_or_else(|| malformed("planes beyond this machine"))?;
    streams.path = input.take(path, "the path plane")?.to_vec();
    streams.cells = input.take(cells, "the cell plane")?.to_vec();
    if flags & EXCEPTIONS != 0 {
        streams.exceptions = read_exceptions(input, dtype, shape.iter().product())?;
    }
    Ok(streams)
}
