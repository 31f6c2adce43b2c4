//! Device memory of the caller, and planes of codes that are lent or copied.

use std::sync::Arc;

use crate::device::{Device, Stream};
use crate::error::{Error, ErrorKind, Result};
use crate::memory::Buffer;

/// Device memory of the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Its address.
    pub pointer: u64,
    /// Its length in bytes.
    pub bytes: usize,
}

/// Vectors of the caller on the device: each begins `stride` elements after the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vectors {
    /// Address of the first.
    pub pointer: u64,
    /// Elements from one to the next.
    pub stride: u64,
}

/// A plane of codes, in the caller's memory or in memory of this crate.
#[derive(Debug)]
pub(super) enum Plane {
    Lent(Span),
    Ours(Buffer),
}

impl Plane {
    /// Its address.
    pub fn pointer(&self) -> u64 {
        match self {
            Self::Lent(span) => span.pointer,
            Self::Ours(buffer) => buffer.pointer(),
        }
    }
}

/// Planes that are already on the device, in the order of [`PreparedTensor::planes`].
pub type Lent<'a> = Option<&'a [Span]>;

/// An error about an argument.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// An error unless `memory` has `bytes` bytes and this alignment.
pub(super) fn holds(memory: Span, bytes: usize, alignment: usize, what: &str) -> Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    if memory.bytes < bytes || memory.pointer == 0 {
        return Err(invalid(format!(
            "{what} has {} bytes: {bytes} are needed",
            memory.bytes
        )));
    }
    if !memory.pointer.is_multiple_of(alignment as u64) {
        return Err(invalid(format!(
            "{what} begins at {:#x}: a multiple of {alignment} is needed",
            memory.pointer
        )));
    }
    Ok(())
}

/// The planes on the device: copies, or the ends of the lent parts. (A part of the published method has
/// a header before its codes. Its length is a multiple of four bytes.)
pub(super) fn put<const N: usize>(
    device: &Arc<Device>,
    planes: [(&str, &[u8]); N],
    lent: Lent<'_>,
    stream: Stream,
) -> Result<[Plane; N]> {
    let mut found = Vec::with_capacity(N);
    for (i, (name, bytes)) in planes.into_iter().enumerate() {
        found.push(match lent {
            None => Plane::Ours(Buffer::holding(device, bytes, stream)?),
            Some(spans) => {
                let span = spans.get(i).copied().unwrap_or_default();
                // Kernels read planes in words.
                holds(span, bytes.len(), 4, name)?;
                Plane::Lent(Span {
                    pointer: span.pointer + (span.bytes - bytes.len()) as u64,
                    bytes: bytes.len(),
                })
            }
        });
    }
    Ok(found.try_into().expect("as many as there are"))
}
