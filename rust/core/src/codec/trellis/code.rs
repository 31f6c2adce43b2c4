//! The trellis code: how path bits and cells determine the level of a weight.
//!
//! A weight stores *cell* bits, and every step of one or two weights stores one *path* bit. The path
//! bits run through a register of W bits (the Bernoulli shift), w_t = (2·w_{t−1} + path_t) mod 2^W.
//! The [`StateMap`] of the register gives each weight of the step its offset inside its cell. Offset
//! and cell together are the *phase* of the weight, and the [`LevelCurve`] gives the level of a phase:
//!
//! ```text
//! phase  = cell·2^s + offset              of 2^L, L = s + cell bits
//! weight = scale · level(phase)
//! ```
//!
//! A change of the path bit moves the offset by a *turn*. The branches out of a state are therefore
//! spread evenly over the cell (three-distance theorem), which a random labelling does not guarantee.
//! Where a step has two weights, each has its own turn: the state map has two axes. A code at a half
//! rate is then only 0.2 dB behind the codes at the whole rates beside it. Mixing rows of two whole
//! rates instead would lose 0.9 dB.

use super::byte_levels::ByteLevels;

/// The rates that have codes, in half bits a weight.
pub const HALF_BITS: std::ops::RangeInclusive<u32> = 1..=16;

/// How the register determines the offsets of a step's weights: one axis for each weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StateMap {
    /// An irrational winding of the register's upper part, plus the lower part (code set 1):
    ///
    /// ```text
    /// hi = ⌊w/2^run⌋, lo = w mod 2^run
    /// position = (⌊(skew·hi mod 2^32) / 2^(32−s)⌋ + lo) mod 2^s
    /// offset   = turn·position mod 2^s
    /// ```
    Winding(Winding),
    /// A sum of one small table for each four bits of the register (code set 2), so that vector
    /// instructions that look up bytes find the offset:
    ///
    /// ```text
    /// T1[i] = 64·(i mod 2) + turn·⌊i/2⌋,   T_n[i] = ⌊(skew_n·i mod 2^32) / 2^25⌋
    /// u      = (T1[w mod 16] + Σ T_n[⌊w/16^(n−1)⌋ mod 16]) mod 128
    /// offset = (u + 64) mod 128
    /// ```
    ///
    /// The two branches out of a state are half a cell apart.
    Tables([TableAxis; 2]),
}

/// The state map of code set 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Winding {
    /// log2 of the number of consecutive registers whose positions are consecutive too.
    pub run_bits: u32,
    /// One axis for the first weight of a step, and one for the second if there is one.
    pub axes: [Axis; 2],
}

/// One axis of a winding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The odd factor that maps a position to an offset.
    pub turn: u32,
    /// The odd factor that spreads the older path bits over the positions.
    pub skew: u32,
}

/// One axis of a state map of tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableAxis {
    /// The odd factor of the newest four bits.
    pub turn: u32,
    /// The factors of the older bits, four bits each; 0 beyond the window.
    pub skews: [u32; 3],
}

impl TableAxis {
    /// Entry `i` of table `n`, the newest bits' table first: 0 to 127.
    pub fn entry(&self, n: usize, i: u32) -> u32 {
        match n.checked_sub(1) {
            None => (64 * (i % 2) + self.turn * (i / 2)) % 128,
            Some(n) => self.skews[n].wrapping_mul(i) >> 25,
        }
    }

    /// u of a register.
    pub fn offset(&self, register: u32) -> u32 {
        let nibble = |n: usize| register >> (4 * n) & 15;
        (0..4).map(|n| self.entry(n, nibble(n))).sum::<u32>() % 128
    }
}

/// The levels by phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LevelCurve {
    /// Close to the Gaussian quantile function, √2·erf⁻¹(t): t times a polynomial in −log₂(1 − t²)
    /// (Giles, *Approximating the erfinv function*, 2011), with these coefficients of 1, v and v². The
    /// logarithm is read from the bits of a float, which costs one subtraction. Only IEEE sums,
    /// products and fused multiply-adds are used, so every machine decodes the same bits.
    Quantile([f32; 3]),
    /// The same curve in integers, [`WORDS_A_SIGMA`] to a standard deviation: for the rates of code set
    /// 2 whose levels do not fit in bytes.
    Words([f32; 3]),
    /// Sums of small tables, in bytes.
    Bytes(ByteLevels),
}

/// Integers to a standard deviation of [`LevelCurve::Words`]: a power of two for which the outermost
/// level fits in 16 bits. Rounding adds −35 dB to the error of a code of 8 bits a weight.
pub const WORDS_A_SIGMA: f32 = 4096.0;

/// One code of the format: its rate, its window, and the constants of its state map and levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Code {
    /// Twice the rate: half bits a weight, 1 to 16.
    pub half_bits: u32,
    /// W, bits of the register.
    pub window: u32,
    /// s, bits of an offset.
    pub offset_bits: u32,
    /// The offsets by register.
    pub map: StateMap,
    /// The levels by phase, in standard deviations.
    pub curve: LevelCurve,
    /// Mean squared error on a Gaussian source of variance 1, as measured by the search for constants.
    pub noise: f32,
}

impl Code {
    /// Bits of a cell.
    pub fn cell_bits(&self) -> u32 {
        (self.half_bits - 1) / 2
    }

    /// Weights that share a path bit: two at odd half bits, else one.
    pub fn weights_a_step(&self) -> usize {
        1 + self.half_bits as usize % 2
    }

