//! Decompression of a whole tensor, or of a range.

use std::ops::Range;

use super::decoder::Decoder;
use crate::codec::format::axes::Axes;
use crate::codec::format::tensor::{CompressedTensor, Payload};
use crate::codec::numbers::element::{Element, copy_raw};
use crate::team::{CurrentPool, Team};
use crate::{Control, Error, ErrorKind, Result, SimdLevel};

impl CompressedTensor {
    /// Decode into `out`, which must have as many elements as the tensor, in C order.
    ///
    /// The same bits for any number of threads, on any machine. O(n).
    pub fn decompress<T: Element>(&self, out: &mut [T], control: &Control) -> Result<()> {
        self.decompress_range(0..self.len(), out, control)
    }

    /// Decode the weights of a range of flat C-order indices.
    ///
    /// The same bits as in the whole tensor. O(length): a trellis tensor decodes the Hadamard blocks
    /// that the range touches, up to 2048 further weights at either end, and finds their codes in
    /// O(streams of a chain). If the axes are swapped, these are the blocks of every stored row of
    /// which the range has an element.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a range that is not within the tensor, or unless `out` has
    /// its length; [`ErrorKind::Cancelled`] through `control`.
    pub fn decompress_range<T: Element>(
        &self,
        range: Range<usize>,
        out: &mut [T],
        control: &Control,
    ) -> Result<()> {
        self.decompress_by(&CurrentPool, range, out, control)
    }

    /// [`decompress_range`](Self::decompress_range) with a team of threads.
    pub fn decompress_by<T: Element>(
        &self,
        team: &dyn Team,
        range: Range<usize>,
        out: &mut [T],
        control: &Control,
    ) -> Result<()> {
        self.check_range(&range, out.len())?;
        if self.axes == Axes::Swapped {
            return self.decompress_swapped(team, range, out, control);
        }
        match &self.payload {
            Payload::Zeros => out.fill(T::default()),
            Payload::Raw(bytes) => {
                let size = self.dtype.size();
                copy_raw(
                    &bytes[range.start * size..range.end * size],
                    self.dtype,
                    out,
                );
            }
            Payload::Trellis(streams) => {
                let decoder = Decoder::new(streams, &self.shape, SimdLevel::in_use()?)?;
                decoder.decode(range, out, team, control)?;
            }
            Payload::Winding(winding) => winding.decode_as(range, out, team, control)?,
        }
        Ok(())
    }

    fn check_range(&self, range: &Range<usize>, places: usize) -> Result<()> {
        let why = if range.start > range.end || range.end > self.len() {
            format!("weights {range:?}: the tensor has 0..{}", self.len())
        } else if places != range.len() {
            format!("an output of {places} elements for {} weights", range.len())
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidArgument, why))
    }
}
