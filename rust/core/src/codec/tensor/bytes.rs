//! A compressed tensor as bytes: `docs/format.md` is the description, this its implementation.
//!
//! Nothing read is trusted: every size is checked against the bytes that are there before anything
//! is allocated or walked by it, and a checksum covers the whole.

use super::streams::{RATE_WIDTHS, Starts, Streams, lowest_rate, rate_width, starts};
use super::{CompressedTensor, Energy, MAX_AXES, Payload, weight_count};
use crate::codec::bitstream::{Reader, pack, packed_len};
use crate::codec::element::Dtype;
use crate::codec::layout::Layout;
use crate::codec::scale::{ScaleGrid, ZERO_ROW};
use crate::codec::trellis::{HALF_BITS, Trellis};
use crate::codec::winding::Winding;
use crate::{Error, ErrorKind, Result};

const MAGIC: [u8; 4] = *b"HYPC";
/// 0 is the draft that may still change; the first released version will be 1.
const VERSION: u16 = 0;

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
    fn length(&mut self, what: &str) -> Result<usize> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let group = u64::from(byte & 0x7F);
            if group << shift >> shift != group {
                break;
            }
            value |= group << shift;
            if byte < 0x80 {
                return usize::try_from(value)
                    .map_err(|_| malformed(format!("{what}: {value} is too large")));
            }
        }
        Err(malformed(format!("{what}: a number beyond 64 bits")))
    }
}

fn push_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// Bytes that [`push_length`] takes.
fn length_len(length: usize) -> usize {
    (usize::BITS - length.leading_zeros()).div_ceil(7).max(1) as usize
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
            push_length(axis, &mut out);
        }
        out.extend(self.energy.signal.to_le_bytes());
        out.extend(self.energy.error.to_le_bytes());
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
            Payload::Trellis(streams) => {
                let rates = packed_len(streams.rates.len(), rate_width(&streams.rates));
                let planes = streams.path.len() + streams.cells.len();
                trellis_header(streams.seed) + streams.scales.len() + rates + planes
            }
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
            signal: f64::from_le_bytes(input.array("the signal energy")?),
            error: f64::from_le_bytes(input.array("the error energy")?),
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
            2 => Payload::Trellis(read_trellis(&mut input, &Layout::new(&shape))?),
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
const FIXED: usize = 4 + 2 + 1 + 1 + 1 + 16 + 4;

/// Bytes of a stored tensor beside its codec's part.
pub(super) fn header_len(shape: &[usize]) -> usize {
    FIXED + shape.iter().map(|axis| length_len(*axis)).sum::<usize>()
}

/// Bytes of the trellis codec's part beside its streams: exponent, W, whether there is a seed, the
/// seed, top and step of the scale grid, lowest rate and width of the rates.
pub(super) fn trellis_header(seed: Option<u64>) -> usize {
    2 + 1 + 1 + seed.map_or(0, |_| 8) + 1 + 1 + 1 + 1
}

fn read_shape(input: &mut Input<'_>) -> Result<Vec<usize>> {
    let axes = usize::from(input.byte("the number of axes")?);
    if axes > MAX_AXES {
        return Err(malformed(format!("{axes} axes: at most {MAX_AXES}")));
    }
    (0..axes).map(|_| input.length("the shape")).collect()
}

fn write_trellis(streams: &Streams, out: &mut Vec<u8>) {
    let (top, step) = streams.grid.parts();
    let (lowest, width) = (lowest_rate(&streams.rates), rate_width(&streams.rates));
    out.extend(streams.exponent.to_le_bytes());
    out.push(streams.window as u8);
    out.push(streams.seed.is_some().into());
    out.extend(streams.seed.iter().flat_map(|seed| seed.to_le_bytes()));
    out.extend(top.to_le_bytes());
    out.push(step);
    out.push(lowest);
    out.push(width as u8);
    out.extend(&streams.scales);
    let above: Vec<u8> = streams
        .rates
        .iter()
        .map(|h| h.saturating_sub(lowest))
        .collect();
    let at = out.len();
    out.resize(at + packed_len(above.len(), width), 0);
    pack(&above, width, &mut out[at..]);
    out.extend(&streams.path);
    out.extend(&streams.cells);
}

fn read_trellis(input: &mut Input<'_>, layout: &Layout) -> Result<Streams> {
    let exponent = i16::from_le_bytes(input.array("the exponent")?);
    let window = u32::from(input.byte("the window")?);
    Trellis::pinned(1, window).map_err(|e| malformed(e.message()))?;
    let seed = match input.byte("the transform")? {
        0 => None,
        1 => Some(u64::from_le_bytes(input.array("the seed")?)),
        other => {
            return Err(malformed(format!(
                "transform number {other}: known are 0 and 1"
            )));
        }
    };
    let top = i8::from_le_bytes(input.array("the scale grid")?);
    let grid = ScaleGrid::from_parts(top, input.byte("the scale grid")?)?;
    let lowest = input.byte("the lowest rate")?;
    let width = u32::from(input.byte("the width of the rates")?);
    if !RATE_WIDTHS.contains(&width) {
        return Err(malformed(format!(
            "rates of {width} bits: {RATE_WIDTHS:?} are accepted"
        )));
    }
    // One byte a stream is taken first: it bounds the number of streams by the bytes at hand, and
    // only then are the streams walked.
    let scales = input.take(layout.len(), "the row scales")?.to_vec();
    let packed = input.take(packed_len(layout.len(), width), "the rates")?;
    let mut above = Reader::new(packed, width);
    let mut rates = Vec::with_capacity(scales.len());
    for (stream, scale) in scales.iter().enumerate() {
        let rate = u32::from(lowest) + above.next_field();
        if *scale == ZERO_ROW {
            rates.push(0);
        } else if HALF_BITS.contains(&rate) {
            rates.push(rate as u8);
        } else {
            return Err(malformed(format!(
                "stream {stream} has a rate of {rate} half bits: {} to {} are accepted",
                HALF_BITS.start(),
                HALF_BITS.end()
            )));
        }
    }
    let (_, path, cells) =
        starts(layout, &rates).ok_or_else(|| malformed("planes beyond this machine"))?;
    Ok(Streams {
        exponent,
        window,
        seed,
        grid,
        scales,
        rates,
        path: input.take(path, "the path plane")?.to_vec(),
        cells: input.take(cells, "the cell plane")?.to_vec(),
        starts: Starts::default(),
    })
}
