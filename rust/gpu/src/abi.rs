//! The structs that kernels take, with the layout of `cuda/launch.h`. Device pointers are integers
//! here.

use std::mem::{offset_of, size_of};

/// `HcCode`: the constants of one code.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Code {
    /// Turns of the first and the second weight of a step.
    pub turn: [u32; 2],
    /// Skews of the first and the second weight of a step.
    pub skew: [u32; 2],
    /// `scaled_shape`.
    pub shape: [f32; 3],
    /// Padding.
    pub unused: u32,
}

/// `HcStream`: where a stream's codes are, and its constants.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Stream {
    /// First path bit, in bits from the start of the plane.
    pub path_bit: u64,
    /// First bit of its cells, in bits from the start of the plane.
    pub cell_bit: u64,
    /// Index of its first weight; with a mask, among those that have codes.
    pub first: u64,
    /// The factor of the levels.
    pub scale: f32,
    /// Weights that have codes.
    pub length: u16,
    /// h, the rate in half bits; 0 for a stream of zeros.
    pub half_bits: u8,
    /// Path bits of its chain before it, at most 255.
    pub history: u8,
}

/// `HcTensor`: a trellis tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Tensor {
    /// The path plane.
    pub path: u64,
    /// The cell plane.
    pub cells: u64,
    /// Its length.
    pub path_bytes: u64,
    /// Its length.
    pub cell_bytes: u64,
    /// Address of the table of [`Stream`]s.
    pub streams: u64,
    /// Address of the table of 16 [`Code`]s.
    pub codes: u64,
    /// Seed of the signs.
    pub seed: u64,
    /// 2^e as two factors.
    pub wide: [f64; 2],
    /// The same factors in single precision, if `fits`.
    pub narrow: [f32; 2],
    /// 1 if the single-precision factors give the same bits.
    pub fits: u32,
    /// 1 if the streams have signs and Hadamard blocks.
    pub transformed: u32,
    /// W.
    pub window: u32,
    /// s.
    pub offset_bits: u32,
    /// log2 of the length of a run.
    pub run_bits: u32,
    /// The rate that `table` is for; 0 if there is no table.
    pub table_rate: u32,
    /// The table of offsets of that rate, which products read.
    pub table: u64,
}

/// `HcTileCode`: the constants of one code whose streams are in tiles.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct TileCode {
    /// Turns of the first and the second weight of a step.
    pub turn: [u32; 2],
    /// Skews of the first and the second weight of a step.
    pub skew: [[u32; 3]; 2],
    /// The unit of integer levels.
    pub unit: f32,
    /// Where its levels begin in the table of levels.
    pub levels: u32,
    /// Where its table begins in the table of level bytes.
    pub bytes: u32,
    /// Padding.
    pub unused: u32,
}

/// `HcTiles`: what a trellis tensor in tiles has beside a [`Tensor`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tiles {
    /// Address of the table of 16 [`TileCode`]s.
    pub codes: u64,
    /// Address of the table of levels.
    pub levels: u64,
    /// Address of the table of level bytes.
    pub bytes: u64,
}

/// `HcRowTile`: up to [`TILE_ROWS`] rows of one rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RowTile {
    /// Its first row, in the order of the rows.
    pub first: u32,
    /// Rows.
    pub rows: u16,
    /// h; 0 for rows of zeros.
    pub half_bits: u16,
}

/// `HcRows`: the rows of a product by tensor cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Rows {
    /// Address of the rows' numbers, by rate.
    pub order: u64,
    /// Address of the table of [`RowTile`]s.
    pub tiles: u64,
    /// Columns.
    pub columns: u32,
    /// Vectors, 1 to [`ROWS_AT_ONCE`].
    pub vectors: u32,
}

/// `HcChunk`: what 512 columns of a vector have beside their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Chunk {
    /// The sum of the integers.
    pub sum: i32,
    /// The unit of the vector.
    pub unit: f32,
}

/// `HcMatrix`: the shape of a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Matrix {
    /// Rows.
    pub rows: u64,
    /// Columns.
    pub columns: u32,
    /// Streams a row.
    pub pieces: u32,
    /// Columns of each stream but the last.
    pub piece: u32,
    /// Vectors, 1 to 8.
    pub batch: u32,
}