    /// Bits of a phase, L.
    pub fn phase_bits(&self) -> u32 {
        self.offset_bits + self.cell_bits()
    }

    /// Number of trellis states in the search: a state is the register without its oldest bit.
    pub fn states(&self) -> usize {
        1 << (self.window - 1)
    }

    /// Path bits of `len` weights.
    pub fn path_len(&self, len: usize) -> usize {
        len.div_ceil(self.weights_a_step())
    }

    /// Bits of the cells of `len` weights.
    pub fn cells_len(&self, len: usize) -> usize {
        len * self.cell_bits() as usize
    }

    /// Whether the streams of this code are cut into tiles (code set 2).
    pub fn is_tiled(&self) -> bool {
        matches!(self.map, StateMap::Tables(_))
    }

    /// The winding and the coefficients of the levels, which every code of set 1 has.
    pub fn quantile(&self) -> (Winding, [f32; 3]) {
        match (self.map, self.curve) {
            (StateMap::Winding(winding), LevelCurve::Quantile(shape)) => (winding, shape),
            _ => unreachable!("a code of another set"),
        }
    }

    /// The level of a phase, in standard deviations.
    pub fn level(&self, phase: u32) -> f32 {
        match &self.curve {
            LevelCurve::Quantile(shape) => self.quantile_level(*shape, phase),
            LevelCurve::Words(_) => self.integer_level(phase) as f32 * (1.0 / WORDS_A_SIGMA),
            LevelCurve::Bytes(bytes) => self.integer_level(phase) as f32 * bytes.unit(),
        }
    }

    /// The level of a phase as an integer, which every code of set 2 has.
    pub fn integer_level(&self, phase: u32) -> i32 {
        match &self.curve {
            LevelCurve::Quantile(_) => unreachable!("levels of set 1 are floats"),
            LevelCurve::Words(shape) => {
                let level = self.quantile_level(*shape, phase) * WORDS_A_SIGMA;
                level.round_ties_even() as i32
            }
            LevelCurve::Bytes(bytes) => {
                let offset = phase & self.offset_mask();
                let cell = self.stored_cell(phase >> self.offset_bits, offset);
                bytes.level(self.cell_bits(), cell, (offset + 64) % 128)
            }
        }
    }

    fn quantile_level(&self, shape: [f32; 3], phase: u32) -> f32 {
        let points = 1i32 << self.phase_bits();
        let t = (2 * phase as i32 + 1 - points) as f32 / points as f32;
        let u = (-t).mul_add(t, 1.0);
        // 2^23 times a piecewise linear −log₂ u: the bits of 1 minus the bits of u.
        let v = (1f32.to_bits() - u.to_bits()) as f32;
        let [a, b, c] = scaled_shape(shape);
        t * c.mul_add(v, b).mul_add(v, a)
    }

    /// log2 of the number of consecutive registers whose positions are consecutive too.
    pub fn run_bits(&self) -> u32 {
        match self.map {
            StateMap::Winding(winding) => winding.run_bits,
            StateMap::Tables(_) => 4,
        }
    }

    /// Number of positions of a register. A position determines an offset; with tables, two positions
    /// determine the same.
    pub fn positions(&self) -> u32 {
        match self.map {
            StateMap::Winding(_) => 1 << self.offset_bits,
            StateMap::Tables(_) => 2 << self.offset_bits,
        }
    }

    /// The position of a register. Positions of consecutive registers are consecutive within a run.
    pub fn position(&self, axis: usize, register: u32) -> u32 {
        let lower = register & ((1 << self.run_bits()) - 1);
        let upper = register >> self.run_bits();
        let first = match &self.map {
            StateMap::Winding(winding) => {
                winding.axes[axis].skew.wrapping_mul(upper) >> (32 - self.offset_bits)
            }
            StateMap::Tables(axes) => {
                let axis = &axes[axis];
                2 * (inverse(axis.turn) * axis.offset(upper << 4) % 128)
            }
        };
        (first + lower) % self.positions()
    }

    /// The offset at a position.
    pub fn offset_at(&self, axis: usize, position: u32) -> u32 {
        match &self.map {
            StateMap::Winding(winding) => {
                winding.axes[axis].turn.wrapping_mul(position) & self.offset_mask()
            }
            StateMap::Tables(axes) => {
                (axes[axis].turn * (position / 2) + 64 * (position % 2) + 64) % 128
            }
        }
    }

    /// The number of a cell as it is stored. In a code of set 2 cells are counted from below for the
    /// offsets of the lower half, and from above for those of the upper half: 0 is the tail, on whichever
    /// side it lies.
    pub fn stored_cell(&self, cell: u32, offset: u32) -> u32 {
        match self.map {
            StateMap::Winding(_) => cell,
            StateMap::Tables(_) if offset < 64 => cell,
            StateMap::Tables(_) => (1 << self.cell_bits()) - 1 - cell,
        }
    }

    /// The largest offset.
    pub fn offset_mask(&self) -> u32 {
        (1 << self.offset_bits) - 1
    }
}

/// Coefficients for a logarithm in units of 2^−23; a power of two, so nothing is rounded.
pub fn scaled_shape([a, b, c]: [f32; 3]) -> [f32; 3] {
    const UNIT: f32 = 1.0 / (1 << 23) as f32;
    [a, b * UNIT, c * UNIT * UNIT]
}

/// The inverse of an odd number modulo 128.
fn inverse(odd: u32) -> u32 {
    // Newton's iteration doubles the number of right bits, of which an odd number has three.
    let step = |x: u32| x.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(x)));
    step(step(odd)) % 128
}
