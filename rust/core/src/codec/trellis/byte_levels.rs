//! Levels that are bytes: a sum of two small tables, with the sign of the offset.
//!
//! The cells of the Gaussian quantile function are moved by half a cell. Each register then has *one*
//! tail, on the side that its offset u says: above for u < 64, below otherwise. Cells are counted from
//! the tail, so that the code is symmetric: the level at 127 − u is the negative of the level at u.
//!
//! ```text
//! c = 2u − 127,  a = |c|                      odd, 1 to 127
//! i = 16·⌊cell/4⌋ + (⌊a/8⌋ and mask) + cell mod 4
//!                                             mask 15, 14 or 12 for no, one, or more cell bits
//! M = lines[i] + (tail[tail_step(a)] if the cell is the tail, number 0)
//! level = M if c > 0, else −M
//! ```
//!
//! A cell is a staircase over a of four steps (of 16 and 8 where there are no and one cell bits). The far
//! half of the tail, where a < 64, has finer steps: of eight numbers, and of two where a < 16. There the
//! levels are far apart, and each of them counts: with steps of four in the whole far half a code of 4
//! bits a weight is 0.02 dB worse.
//!
//! Every lookup has sixteen entries, which is what every vector unit has; there is one table of lines for
//! each four cells. With AVX2 one lookup by the cell gives its place among four, and 64 for the tail: this
//! number less a, saturated, is what finds the entry of `tail`, and entry 0 is 0, so that other cells need
//! no mask. Where a machine looks up 64 bytes, two lookups by the cell and u replace all of this.

/// The levels of a code of up to four cell bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ByteLevels {
    /// Units in a standard deviation.
    pub units: f32,
    /// The steps of all cells, sixteen numbers for each four cells.
    pub lines: [i8; 64],
    /// What the far half of the tail adds; entry 0 is 0.
    pub tail: [i8; 16],
}

/// The a from which on the tail is a line.
pub const FAR: u32 = 64;

/// FAR − a from which on each a has its own entry of the tail.
pub const FARTHEST: u32 = 48;

/// The bits of ⌊a/8⌋ that find the step of a cell; the others are the cell.
pub const fn step_mask(cell_bits: u32) -> u32 {
    match cell_bits {
        0 => 15,
        1 => 14,
        _ => 12,
    }
}

/// Number of steps of all cells.
pub const fn line_count(cell_bits: u32) -> usize {
    match cell_bits {
        0..=2 => 16,
        more => 4 << more,
    }
}

/// The entry of `tail` at an odd a.
pub const fn tail_step(a: u32) -> usize {
    let far = FAR.saturating_sub(a);
    (far / 8 + far.saturating_sub(FARTHEST).div_ceil(2)) as usize
}

impl ByteLevels {
    /// The entry of `lines` of a cell at a.
    pub const fn line(cell_bits: u32, cell: u32, a: u32) -> usize {
        (cell / 4 * 16 + ((a / 8) & step_mask(cell_bits)) + cell % 4) as usize
    }

    /// The level of a stored cell at offset u. Every pinned level is between −127 and 127.
    pub fn level(&self, cell_bits: u32, cell: u32, u: u32) -> i32 {
        let c = 2 * u as i32 - 127;
        let a = c.unsigned_abs();
        let mut level = i32::from(self.lines[Self::line(cell_bits, cell, a)]);
        if cell == 0 {
            level += i32::from(self.tail[tail_step(a)]);
        }
        c.signum() * level
    }

    /// A unit, in standard deviations.
    pub fn unit(&self) -> f32 {
        1.0 / self.units
    }
}
