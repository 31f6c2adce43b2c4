//! A tensor of the published method on a device.

use std::ops::Range;
use std::sync::Arc;

use hypercomp_core::codec::Winding;

use super::lent::Plane;
use super::target::Target;
use crate::abi;
use crate::device::{Device, Stream};
use crate::error::Result;
use crate::kernel::{Kernel, arguments};
use crate::memory::Buffer;

/// The data that the kernel reads.
#[derive(Debug)]
pub(super) struct PreparedWinding {
    argument: abi::Winding,
    /// The memory that `argument` points to.
    _held: (Plane, Buffer),
}

impl PreparedWinding {
    /// Copy the data to the device, except lent planes.
    pub fn new(
        device: &Arc<Device>,
        winding: &Winding,
        plane: Plane,
        stream: Stream,
    ) -> Result<Self> {
        let decoding = winding.decoding();
        let units = Buffer::holding(device, &decoding.units, stream)?;
        Ok(Self {
            argument: abi::Winding {
                codes: plane.pointer(),
                code_bytes: winding.packed().len() as u64,
                weights: winding.len() as u64,
                units: units.pointer(),
                centre: decoding.centre,
                half: decoding.half,
                group: winding.params().group as u32,
                bits: winding.bits_per_code(),
                points: decoding.points,
                base: decoding.base,
            },
            _held: (plane, units),
        })
    }

    /// Decode the weights of any range.
    pub fn decode(&self, target: &Target<'_>, range: Range<usize>) -> Result<()> {
        let (first, count) = (range.start as u64, range.len() as u64);
        let dtype = target.float.number();
        let mut arguments = arguments![self.argument, first, count, target.out, dtype];
        // SAFETY: these are the arguments of hc_winding; the caller promised the output.
        unsafe { target.launch_flat(Kernel::WINDING, count, &mut arguments) }
    }
}
