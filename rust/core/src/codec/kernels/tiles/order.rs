//! The order of the codes of a stream in tiles (code set 2).
//!
//! A *tile* has 512 weights of a stream, or those that are left at its end. Its chain is closed
//! (tail-biting): the register before the first weight holds the last path bits of the tile. So any
//! tile is decoded without its neighbours.
//!
//! A *lane* is eight consecutive weights of a tile, so a tile has up to 64 lanes; the last one may have
//! codes of weights that do not exist. The bytes of a tile are vectors of one byte for each lane. All
//! lanes of a vector are decoded by the same shifts.
//!
//! * *Path bits.* At a whole rate a vector of eight bits a lane, the first weight's highest. At a half
//!   rate two weights share a bit: a lane has four, and half a vector has the first half of the lanes in
//!   the upper four bits, the other lanes in the lower ones.
//! * *Cells.* The bits of a cell are divided into fields of four, two and one bits, the highest bits
//!   first. A field of w bits has w vectors: vector i has weights i, i + w, i + 2w, … of each lane, the
//!   first of them in the highest bits.
//! * At 4 bits a weight, the path bit is the top bit of a field of four bits, above the cell of three.

pub use crate::codec::kernels::activations::TILE;

/// Lanes of a whole tile.
pub const LANES: usize = 64;
/// Weights of a lane.
pub const STEPS: usize = TILE / LANES;

/// The vectors of a tile at one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileOrder {
    /// The rate, in half bits a weight.
    pub half_bits: u32,
}

impl TileOrder {
    /// Bits of a cell.
    pub const fn cell_bits(self) -> u32 {
        (self.half_bits - 1) / 2
    }

    /// Whether two weights share a path bit.
    pub const fn shared(self) -> bool {
        self.half_bits % 2 == 1
    }

    /// Whether the path bit lies above a cell in a field of four bits.
    pub const fn path_in_cells(self) -> bool {
        self.half_bits == 8
    }

    /// Vectors before those of the cells, in half vectors.
    const fn path_halves(self) -> usize {
        match (self.path_in_cells(), self.shared()) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        }
    }

    /// Bytes of a tile of this many lanes.
    pub const fn bytes(self, lanes: usize) -> usize {
        (lanes * self.path_halves()).div_ceil(2) + lanes * self.field_vectors()
    }

    /// Vectors of the cells.
    const fn field_vectors(self) -> usize {
        self.cell_bits() as usize + self.path_in_cells() as usize
    }

    /// The fields of a cell, the highest bits first: their widths, and how far each lies above the
    /// lowest bit. A width of 0 is no field.
    const fn fields(self) -> [(u32, u32); 3] {
        if self.path_in_cells() {
            return [(4, 0), (0, 0), (0, 0)];
        }
        let bits = self.cell_bits();
        [(bits & 4, bits & 3), (bits & 2, bits & 1), (bits & 1, 0)]
    }

    /// Bytes of a stream of `len` weights.
    pub const fn stream_bytes(self, len: usize) -> usize {
        let rest = len % TILE;
        len / TILE * self.bytes(LANES) + self.bytes(rest.div_ceil(STEPS))
    }

    /// Write the codes of a tile: path bits and stored cells, one a byte, in the order of the weights.
    pub fn write(self, path: &[u8], cells: &[u8], out: &mut Vec<u8>) {
        let lanes = cells.len().div_ceil(STEPS);
        debug_assert!(lanes <= LANES && cells.len() == lanes * STEPS);
        let joined = |bits: &[u8]| bits.iter().fold(0, |byte, bit| byte << 1 | bit);
        if self.shared() {
            let mut four = [0; LANES];
            for (four, bits) in four.iter_mut().zip(path.chunks(STEPS / 2)) {
                *four = joined(bits);
            }
            let half = lanes.div_ceil(2);
            let pairs = four[..half].iter().zip(&four[half..2 * half]);
            out.extend(pairs.map(|(upper, lower)| upper << 4 | lower));
        } else if !self.path_in_cells() {
            out.extend(path.chunks(STEPS).map(joined));
        }
        for (width, from) in self.fields() {
            let mask = ((1u32 << width) - 1) as u8;
            for which in 0..width as usize {
                let step = |at: usize| match self.path_in_cells() {
                    true => path[at] << 3 | cells[at],
                    false => cells[at] >> from & mask,
                };
                let steps = |lane: usize| {
                    let steps = (which..STEPS).step_by(width as usize);
                    steps.fold(0, |byte, at| byte << width | step(STEPS * lane + at))
                };
                out.extend((0..lanes).map(steps));
            }
        }
    }

    /// Call `f` with the vector, the shift up in it, the shift down in the cell, and the width of each
    /// field of the cell of a step.
    #[inline(always)]
    fn each_field(self, lanes: usize, step: usize, mut f: impl FnMut(usize, u32, u32, u32)) {
        let mut vector = (lanes * self.path_halves()).div_ceil(2);
        for (width, from) in self.fields() {
            if width == 0 {
                continue;
            }
            let (which, place) = (step % width as usize, step as u32 / width);
            f(vector + which * lanes, 8 - width * (place + 1), from, width);
            vector += width as usize * lanes;
        }
    }

    /// The byte of a lane's path bits, and the place of the first of them.
    fn path_place(self, lanes: usize, lane: usize) -> (usize, u32) {
        let half = lanes.div_ceil(2);
        match self.shared() {
            false => (lane, 7),
            true if lane < half => (lane, 7),
            true => (lane - half, 3),
        }
    }

    /// The path bits of a lane of a tile of `lanes` lanes: eight, or four at a half rate.
    pub fn path(self, tile: &[u8], lanes: usize, lane: usize) -> u8 {
        if self.path_in_cells() {
            let tops = (0..4).map(|i| tile[i * lanes + lane] & 0x88).enumerate();
            return tops.fold(0, |path, (i, top)| path | top >> i);
        }
        let (byte, top) = self.path_place(lanes, lane);
        match self.shared() {
            false => tile[byte],
            true => tile[byte] >> (top - 3) & 15,
        }
    }

    /// The cell of a step of a lane.
    pub fn cell(self, tile: &[u8], lanes: usize, lane: usize, step: usize) -> u8 {
        let mut cell = 0;
        self.each_field(lanes, step, |vector, down, from, width| {
            let field = u32::from(tile[vector + lane]) >> down & ((1 << width) - 1);
            cell |= field << from;
        });
        cell as u8 & ((1 << self.cell_bits()) - 1) as u8
    }

    /// All path bits and cells of a tile, by lane: the loops over lanes become vectors, and those
    /// of the vector unit of the caller, so this is inlined there.
    #[inline(always)]
    pub fn unpack(
        self,
        tile: &[u8],
        lanes: usize,
        path: &mut [u8; LANES],
        cells: &mut [[u8; LANES]; STEPS],
    ) {
        let tile = &tile[..self.bytes(lanes)];
        if self.path_in_cells() {
            path.fill(0);
            for (i, vector) in tile.chunks_exact(lanes).enumerate() {
                for (path, byte) in path.iter_mut().zip(vector) {
                    *path |= (byte & 0x88) >> i;
                }
            }
        } else if self.shared() {
            let half = lanes.div_ceil(2);
            let (upper, lower) = path.split_at_mut(half);
            for (lane, byte) in upper.iter_mut().zip(&tile[..half]) {
                *lane = byte >> 4;
            }
            for (lane, byte) in lower.iter_mut().zip(&tile[..half]) {
                *lane = byte & 15;
            }
        } else {
            path[..lanes].copy_from_slice(&tile[..lanes]);
        }
        for (step, cells) in cells.iter_mut().enumerate() {
            cells.fill(0);
            self.each_field(lanes, step, |vector, down, from, width| {
                let mask = ((1u32 << width) - 1) as u8;
                let vector = &tile[vector..vector + lanes];
                for (cell, byte) in cells.iter_mut().zip(vector) {
                    *cell |= (byte >> down & mask) << from;
                }
            });
            if self.path_in_cells() {
                cells.iter_mut().for_each(|cell| *cell &= 7);
            }
        }
    }

    /// Copy a tile of fewer lanes to the places of a whole tile. Codes of the other lanes are zeros.
    pub fn widen(self, tile: &[u8], lanes: usize, out: &mut [u8; MOST_BYTES]) {
        out.fill(0);
        let mut from = 0;
        let mut to = 0;
        if self.shared() {
            for lane in 0..lanes {
                let (byte, top) = self.path_place(LANES, lane);
                out[byte] |= self.path(tile, lanes, lane) << (top - 3);
            }
            (from, to) = (lanes.div_ceil(2), LANES / 2);
        }
        while from < self.bytes(lanes) {
            out[to..to + lanes].copy_from_slice(&tile[from..from + lanes]);
            from += lanes;
            to += LANES;
        }
    }
}

