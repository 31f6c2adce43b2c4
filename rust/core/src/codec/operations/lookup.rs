//! Decoding of chosen rows, as an embedding needs it.

use std::ops::Range;

use super::decoder::Decoder;
use crate::codec::format::axes::Axes;
use crate::codec::format::tensor::{CompressedTensor, Payload};
use crate::codec::numbers::element::Element;
use crate::team::{Alone, Team, share};
use crate::{Control, Error, ErrorKind, Result, SimdLevel};

impl CompressedTensor {
    /// Decode the entries along the first axis that `indices` name, one after the other, into `out`.
    ///
    /// The same bits as in the whole tensor. O(indices·length of an entry); the decoder is prepared
    /// once for all of them.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] for an index that the first axis does not have;
    /// [`ErrorKind::InvalidArgument`] for a tensor without axes, or unless `out` has as many elements;
    /// [`ErrorKind::Cancelled`] through `control`.
    pub fn decompress_rows<T: Element>(
        &self,
        team: &dyn Team,
        indices: &[i64],
        out: &mut [T],
        control: &Control,
    ) -> Result<()> {
        let Some((rows, below)) = self.shape.split_first() else {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "a tensor without axes has no rows: one axis or more is accepted",
            ));
        };
        let length: usize = below.iter().product();
        if indices.len().checked_mul(length) != Some(out.len()) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "an output of {} elements for {} rows of {length}",
                    out.len(),
                    indices.len()
                ),
            ));
        }
        let within = |index: &i64| usize::try_from(*index).is_ok_and(|index| index < *rows);
        if let Some(at) = indices.iter().position(|index| !within(index)) {
            return Err(Error::new(
                ErrorKind::OutOfBounds,
                format!(
                    "index {} at position {at}: 0 to {} are accepted",
                    indices[at],
                    rows.saturating_sub(1)
                ),
            ));
        }
        if out.is_empty() {
            return Ok(());
        }
        let decoder = match &self.payload {
            Payload::Trellis(streams) if self.axes == Axes::InOrder => {
                Some(Decoder::new(streams, &self.shape, SimdLevel::in_use()?)?)
            }
            _ => None,
        };
        let range = |index: i64| -> Range<usize> {
            let start = index as usize * length;
            start..start + length
        };
        let pairs = indices.iter().zip(out.chunks_exact_mut(length));
        share(
            team,
            pairs,
            || (),
            |(), (index, out)| {
                control.check()?;
                match &decoder {
                    Some(decoder) => decoder.decode_alone(range(*index), out, control),
                    None => self.decompress_by(&Alone, range(*index), out, control),
                }
            },
        )
    }
}
