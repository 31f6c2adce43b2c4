//! Rows in tiles whose levels are bytes: products by tensor cores, for vectors of 16 bits, and decoding of all
//! rows at once.
//!
//! A product transforms the vectors, up to eight at a time, rounds them to integers in the order of tensor
//! cores, and multiplies. The workspace has the transformed vectors, the integers, and what belongs to each
//! chunk of 512 columns.

use std::sync::Arc;

use super::lent::Vectors;
use super::target::{TILE_THREADS, Target};
use crate::abi;
use crate::device::{Device, Stream};
use crate::error::Result;
use crate::kernel::{Float, Kernel, arguments};
use crate::memory::Buffer;
use crate::row_tiles::RowTiles;

/// Threads of a block that rounds.
const ROUND_THREADS: u32 = 128;
/// Threads of a block that decodes, and blocks that share a tile of rows.
const EXPAND_THREADS: u32 = 128;
const EXPAND_PARTS: u64 = 4;
/// Threads of a block that multiplies.
const ROW_THREADS: u32 = 256;
/// Columns of a multiple of this are whole parts of tiles for all threads.
const COLUMNS: u32 = 256;
/// Threads read the codes of a row in vectors of so many bytes.
const ALIGNMENT: u64 = 16;

/// The rows of a matrix, by rate.
#[derive(Debug)]
pub(super) struct PreparedRows {
    argument: abi::Rows,
    tiles: u64,
    /// The memory that `argument` points to.
    _held: [Buffer; 2],
}

impl PreparedRows {
    /// Whether the kernel multiplies by such a matrix, if all its codes have level bytes. `cells` is the
    /// address of the plane of tiles.
    pub fn multiplies(matrix: &abi::Matrix, cells: u64) -> bool {
        matrix.pieces == 1
            && matrix.columns.is_multiple_of(COLUMNS)
            && cells.is_multiple_of(ALIGNMENT)
    }

    /// Copy the order of the rows to the device.
    pub fn new(
        device: &Arc<Device>,
        matrix: &abi::Matrix,
        streams: &[abi::Stream],
        stream: Stream,
    ) -> Result<Self> {
        let rows = RowTiles::new(streams);
        let held = [
            Buffer::holding(device, &rows.order, stream)?,
            Buffer::holding(device, &rows.tiles, stream)?,
        ];
        Ok(Self {
            argument: abi::Rows {
                order: held[0].pointer(),
                tiles: held[1].pointer(),
                columns: matrix.columns,
                vectors: 0,
            },
            tiles: rows.tiles.len() as u64,
            _held: held,
        })
    }

    /// Whether [`decode`](Self::decode) takes this output: rows are whole Hadamard blocks, and weights of
    /// 16 bits are written in pairs.
    pub fn decodes(&self, out: u64) -> bool {
        self.argument.columns.is_multiple_of(abi::TILE) && out.is_multiple_of(4)
    }

    /// Decode all weights.
    pub fn decode(
        &self,
        target: &Target<'_>,
        tensor: &abi::Tensor,
        tiles: &abi::Tiles,
    ) -> Result<()> {
        let (rows, dtype) = (self.argument, target.float.number());
        let blocks = self.tiles * EXPAND_PARTS;
        let mut a = arguments![*tensor, *tiles, rows, target.out, dtype];
        // SAFETY: these are the arguments of hc_tile_expand; the tables are held here and by the tensor,
        // and the caller promised the output.
        unsafe {
            let kernel = Kernel::TILE_EXPAND;
            kernel.launch(target.device, target.stream, blocks, EXPAND_THREADS, &mut a)
        }
    }

    /// Bytes of workspace for a product with this many vectors.
    pub fn workspace(matrix: &abi::Matrix, batch: usize) -> usize {
        let batch = batch.min(abi::ROWS_AT_ONCE) as u32;
        let matrix = abi::Matrix {
            batch: batch.min(abi::MOST_SLOTS),
            ..*matrix
        };
        let (image, bytes, chunks) = parts(&matrix, batch);
        (image + bytes + chunks) as usize
    }

    /// Multiply by at most [`abi::ROWS_AT_ONCE`] vectors.
    #[allow(clippy::too_many_arguments)] // as many as a product has
    pub fn multiply(
        &self,
        device: &Device,
        float: Float,
        tensor: &abi::Tensor,
        tiles: &abi::Tiles,
        matrix: abi::Matrix,
        (x, y): (Vectors, Vectors),
        workspace: u64,
        stream: Stream,
    ) -> Result<()> {
        let vectors = matrix.batch;
        let groups = abi::groups(vectors);
        let from = |first: u32| abi::Matrix {
            batch: (vectors - first).min(abi::MOST_SLOTS),
            ..matrix
        };
        let (image_bytes, rounded, _) = parts(&from(0), vectors);
        let (image, dtype) = (workspace, float.number());
        let bytes = image + image_bytes;
        let chunks = bytes + rounded;
        for first in (0..vectors).step_by(abi::MOST_SLOTS as usize) {
            let some = from(first);
            let first_group = first / abi::GROUP;
            let x_some = x.pointer + u64::from(first) * x.stride * float.size() as u64;
            let slots = u64::from(abi::slots(some.batch));
            let blocks = slots * u64::from(abi::tiles(matrix.columns));
            let mut a = arguments![*tensor, some, x_some, x.stride, dtype, image];
            // SAFETY: these are the arguments of hc_transform; the workspace holds the image, and the
            // caller promised the vectors.
            unsafe { Kernel::TRANSFORM.launch(device, stream, blocks, TILE_THREADS, &mut a)? };
            let mine = (groups - first_group).min(abi::MOST_SLOTS / abi::GROUP);
            let blocks = chunk_count(&matrix) * u64::from(mine);
            let mut a = arguments![some, image, first_group, groups, bytes, chunks];
            // SAFETY: these are the arguments of hc_tile_round, likewise.
            unsafe { Kernel::TILE_ROUND.launch(device, stream, blocks, ROUND_THREADS, &mut a)? };
        }
        let rows = abi::Rows {
            vectors,
            ..self.argument
        };
        let mut a = arguments![
            *tensor, *tiles, rows, bytes, chunks, y.pointer, y.stride, dtype
        ];
        // SAFETY: these are the arguments of hc_tile_rows; the tables are held here and by the tensor.
        unsafe { Kernel::tile_rows(groups).launch(device, stream, self.tiles, ROW_THREADS, &mut a) }
    }
}

/// Chunks of the columns.
fn chunk_count(matrix: &abi::Matrix) -> u64 {
    u64::from(matrix.columns.div_ceil(abi::TILE_WEIGHTS))
}

/// Bytes of the parts of the workspace: the image of `matrix.batch` vectors, and of all `vectors` the
/// integers and what belongs to their chunks.
fn parts(matrix: &abi::Matrix, vectors: u32) -> (u64, u64, u64) {
    let groups = chunk_count(matrix) * u64::from(abi::groups(vectors));
    let integers = u64::from(abi::TILE_WEIGHTS) * 2 * u64::from(abi::GROUP);
    let chunk = size_of::<abi::Chunk>() as u64 * u64::from(abi::GROUP);
    (4 * matrix.image_floats(), groups * integers, groups * chunk)
}