/// Bytes of a whole tile at the highest rate.
pub const MOST_BYTES: usize = TileOrder { half_bits: 16 }.bytes(LANES);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::trellis::code::HALF_BITS;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(half_bits in HALF_BITS, lanes in 1usize..=LANES, seed: u64) {
            let order = TileOrder { half_bits };
            let mut state = seed;
            let mut next = |below: u32| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                ((state >> 40) as u32 % below) as u8
            };
            let steps = if order.shared() { 4 } else { 8 };
            let path: Vec<u8> = (0..lanes * steps).map(|_| next(2)).collect();
            let cells: Vec<u8> = (0..lanes * STEPS).map(|_| next(1 << order.cell_bits())).collect();
            let mut tile = Vec::new();
            order.write(&path, &cells, &mut tile);
            prop_assert_eq!(tile.len(), order.bytes(lanes));
            prop_assert_eq!(order.stream_bytes(lanes * STEPS), tile.len());
            let mut wide = [0; MOST_BYTES];
            order.widen(&tile, lanes, &mut wide);
            let (mut all_path, mut all_cells) = ([0; LANES], [[0; LANES]; STEPS]);
            order.unpack(&tile, lanes, &mut all_path, &mut all_cells);
            for lane in 0..lanes {
                let bits = &path[lane * steps..][..steps];
                let expected = bits.iter().fold(0, |path, bit| path << 1 | bit);
                prop_assert_eq!(order.path(&tile, lanes, lane), expected);
                prop_assert_eq!(all_path[lane], expected);
                prop_assert_eq!(order.path(&wide, LANES, lane), expected);
                for step in 0..STEPS {
                    let expected = cells[lane * STEPS + step];
                    prop_assert_eq!(order.cell(&tile, lanes, lane, step), expected);
                    prop_assert_eq!(all_cells[step][lane], expected);
                    prop_assert_eq!(order.cell(&wide, LANES, lane, step), expected);
                }
            }
        }
    }

    #[test]
    fn a_tile_takes_its_rate() {
        for half_bits in HALF_BITS {
            let order = TileOrder { half_bits };
            assert_eq!(8 * 2 * order.bytes(LANES), TILE * half_bits as usize);
        }
        assert_eq!(TileOrder { half_bits: 8 }.stream_bytes(1000), 500);
        assert_eq!(TileOrder { half_bits: 3 }.stream_bytes(9), 1 + 2);
    }
}