/// `HcWinding`: a tensor of the published codec.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Winding {
    /// Packed codes.
    pub codes: u64,
    /// Their length.
    pub code_bytes: u64,
    /// n.
    pub weights: u64,
    /// Address of a table with one double for each category.
    pub units: u64,
    /// c.
    pub centre: [f64; 4],
    /// m^K / 2.
    pub half: f64,
    /// K.
    pub group: u32,
    /// Bits of a code.
    pub bits: u32,
    /// U + 1.
    pub points: u32,
    /// m.
    pub base: u32,
}

// launch.h has the same numbers in static_asserts; `tests/launch_h.rs` compares every offset.
const _: () = assert!(
    size_of::<Code>() == 32
        && size_of::<TileCode>() == 48
        && size_of::<Tiles>() == 24
        && size_of::<RowTile>() == 8
        && size_of::<Rows>() == 24
        && size_of::<Chunk>() == 8
        && size_of::<Stream>() == 32
        && size_of::<Tensor>() == 112
        && size_of::<Matrix>() == 24
        && size_of::<Winding>() == 88
);

/// Every field of every struct by its name in `launch.h`, with its offset.
pub const OFFSETS: &[(&str, &str, usize)] = &[
    ("HcCode", "turn", offset_of!(Code, turn)),
    ("HcCode", "skew", offset_of!(Code, skew)),
    ("HcCode", "shape", offset_of!(Code, shape)),
    ("HcStream", "path_bit", offset_of!(Stream, path_bit)),
    ("HcStream", "cell_bit", offset_of!(Stream, cell_bit)),
    ("HcStream", "first", offset_of!(Stream, first)),
    ("HcStream", "scale", offset_of!(Stream, scale)),
    ("HcStream", "length", offset_of!(Stream, length)),
    ("HcStream", "half_bits", offset_of!(Stream, half_bits)),
    ("HcStream", "history", offset_of!(Stream, history)),
    ("HcTensor", "path", offset_of!(Tensor, path)),
    ("HcTensor", "cells", offset_of!(Tensor, cells)),
    ("HcTensor", "path_bytes", offset_of!(Tensor, path_bytes)),
    ("HcTensor", "cell_bytes", offset_of!(Tensor, cell_bytes)),
    ("HcTensor", "streams", offset_of!(Tensor, streams)),
    ("HcTensor", "codes", offset_of!(Tensor, codes)),
    ("HcTensor", "seed", offset_of!(Tensor, seed)),
    ("HcTensor", "wide", offset_of!(Tensor, wide)),
    ("HcTensor", "narrow", offset_of!(Tensor, narrow)),
    ("HcTensor", "fits", offset_of!(Tensor, fits)),
    ("HcTensor", "transformed", offset_of!(Tensor, transformed)),
    ("HcTensor", "window", offset_of!(Tensor, window)),
    ("HcTensor", "offset_bits", offset_of!(Tensor, offset_bits)),
    ("HcTensor", "run_bits", offset_of!(Tensor, run_bits)),
    ("HcTensor", "table_rate", offset_of!(Tensor, table_rate)),
    ("HcTensor", "table", offset_of!(Tensor, table)),
    ("HcTileCode", "turn", offset_of!(TileCode, turn)),
    ("HcTileCode", "skew", offset_of!(TileCode, skew)),
    ("HcTileCode", "unit", offset_of!(TileCode, unit)),
    ("HcTileCode", "levels", offset_of!(TileCode, levels)),
    ("HcTileCode", "bytes", offset_of!(TileCode, bytes)),
    ("HcTiles", "codes", offset_of!(Tiles, codes)),
    ("HcTiles", "levels", offset_of!(Tiles, levels)),
    ("HcTiles", "bytes", offset_of!(Tiles, bytes)),
    ("HcRowTile", "first", offset_of!(RowTile, first)),
    ("HcRowTile", "rows", offset_of!(RowTile, rows)),
    ("HcRowTile", "half_bits", offset_of!(RowTile, half_bits)),
    ("HcRows", "order", offset_of!(Rows, order)),
    ("HcRows", "tiles", offset_of!(Rows, tiles)),
    ("HcRows", "columns", offset_of!(Rows, columns)),
    ("HcRows", "vectors", offset_of!(Rows, vectors)),
    ("HcChunk", "sum", offset_of!(Chunk, sum)),
    ("HcChunk", "unit", offset_of!(Chunk, unit)),
    ("HcMatrix", "rows", offset_of!(Matrix, rows)),
    ("HcMatrix", "columns", offset_of!(Matrix, columns)),
    ("HcMatrix", "pieces", offset_of!(Matrix, pieces)),
    ("HcMatrix", "piece", offset_of!(Matrix, piece)),
    ("HcMatrix", "batch", offset_of!(Matrix, batch)),
    ("HcWinding", "codes", offset_of!(Winding, codes)),
    ("HcWinding", "code_bytes", offset_of!(Winding, code_bytes)),
    ("HcWinding", "weights", offset_of!(Winding, weights)),
    ("HcWinding", "units", offset_of!(Winding, units)),
    ("HcWinding", "centre", offset_of!(Winding, centre)),
    ("HcWinding", "half", offset_of!(Winding, half)),
    ("HcWinding", "group", offset_of!(Winding, group)),
    ("HcWinding", "bits", offset_of!(Winding, bits)),
    ("HcWinding", "points", offset_of!(Winding, points)),
    ("HcWinding", "base", offset_of!(Winding, base)),
];

