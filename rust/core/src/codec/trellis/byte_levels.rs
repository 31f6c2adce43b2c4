//! Levels that are bytes: straight lines in the cells, and a tail.
//!
//! The cells of the Gaussian quantile function are moved by half a cell. Each register then has *one*
//! tail, on the side that its offset u says: above for u < 64, below otherwise. All other cells are
//! straight lines over u:
//!
//! ```text
//! f    = ⌊u/16⌋                                             0 … 7
//! g(f) = ⌊slope·f/2⌋
//! level of inner cell j, −H ≤ j ≤ H:  sign(j)·start_|j| + g(f) − g(7)/2
//! level of the tail:  ±(edge + g(⌊m/16⌋) + step·tail[⌊m/2⌋]),   m = u if u < 64, else 127 − u
//! ```
//!
//! The outermost inner cells and the tail have a slope of their own, if the code has three or more cell
//! bits or two. All levels of a code have the same parity in half units. Without this common half unit
//! they are signed bytes.
//!
//! A lookup in 64 bytes gives any level of an inner cell, by f and the cell. Another gives any level of
//! the tail, by ⌊u/2⌋. Where a machine looks up sixteen bytes only, a line is a sum of two lookups.

/// The levels of a code of up to three cell bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ByteLevels {
    /// Units in a standard deviation.
    pub units: f32,
    /// Slopes in half units for 16 offsets: of the inner cells, and of the outermost ones.
    pub slopes: [i32; 2],
    /// The edge of the tail, in half units.
    pub edge: i32,
    /// Units of a number of the tail.
    pub step: i32,
    /// The middle of inner cells 1, 2 and 3, in half units.
    pub starts: [i32; 3],
    /// The distance of each pair of offsets in the tail from the edge.
    pub tail: [u8; 32],
}

/// Inner cells on each side of the middle one.
const fn side(cell_bits: u32) -> i32 {
    ((1 << cell_bits) - 1) / 2
}

impl ByteLevels {
    /// Half a unit, in standard deviations.
    pub fn half_unit(&self) -> f32 {
        0.5 / self.units
    }

    /// g of the cells that lie `distance` cells from the middle, in half units.
    fn line(&self, cell_bits: u32, distance: i32, f: i32) -> i32 {
        let outermost = cell_bits >= 2 && distance == side(cell_bits);
        (self.slopes[usize::from(outermost)] * f) >> 1
    }

    /// The level of a cell, counted from below, at offset u, in half units.
    pub fn half_units(&self, cell_bits: u32, cell: u32, u: u32) -> i32 {
        let (lines, side) = ((1 << cell_bits) - 1, side(cell_bits));
        let upper = u < 64;
        // Below, the lowest cell is the tail; above, the highest one.
        let line = cell as i32 - i32::from(!upper);
        if !(0..lines).contains(&line) {
            let m = if upper { u } else { 127 - u };
            let distance = self.edge
                + 2 * self.line(cell_bits, side, (m / 16) as i32)
                + 2 * self.step * i32::from(self.tail[m as usize / 2]);
            return if upper { distance } else { -distance };
        }
        let j = line - side;
        let start = match j.unsigned_abs() as usize {
            0 => 0,
            distance => j.signum() * self.starts[distance - 1],
        };
        let g = |f| self.line(cell_bits, j.abs(), f);
        start + 2 * g((u / 16) as i32) - g(7)
    }

    /// 1 if the levels are odd numbers of half units, else 0.
    pub fn parity(&self) -> i32 {
        self.edge & 1
    }
}
