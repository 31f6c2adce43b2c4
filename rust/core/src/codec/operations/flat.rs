//! The weights of any tensor as floats, from any index of the stored order on, for callers that read
//! piece by piece.

use super::decoder::Decoder;
use crate::codec::format::tensor::{CompressedTensor, Payload};
use crate::codec::numbers::element::Dtype;
use crate::codec::numbers::element::copy_raw;
use crate::codec::published::Filler;
use crate::{Control, Result, SimdLevel};

/// The decoder of a tensor, prepared once.
pub(in crate::codec) enum StoredWeights<'a> {
    Zeros,
    Raw(&'a [u8], Dtype),
    Trellis(Box<Decoder<'a>>),
    Winding(Filler<'a>),
}

impl<'a> StoredWeights<'a> {
    /// The weights of `tensor`.
    pub fn new(tensor: &'a CompressedTensor, simd: SimdLevel) -> Result<Self> {
        Ok(match &tensor.payload {
            Payload::Zeros => Self::Zeros,
            Payload::Raw(bytes) => Self::Raw(bytes, tensor.dtype),
            Payload::Trellis(streams) => Self::Trellis(Box::new(Decoder::new(
                streams,
                &tensor.stored_shape(),
                simd,
            )?)),
            Payload::Winding(winding) => Self::Winding(winding.filler()),
        })
    }

    /// The weights from flat index `start` of the stored order on, decoded by the calling thread.
    pub fn fill(&self, start: usize, out: &mut [f32], control: &Control) -> Result<()> {
        match self {
            Self::Zeros => out.fill(0.0),
            Self::Raw(bytes, dtype) => copy_raw(&bytes[start * dtype.size()..], *dtype, out),
            Self::Trellis(decoder) => {
                decoder.decode_alone(start..start + out.len(), out, control)?
            }
            Self::Winding(filler) => filler(start, out),
        }
        Ok(())
    }
}
