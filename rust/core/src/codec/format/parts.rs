//! A compressed tensor as a description and parts, the form in which containers of tensors, state dicts
//! and GPUs hold it.
//!
//! The description, in JSON, says what the tensor is and how to read its parts, which are byte strings.
//! `docs/format.md` specifies both. Planes are not copied in either direction: a [`Bytes`] may refer to
//! memory that somebody else owns.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::axes::Axes;
use super::sections::{Head, Section, Sections, read_streams};
use super::streams::StoredRange;
use super::tensor::{CompressedTensor, Energy, Payload, weight_count};
use super::version::FormatVersion;
use crate::Result;
use crate::codec::numbers::element::Dtype;
use crate::codec::numbers::input::{Input, malformed};
use crate::codec::published::Winding;

/// The part of a tensor whose weights are stored as they are.
const RAW: &str = "raw";
/// The part of the published method.
const CODES: &str = "codes";

/// A compressed tensor as a description and parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// JSON.
    pub description: String,
    /// Name and bytes of each part that is not empty.
    pub parts: BTreeMap<String, Bytes>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CodecName {
    Zeros,
    Raw,
    Trellis,
    Winding,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    codec: CodecName,
    dtype: String,
    shape: Vec<usize>,
    /// The stored axes, if they do not have the tensor's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    axes: Option<Vec<u8>>,
    signal: f64,
    error: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trellis: Option<TrellisDescription>,
    parts: BTreeMap<String, PartDescription>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrellisDescription {
    exponent: i16,
    window: u8,
    seed: Option<u64>,
    /// Top and step.
    scale_grid: (i8, u8),
    /// Lowest number, and bits of each.
    scales: (u8, u8),
    rates: (u8, u8),
    zero_streams: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartDescription {
    bytes: usize,
    crc32: u32,
}

impl CompressedTensor {
    /// The description and the parts, from which [`from_parts`](Self::from_parts) restores the tensor.
    pub fn to_parts(&self) -> Parts {
        let (codec, trellis, parts) = match &self.payload {
            Payload::Zeros => (CodecName::Zeros, None, vec![]),
            Payload::Raw(bytes) => {
                let part = (RAW, Bytes::copy_from_slice(bytes));
                (CodecName::Raw, None, vec![part])
            }
            Payload::Trellis(streams) => {
                let parts = Section::ALL.map(|part| (part.name(), part.write(streams)));
                let head = TrellisDescription::of(&Head::of(streams));
                (CodecName::Trellis, Some(head), parts.to_vec())
            }
            Payload::Winding(winding) => {
                let mut bytes = Vec::new();
                winding.to_bytes(&mut bytes);
                (CodecName::Winding, None, vec![(CODES, bytes.into())])
            }
        };
        let parts: BTreeMap<String, Bytes> = parts
            .into_iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .map(|(name, bytes)| (name.to_owned(), bytes))
            .collect();
        let part = |bytes: &Bytes| PartDescription {
            bytes: bytes.len(),
            crc32: crc32fast::hash(bytes),
        };
        let axes = match self.axes {
            Axes::InOrder => None,
            axes => Some(axes.numbers().to_vec()),
        };
        let description = Description {
            format: FormatVersion::of(self.axes, &self.payload).number().into(),
            codec,
            dtype: self.dtype.name().to_owned(),
            shape: self.shape.clone(),
            axes,
            signal: self.energy.signal,
            error: self.energy.error,
            trellis,
            parts: parts.iter().map(|(n, b)| (n.clone(), part(b))).collect(),
        };
        Parts {
            description: serde_json::to_string(&description)
                .expect("a description has string keys and finite numbers"),
            parts,
        }
    }

    /// Restore a tensor from the result of [`to_parts`](Self::to_parts). Planes are not copied.
    ///
    /// The input is not trusted. The parts must be those that the description names, with the lengths
    /// that it states and that the codec's numbers require. With `verify` the checksums must match,
    /// too. Without it, altered bytes of a plane decode to other weights.
    ///
    /// # Errors
    /// [`ErrorKind::Format`](crate::ErrorKind::Format), with what was wrong in which part.
    pub fn from_parts(parts: Parts, verify: bool) -> Result<Self> {
        let Parts { description, parts } = parts;
        let description: Description = serde_json::from_str(&description)
            .map_err(|e| malformed(format!("the description of a compressed tensor: {e}")))?;
        let number = description.format;
        let Some(version) = FormatVersion::from_number(number) else {
            return Err(malformed(format!(
                "format {number}: this program reads formats {:?}",
                FormatVersion::numbers()
            )));
        };
        let axes = match (version.stores_axes(), &description.axes) {
            (false, None) => Axes::InOrder,
            (true, Some(numbers)) => {
                let codes = matches!(description.codec, CodecName::Trellis);
                Axes::from_numbers(numbers, &description.shape, codes)?
            }
            (false, Some(_)) => {
                return Err(malformed(format!(
                    "format {number} with axes: the order of axes is not stored in this format"
                )));
            }
            (true, None) => {
                return Err(malformed(format!(
                    "format {number} without axes: the order of axes is stored in this format"
                )));
            }
        };
        check_parts(&description, &parts, verify)?;
        let dtype =
            Dtype::from_name(&description.dtype).map_err(|e| malformed(e.message().to_owned()))?;
        let energy = Energy {
            signal: f64::from(description.signal as f32),
            error: f64::from(description.error as f32),
        };
        if !(energy.signal >= 0.0 && energy.error >= 0.0) {
            return Err(malformed("energies must not be negative"));
        }
        let weights = weight_count(&description.shape).map_err(|e| malformed(e.message()))?;
        let mut parts = PartsLeft(parts);
        let payload = match description.codec {
            CodecName::Zeros => Payload::Zeros,
            CodecName::Raw => {
                let bytes = parts.exactly(RAW, weights * dtype.size())?;
                Payload::Raw(bytes.to_vec())
            }
            CodecName::Trellis => {
                let trellis = description
                    .trellis
                    .ok_or_else(|| malformed("the description lacks the member trellis"))?;
                let head = trellis.head(version, &parts.0);
                let stored = axes.stored(&description.shape);
                let streams = read_streams(&head, &stored, dtype, &mut parts)?;
                Payload::Trellis(Box::new(streams))
            }
            CodecName::Winding => {
                let winding = Winding::from_bytes(&parts.remove(CODES)?)?;
                if winding.len() != weights {
                    return Err(malformed(format!(
                        "trajectory codes of {} weights in a tensor of {weights}",
                        winding.len()
                    )));
                }
                Payload::Winding(winding)
            }
        };
        if let Some(name) = parts.0.keys().next() {
            return Err(malformed(format!("part {name}: the codec has none")));
        }
        Ok(Self {
            shape: description.shape,
            axes,
            dtype,
            energy,
            payload,
        })
    }
}

impl TrellisDescription {
    fn of(head: &Head) -> Self {
        let pair = |span: StoredRange| (span.lowest, span.width as u8);
        Self {
            exponent: head.exponent,
            window: head.window as u8,
            seed: head.seed,
            scale_grid: head.grid,
            scales: pair(head.scales),
            rates: pair(head.rates),
            zero_streams: head.zero_streams,
        }
    }

    fn head(&self, version: &FormatVersion, parts: &BTreeMap<String, Bytes>) -> Head {
        let span = |(lowest, width): (u8, u8)| StoredRange {
            lowest,
            width: width.into(),
        };
        Head {
            exponent: self.exponent,
            code_set: version.code_set(),
            window: self.window.into(),
            seed: self.seed,
            grid: self.scale_grid,
            scales: span(self.scales),
            rates: span(self.rates),
            zero_streams: self.zero_streams,
            mask: parts.contains_key(Section::Mask.name()),
            exact: parts.contains_key(Section::Exact.name()),
        }
    }
}

/// An error unless the parts are those that the description names.
fn check_parts(
    description: &Description,
    parts: &BTreeMap<String, Bytes>,
    verify: bool,
) -> Result<()> {
    if let Some(name) = parts.keys().find(|n| !description.parts.contains_key(*n)) {
        return Err(malformed(format!(
            "part {name} is not in the description of its tensor"
        )));
    }
    for (name, part) in &description.parts {
        let bytes = parts
            .get(name)
            .ok_or_else(|| malformed(format!("part {name} is missing")))?;
        if bytes.len() != part.bytes {
            return Err(malformed(format!(
                "part {name} has {} bytes: the description says {}",
                bytes.len(),
                part.bytes
            )));
        }
        if verify && crc32fast::hash(bytes) != part.crc32 {
            return Err(malformed(format!(
                "part {name}: checksum mismatch, its bytes were altered"
            )));
        }
    }
    Ok(())
}

/// The parts that have not been taken yet.
struct PartsLeft(BTreeMap<String, Bytes>);

impl PartsLeft {
    fn remove(&mut self, name: &str) -> Result<Bytes> {
        self.0
            .remove(name)
            .ok_or_else(|| malformed(format!("part {name} is missing")))
    }

    /// Take a part of this length. A part of length 0 must be absent.
    fn exactly(&mut self, name: &str, length: usize) -> Result<Bytes> {
        let bytes = match length {
            0 => self.0.remove(name).unwrap_or_default(),
            _ => self.remove(name)?,
        };
        match bytes.len() == length {
            true => Ok(bytes),
            false => Err(malformed(format!(
                "part {name} has {} bytes where the codec's numbers call for {length}",
                bytes.len()
            ))),
        }
    }
}

/// Sections are found by name.
impl Sections for PartsLeft {
    fn left(&self) -> usize {
        self.0.values().map(Bytes::len).sum()
    }

    fn take(&mut self, section: Section, length: usize, _: &str) -> Result<Bytes> {
        self.exactly(section.name(), length)
    }

    fn read<T>(
        &mut self,
        section: Section,
        _: &str,
        read: impl FnOnce(&mut Input<'_>) -> Result<T>,
    ) -> Result<T> {
        let name = section.name();
        let bytes = self.remove(name)?;
        let mut input = Input::new(&bytes);
        read(&mut input)
            .and_then(|value| input.finish().map(|()| value))
            .map_err(|e| malformed(format!("part {name}: {}", e.message())))
    }
}