/// The highest rate whose levels in tiles kernels keep in shared memory; all of these are bytes.
pub const MOST_BYTE_HALF_BITS: u32 = 8;
/// The number of these levels, of all rates.
pub const TILE_LEVELS: usize = 3840;
/// The most level bytes of a code that kernels keep in shared memory.
pub const LEVEL_BYTES: usize = 32_768;
/// Weights of a whole tile of the stored form.
pub const TILE_WEIGHTS: u32 = 512;
/// Rows that a block multiplies by tensor cores.
pub const TILE_ROWS: usize = 16;
/// Vectors that tensor cores multiply at once.
pub const ROWS_AT_ONCE: usize = 16;
/// Vectors of a group: the columns of a matrix of tensor cores are the two bytes of each.
pub const GROUP: u32 = 4;
/// The most vectors of an image.
pub const MOST_SLOTS: u32 = 8;
/// Weights that a block decodes or transforms at a time.
pub const TILE: u32 = 1024;
/// Columns that a warp multiplies in one step.
pub const STEP: u64 = 1024;
/// Rows that a block of the product multiplies at a time, a warp each.
pub const ROWS: u32 = 8;
/// The largest number of rows of a product.
pub const MOST_ROWS: u64 = (1 << 32) - (1 << 20);

/// `hc_blocks`: the size of the Hadamard blocks of a stream, and whether a last block overlaps others.
fn blocks(n: u32) -> (u32, bool) {
    let dividing = n & n.wrapping_neg();
    if dividing >= 128 || dividing == n {
        (dividing.min(1024), false)
    } else {
        (1 << n.ilog2().min(10), true)
    }
}

/// `hc_tiles`: tiles of a stream of `n` weights.
pub fn tiles(n: u32) -> u32 {
    if n == 0 {
        return 1;
    }
    match blocks(n) {
        (_, false) => n.div_ceil(TILE),
        (size, true) => (n - size) / size * size / TILE + 1,
    }
}

/// `hc_slots`: vectors that a product of `batch` of them keeps sums of.
pub fn slots(batch: u32) -> u32 {
    match batch {
        0..=2 => batch,
        3..=4 => 4,
        _ => 8,
    }
}

/// Groups of vectors of a product by tensor cores: the number in the kernel's name.
pub fn groups(vectors: u32) -> u32 {
    match vectors {
        0..=4 => 1,
        5..=8 => 2,
        _ => 4,
    }
}

/// `hc_table_words`: words of the table of offsets for a rate; 0 if the rate has no table.
pub fn table_words(window: u32, half_bits: u32) -> usize {
    let whole = half_bits.is_multiple_of(2) && (2..=10).contains(&half_bits);
    if window <= 10 && whole {
        8 << window
    } else {
        0
    }
}

impl Matrix {
    /// `hc_image_floats`: floats of the image of its batch.
    pub fn image_floats(&self) -> u64 {
        let pieces_before = u64::from(self.pieces) - 1;
        let last = u64::from(self.columns) - pieces_before * u64::from(self.piece);
        let steps = pieces_before * u64::from(self.piece).div_ceil(STEP) + last.div_ceil(STEP);
        // Floats for every step and vector; halves and a scale for rows with a table.
        steps * u64::from(slots(self.batch)) * (STEP + STEP / 2 + 4)
    }
}
