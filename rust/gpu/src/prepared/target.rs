//! The destination of decoded weights, and the launches that write to it.

use std::ffi::c_void;
use std::ops::Range;
use std::sync::Arc;

use crate::abi;
use crate::converted::Converted;
use crate::device::{Device, Stream};
use crate::error::Result;
use crate::kernel::{Float, Kernel, arguments};

/// Threads a block of the kernels with one thread for each weight.
const FLAT_THREADS: u32 = 256;
/// Threads a block of the kernels that work on a tile.
pub(super) const TILE_THREADS: u32 = 64;
/// The most blocks of one launch.
const MOST_BLOCKS: u64 = i32::MAX as u64;

/// The destination of decoded weights.
pub(super) struct Target<'a> {
    pub device: &'a Arc<Device>,
    pub float: Float,
    pub out: u64,
    pub stream: Stream,
}

impl Target<'_> {
    pub fn zeros(&self, count: usize) -> Result<()> {
        let driver = self.device.context().driver;
        // SAFETY: the caller promised memory for so many weights.
        driver.check("cuMemsetD8Async", unsafe {
            (driver.fill)(self.out, 0, count * self.float.size(), self.stream.raw())
        })
    }

    pub fn raw(&self, values: &Converted, range: Range<usize>) -> Result<()> {
        let size = self.float.size();
        let from = values.on(self.device, self.float, self.stream)? + (range.start * size) as u64;
        let driver = self.device.context().driver;
        // SAFETY: `values` has the range, and the caller promised memory for it.
        driver.check("cuMemcpyDtoDAsync", unsafe {
            (driver.copy)(self.out, from, range.len() * size, self.stream.raw())
        })
    }

    /// Decode the coded weights of streams; the weight with number `origin` goes to the start of `out`.
    /// `tiles` is there if the streams are in tiles.
    pub fn streams(
        &self,
        tensor: &abi::Tensor,
        tiles: Option<&abi::Tiles>,
        most_tiles: u32,
        streams: Range<usize>,
        origin: u64,
        out: u64,
    ) -> Result<()> {
        let dtype = self.float.number();
        let most = (MOST_BLOCKS / u64::from(most_tiles)) as usize;
        for first in streams.clone().step_by(most) {
            let count = (streams.end - first).min(most) as u64;
            let first = first as u64;
            let blocks = count * u64::from(most_tiles);
            let (device, stream) = (self.device, self.stream);
            // SAFETY: these are the arguments of hc_decode and hc_tile_decode; the tables are held by
            // whose tensor it is, and the caller promised the output.
            unsafe {
                match tiles {
                    None => {
                        let mut a = arguments![*tensor, first, most_tiles, origin, out, dtype];
                        Kernel::DECODE.launch(device, stream, blocks, TILE_THREADS, &mut a)?;
                    }
                    Some(tiles) => {
                        let mut a =
                            arguments![*tensor, *tiles, first, most_tiles, origin, out, dtype];
                        Kernel::TILE_DECODE.launch(device, stream, blocks, TILE_THREADS, &mut a)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Launch a kernel that has a thread for each of `count` weights.
    ///
    /// # Safety
    /// As for [`Kernel::launch`].
    pub unsafe fn launch_flat(
        &self,
        kernel: Kernel,
        count: u64,
        arguments: &mut [*mut c_void],
    ) -> Result<()> {
        let blocks = count.div_ceil(FLAT_THREADS.into());
        // SAFETY: by the caller's promise.
        unsafe { kernel.launch(self.device, self.stream, blocks, FLAT_THREADS, arguments) }
    }
}
