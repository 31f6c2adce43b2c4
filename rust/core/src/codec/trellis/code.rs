//! The trellis code: how path bits and cells determine the level of a weight.
//!
//! A weight stores *cell* bits, and every step of one or two weights stores one *path* bit. The path
//! bits run through a register of W bits (the Bernoulli shift), w_t = (2·w_{t−1} + path_t) mod 2^W,
//! and the *state map* of the register gives each weight of the step its offset inside its cell:
//!
//! ```text
//! hi = ⌊w/2^run⌋, lo = w mod 2^run
//! position = (⌊(skew·hi mod 2^32) / 2^(32−s)⌋ + lo) mod 2^s
//! offset   = turn·position mod 2^s
//! phase    = cell·2^s + offset              of 2^L, L = s + cell bits
//! weight   = scale · level(phase)
//! ```
//!
//! A change of the path bit moves the offset by `turn`. The branches out of a state are therefore
//! spread evenly over the cell (three-distance theorem), which a random labelling does not guarantee.
//! Where a step has two weights, each has its own `turn` and `skew`: the state map has two axes. A code
//! at a half rate is then only 0.2 dB behind the codes at the whole rates beside it. Mixing rows of two
//! whole rates instead would lose 0.9 dB.
//!
//! `level` is close to the Gaussian quantile function, √2·erf⁻¹(t): t times a polynomial in −log₂(1 −
//! t²) (Giles, *Approximating the erfinv function*, 2011). The logarithm is read from the bits of a
//! float, which costs one subtraction. Only IEEE sums, products and fused multiply-adds are used, so
//! every machine decodes the same bits.

/// The rates that have codes, in half bits a weight.
pub const HALF_BITS: std::ops::RangeInclusive<u32> = 1..=16;

/// One axis of a code's state map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The odd factor that maps a position to an offset.
    pub turn: u32,
    /// The odd factor that spreads the older path bits over the positions.
    pub skew: u32,
}

/// One code of the format: its rate, its window, and the constants of its state map and levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Code {
    /// Twice the rate: half bits a weight, 1 to 16.
    pub half_bits: u32,
    /// W, bits of the register.
    pub window: u32,
    /// s, bits of an offset.
    pub offset_bits: u32,
    /// log2 of the number of consecutive registers whose positions are consecutive too.
    pub run_bits: u32,
    /// The axis of the state map for the first weight of a step, and for the second if there is one.
    pub axes: [Axis; 2],
    /// Coefficients of 1, v and v² in level/t, v = −log₂(1 − t²); levels are in standard deviations.
    pub shape: [f32; 3],
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

    /// The level of a phase, in standard deviations.
    pub fn level(&self, phase: u32) -> f32 {
        let points = 1i32 << self.phase_bits();
        let t = (2 * phase as i32 + 1 - points) as f32 / points as f32;
        let u = (-t).mul_add(t, 1.0);
        // 2^23 times a piecewise linear −log₂ u: the bits of 1 minus the bits of u.
        let v = (1f32.to_bits() - u.to_bits()) as f32;
        let [a, b, c] = self.scaled_shape();
        t * c.mul_add(v, b).mul_add(v, a)
    }

    /// `shape` for a logarithm in units of 2^−23; a power of two, so nothing is rounded.
    pub fn scaled_shape(&self) -> [f32; 3] {
        const UNIT: f32 = 1.0 / (1 << 23) as f32;
        let [a, b, c] = self.shape;
        [a, b * UNIT, c * UNIT * UNIT]
    }

    /// The position of a register: its offset is `turn` times this.
    pub fn position(&self, axis: usize, register: u32) -> u32 {
        let spread =
            self.axes[axis].skew.wrapping_mul(register >> self.run_bits) >> (32 - self.offset_bits);
        (spread + (register & ((1 << self.run_bits) - 1))) & self.position_mask()
    }

    /// The offset at a position.
    pub fn offset_at(&self, axis: usize, position: u32) -> u32 {
        self.axes[axis].turn.wrapping_mul(position) & self.position_mask()
    }

    /// The largest position.
    pub fn position_mask(&self) -> u32 {
        (1 << self.offset_bits) - 1
    }
}
