//! Levels that are bytes: a sum of three small tables, with the sign of the offset.
//!
//! The cells of the Gaussian quantile function are moved by half a cell. Each register then has *one*
//! tail, on the side that its offset u says: above for u < 64, below otherwise. Cells are counted from
//! the tail, so that the code is symmetric: the level at 127 − u is the negative of the level at u.
//!
//! ```text
//! c = 2u − 127,  a = |c|                      odd, 1 to 127
//! i = (⌊a/8⌋ and mask) + class of the cell    mask 15, 14 or 12 for no, one, or more cell bits
//! M = start of the cell + line[i] + (tail[⌊max(64 − a, 0)/4⌋] if the cell is the tail, number 0)
//! level = M if c > 0, else −M
//! ```
//!
//! Cells of one class have the same shape, a staircase over a of four steps (of eight where there is
//! one cell bit). The tail has class 0. Up to two cell bits each cell is a class, and starts at 0.
//!
//! Every table has sixteen entries, which is what every vector unit looks up. With AVX2 one lookup by
//! the cell gives its class, plus 64 for the tail: this number less a, saturated, is what finds the
//! entry of `tail`, and entry 0 is 0, so that other cells need no mask. Where a machine looks up 64
//! bytes, one lookup by the cell and u replaces all of this.

/// The levels of a code of up to three cell bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ByteLevels {
    /// Units in a standard deviation.
    pub units: f32,
    /// The class of each cell.
    pub classes: [u8; 8],
    /// The start of each cell.
    pub starts: [i8; 8],
    /// The steps of each class.
    pub lines: [i8; 16],
    /// What the far half of the tail adds; entry 0 is 0.
    pub tail: [i8; 16],
}

/// The a from which on the tail is a line.
pub const FAR: u32 = 64;

/// The bits of ⌊a/8⌋ that find the step of a class; the others are the class.
pub const fn step_mask(cell_bits: u32) -> u32 {
    match cell_bits {
        0 => 15,
        1 => 14,
        _ => 12,
    }
}

impl ByteLevels {
    /// The level of a stored cell at offset u. Every pinned level is between −127 and 127.
    pub fn level(&self, cell_bits: u32, cell: u32, u: u32) -> i32 {
        let c = 2 * u as i32 - 127;
        let a = c.unsigned_abs();
        let cell = cell as usize;
        let step = ((a / 8) & step_mask(cell_bits)) as usize + usize::from(self.classes[cell]);
        let mut level = i32::from(self.starts[cell]) + i32::from(self.lines[step]);
        if cell == 0 {
            level += i32::from(self.tail[FAR.saturating_sub(a) as usize / 4]);
        }
        c.signum() * level
    }

    /// A unit, in standard deviations.
    pub fn unit(&self) -> f32 {
        1.0 / self.units
    }
}
