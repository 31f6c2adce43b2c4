//! What a trellis tensor in tiles has on a device beside its codes.
//!
//! Kernels read the codes in the order in which they are stored: a word of a vector of a tile has the same
//! codes of 32 consecutive weights (`cuda/tile_codes.cuh`). So the plane is neither copied nor permuted, and
//! may be the caller's.

use std::sync::Arc;

use hypercomp_core::codec::Streams;
use hypercomp_core::codec::trellis::WindowCodes;

use crate::abi;
use crate::device::{Device, Stream};
use crate::error::Result;
use crate::memory::Buffer;
use crate::tile_tables::TileTables;

/// The tables of a tensor in tiles.
#[derive(Debug)]
pub(super) struct PreparedTiles {
    /// The argument of the kernels.
    pub argument: abi::Tiles,
    /// The memory that `argument` points to.
    _held: [Buffer; 2],
}

impl PreparedTiles {
    /// Copy the tables to the device.
    pub fn new(
        device: &Arc<Device>,
        streams: &Streams,
        codes: WindowCodes,
        stream: Stream,
    ) -> Result<Self> {
        let tables = TileTables::new(codes, &streams.rates);
        let held = [
            Buffer::holding(device, &tables.codes, stream)?,
            Buffer::holding(device, &tables.levels, stream)?,
        ];
        Ok(Self {
            argument: abi::Tiles {
                codes: held[0].pointer(),
                levels: held[1].pointer(),
            },
            _held: held,
        })
    }
}
