//! A compressed tensor as bytes, as `docs/format.md` specifies.
//!
//! No byte that is read is trusted. Every size is checked against the number of bytes left before it
//! bounds an allocation or a loop. A checksum covers the whole.

use bytes::Bytes;

use super::axes::Axes;
use super::sections::{Head, Section, Sections, read_streams, sections_len};
use super::streams::{StoredRange, Streams};
use super::tensor::{CompressedTensor, Energy, MAX_AXES, Payload, weight_count};
use super::version::FormatVersion;
use crate::Result;
use crate::codec::numbers::element::Dtype;
use crate::codec::numbers::input::{Input, malformed, number_len, push_number};
use crate::codec::published::Winding;

const MAGIC: [u8; 4] = *b"HYPC";

impl CompressedTensor {
    /// The stored form, as `docs/format.md` describes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.nbytes());
        out.extend(MAGIC);
        let version = FormatVersion::of(self.axes, &self.payload);
        out.extend(version.number().to_le_bytes());
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
        out.extend(self.axes.numbers());
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

    /// Length of [`to_bytes`](Self::to_bytes), without writing it.
    pub fn nbytes(&self) -> usize {
        let payload = match &self.payload {
            Payload::Zeros => 0,
            Payload::Raw(bytes) => bytes.len(),
            Payload::Trellis(streams) => trellis_header(streams.seed) + sections_len(streams),
            Payload::Winding(winding) => winding.nbytes(),
        };
        header_len(&self.shape, self.axes) + payload
    }

    /// Read what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// Other bytes give an [`ErrorKind::Format`] error that says what was wrong and at which byte.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut input = Input::new(bytes);
        let magic: [u8; 4] = input.array("the magic number")?;
        if magic != MAGIC {
            return Err(malformed(
                "not a compressed tensor: it must begin with HYPC",
            ));
        }
        let number = u16::from_le_bytes(input.array("the version")?);
        let Some(version) = FormatVersion::from_number(number.into()) else {
            return Err(malformed(format!(
                "format version {number}: this program reads versions {:?}",
                FormatVersion::numbers()
            )));
        };
        let Some(body) = input.rest().len().checked_sub(4) else {
            return Err(malformed("truncated before the checksum"));
        };
        let (covered, checksum) = bytes.split_at(input.at() + body);
        if crc32fast::hash(covered).to_le_bytes() != checksum {
            return Err(malformed(
                "checksum mismatch: the bytes were altered or cut off",
            ));
        }
        input.truncate(body);

        let dtype = Dtype::from_code(input.byte("the dtype")?)?;
        let kind = input.byte("the codec number")?;
        let shape = read_shape(&mut input)?;
        let axes = match version.stores_axes() {
            false => Axes::InOrder,
            true => {
                let numbers = input.take(shape.len(), "the order of the axes")?;
                Axes::from_numbers(numbers, &shape, kind == 2)?
            }
        };
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
            2 => {
                let streams = read_trellis(&mut input, version, &axes.stored(&shape), dtype)?;
                Payload::Trellis(Box::new(streams))
            }
            3 => {
                let stored = input.take(input.rest().len(), "the trajectory codes")?;
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
        input.finish()?;
        Ok(Self {
            shape,
            axes,
            dtype,
            energy,
            payload,
        })
    }
}

/// Magic, version, dtype, codec, number of axes, two energies, checksum.
const FIXED: usize = 4 + 2 + 1 + 1 + 1 + 8 + 4;

/// Bytes of a stored tensor apart from its codec's part.
pub(in crate::codec) fn header_len(shape: &[usize], axes: Axes) -> usize {
    FIXED
        + axes.numbers().len()
        + shape
            .iter()
            .map(|axis| number_len(*axis as u64))
            .sum::<usize>()
}

/// Bytes of the trellis codec's part apart from its streams: exponent, W, flags, the seed, top and step
/// of the scale grid, lowest and width of the scales and of the rates.
pub(in crate::codec) fn trellis_header(seed: Option<u64>) -> usize {
    2 + 1 + 1 + seed.map_or(0, number_len) + 2 + 2 + 2
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
const EXACT: u8 = 8;

fn write_trellis(streams: &Streams, out: &mut Vec<u8>) {
    let head = Head::of(streams);
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.extend(head.exponent.to_le_bytes());
    out.push(head.window as u8);
    out.push(
        flag(head.seed.is_some(), SEED)
            | flag(head.mask, MASK)
            | flag(head.zero_streams, ZERO_STREAMS)
            | flag(head.exact, EXACT),
    );
    if let Some(seed) = head.seed {
        push_number(seed, out);
    }
    out.extend(head.grid.0.to_le_bytes());
    out.push(head.grid.1);
    for span in [head.scales, head.rates] {
        out.extend([span.lowest, span.width as u8]);
    }
    for section in Section::ALL {
        out.extend(section.write(streams));
    }
}

fn read_span(input: &mut Input<'_>, what: &str) -> Result<StoredRange> {
    let [lowest, width] = input.array(what)?;
    Ok(StoredRange {
        lowest,
        width: width.into(),
    })
}

fn read_trellis(
    input: &mut Input<'_>,
    version: &FormatVersion,
    shape: &[usize],
    dtype: Dtype,
) -> Result<Streams> {
    let exponent = i16::from_le_bytes(input.array("the exponent")?);
    let window = input.byte("the window")?.into();
    let flags = input.byte("the flags")?;
    if flags & !(SEED | MASK | ZERO_STREAMS | EXACT) != 0 {
        return Err(malformed(format!("flags {flags}: bits 0 to 3 are known")));
    }
    let head = Head {
        exponent,
        code_set: version.code_set(),
        window,
        seed: match flags & SEED {
            0 => None,
            _ => Some(input.number("the seed")?),
        },
        grid: (
            i8::from_le_bytes(input.array("the scale grid")?),
            input.byte("the scale grid")?,
        ),
        scales: read_span(input, "the row scales")?,
        rates: read_span(input, "the rates")?,
        zero_streams: flags & ZERO_STREAMS != 0,
        mask: flags & MASK != 0,
        exact: flags & EXACT != 0,
    };
    read_streams(&head, shape, dtype, input)
}

/// Sections lie one after the other.
impl Sections for Input<'_> {
    fn left(&self) -> usize {
        self.rest().len()
    }

    fn take(&mut self, _: Section, length: usize, what: &str) -> Result<Bytes> {
        Input::take(self, length, what).map(Bytes::copy_from_slice)
    }

    fn read<T>(
        &mut self,
        _: Section,
        _: &str,
        read: impl FnOnce(&mut Input<'_>) -> Result<T>,
    ) -> Result<T> {
        read(self)
    }
}
