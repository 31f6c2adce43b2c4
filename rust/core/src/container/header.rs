//! The header of a safetensors file.

use std::collections::{BTreeMap, HashMap};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::{Error, ErrorKind, Result};

/// Bytes of the header's length at the start of a file.
pub const LENGTH: usize = 8;

/// The longest header that the safetensors library reads.
const LONGEST: u64 = 100_000_000;

fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Format, message)
}

/// The dtype with this name in safetensors files.
pub fn dtype_from_name(name: &str) -> Option<Dtype> {
    serde_json::from_value(name.into()).ok()
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Lengths of its axes.
    pub shape: Vec<usize>,
    /// Its first byte, relative to the end of the header.
    pub start: usize,
    /// The number of its bytes.
    pub len: usize,
}

/// What a file holds, in the order of its bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// All tensors.
    pub tensors: Vec<Tensor>,
    /// `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

/// The length of the header, from the first eight bytes of a file of `file` bytes.
///
/// # Errors
/// [`ErrorKind::Format`] if it exceeds the file, or the longest header that the safetensors library
/// reads.
pub fn header_length(first: &[u8], file: u64) -> Result<usize> {
    let Some((first, _)) = first.split_first_chunk::<LENGTH>() else {
        return Err(malformed(format!(
            "truncated: a safetensors file begins with the length of its header in {LENGTH} bytes, \
             this one has {}",
            first.len()
        )));
    };
    let length = u64::from_le_bytes(*first);
    if length > LONGEST {
        return Err(malformed(format!(
            "a header of {length} bytes: at most {LONGEST}; is it a safetensors file?"
        )));
    }
    let there = file.saturating_sub(LENGTH as u64);
    if length > there {
        return Err(malformed(format!(
            "truncated: a header of {length} bytes in a file with {there} after its first {LENGTH}"
        )));
    }
    Ok(length as usize)
}

impl Header {
    /// Read the JSON of the header of a file of `file` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Format`]: other JSON; an unknown dtype; a length that does not follow from dtype
    /// and shape; offsets that overlap, leave a gap, or do not end with the file.
    pub fn parse(json: &[u8], file: u64) -> Result<Self> {
        let metadata: Metadata = serde_json::from_slice(json)
            .map_err(|e| malformed(format!("the header of a safetensors file: {e}")))?;
        // The library has checked that tensors follow each other without gap or overlap.
        let data = metadata.data_len() as u64;
        let there = file.saturating_sub((LENGTH + json.len()) as u64);
        if data > there {
            return Err(malformed(format!(
                "truncated: the tensors take {data} bytes, {there} follow the header"
            )));
        }
        if data < there {
            return Err(malformed(format!(
                "{} bytes too many behind the last tensor",
                there - data
            )));
        }
        let tensors = metadata.offset_keys().into_iter().filter_map(|name| {
            let info = metadata.info(&name)?;
            Some(Tensor {
                dtype: info.dtype,
                shape: info.shape.clone(),
                start: info.data_offsets.0,
                len: info.data_offsets.1 - info.data_offsets.0,
                name,
            })
        });
        Ok(Self {
            tensors: tensors.collect(),
            metadata: metadata.metadata().clone().into_iter().flatten().collect(),
        })
    }

    /// A header for these tensors, one after the other: larger elements first, so that all are aligned,
    /// then by name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a name that occurs twice; [`ErrorKind::TooLarge`] if the
    /// sizes overflow.
    pub fn of(
        tensors: impl IntoIterator<Item = (String, Dtype, Vec<usize>)>,
        metadata: BTreeMap<String, String>,
    ) -> Result<Self> {
        let mut tensors: Vec<_> = tensors.into_iter().collect();
        tensors.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let mut start = 0usize;
        let placed = tensors.into_iter().map(|(name, dtype, shape)| {
            let too_large = || {
                Error::new(
                    ErrorKind::TooLarge,
                    format!("{name}: shape {shape:?} of {dtype} does not fit this machine"),
                )
            };
            let elements = shape
                .iter()
                .try_fold(1usize, |n, axis| n.checked_mul(*axis));
            let bits = elements.and_then(|n| n.checked_mul(dtype.bitsize()));
            let len = bits.ok_or_else(too_large)? / 8;
            let next = start.checked_add(len).ok_or_else(too_large)?;
            let tensor = Tensor {
                start,
                len,
                name,
                dtype,
                shape,
            };
            start = next;
            Ok(tensor)
        });
        let header = Self {
            tensors: placed.collect::<Result<_>>()?,
            metadata,
        };
        let mut names: Vec<_> = header.tensors.iter().map(|t| &t.name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("two tensors named {}", pair[0]),
            ));
        }
        Ok(header)
    }

    /// The start of a file: the length of the header, and the header padded to eight bytes.
    ///
    /// The bytes are deterministic: names are sorted, while the safetensors library would write
    /// metadata in the order of a hash map.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let wrong =
            |e: &dyn std::fmt::Display| Error::new(ErrorKind::InvalidArgument, e.to_string());
        let infos = self.tensors.iter().map(|tensor| {
            let info = TensorInfo {
                dtype: tensor.dtype,
                shape: tensor.shape.clone(),
                data_offsets: (tensor.start, tensor.start + tensor.len),
            };
            (tensor.name.clone(), info)
        });
        let said: HashMap<_, _> = self.metadata.clone().into_iter().collect();
        let metadata = Metadata::new((!said.is_empty()).then_some(said), infos.collect())
            .map_err(|e| wrong(&e))?;
        let sorted = serde_json::to_value(&metadata).map_err(|e| wrong(&e))?;
        let mut json = serde_json::to_vec(&sorted).map_err(|e| wrong(&e))?;
        json.resize(json.len().next_multiple_of(LENGTH), b' ');
        if json.len() as u64 > LONGEST {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("a header of {} bytes: at most {LONGEST}", json.len()),
            ));
        }
        let mut out = (json.len() as u64).to_le_bytes().to_vec();
        out.extend(json);
        Ok(out)
    }
}
