//! What a trellis tensor in tiles has on a device beside its codes.
//!
//! Kernels read the codes in the order in which they are stored: a word of a vector of a tile has the same
//! codes of 32 consecutive weights (`cuda/tile_codes.cuh`). So the plane is neither copied nor permuted, and
//! may be the caller's.

use std::sync::Arc;

use hypercomp_core::codec::trellis::WindowCodes;

use super::tile_rows::PreparedRows;
use crate::abi;
use crate::device::{Device, Stream};
use crate::error::Result;
use crate::memory::Buffer;
use crate::tables::Tables;
use crate::tile_tables::TileTables;

/// The tables of a tensor in tiles.
#[derive(Debug)]
pub(super) struct PreparedTiles {
    /// The argument of the kernels.
    pub argument: abi::Tiles,
    /// The rows, if tensor cores can multiply by them.
    pub rows: Option<PreparedRows>,
    /// The memory that `argument` points to.
    _held: [Buffer; 3],
}

impl PreparedTiles {
    /// Copy the tables to the device. `cells` is the address of the plane of tiles.
    pub fn new(
        device: &Arc<Device>,
        tables: &Tables,
        codes: WindowCodes,
        cells: u64,
        stream: Stream,
    ) -> Result<Self> {
        let rates = tables.streams.iter().map(|row| row.half_bits);
        let of_codes = TileTables::new(codes, rates);
        let rows = match (&tables.matrix, &of_codes.bytes) {
            (Some(matrix), Some(_)) if PreparedRows::multiplies(matrix, cells) => {
                Some(PreparedRows::new(device, matrix, &tables.streams, stream)?)
            }
            _ => None,
        };
        let bytes = match &rows {
            Some(_) => of_codes.bytes.unwrap_or_default(),
            None => Vec::new(),
        };
        let held = [
            Buffer::holding(device, &of_codes.codes, stream)?,
            Buffer::holding(device, &of_codes.levels, stream)?,
            Buffer::holding(device, &bytes, stream)?,
        ];
        let [codes, levels, bytes] = held.each_ref().map(Buffer::pointer);
        Ok(Self {
            argument: abi::Tiles {
                codes,
                levels,
                bytes,
            },
            rows,
            _held: held,
        })
    }
}
