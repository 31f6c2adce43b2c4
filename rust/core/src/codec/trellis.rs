//! The trellis code: where the winding of a shift register places a weight.
//!
//! A weight stores one *path* bit and k − 1 *cell* bits. The path bits run through a register of W
//! bits (the Bernoulli shift), w_t = (2·w_{t−1} + path_t) mod 2^W, and a winding of the register
//! gives the weight's offset inside its cell:
//!
//! ```text
//! hi = ⌊w/16⌋, lo = w mod 16
//! position = (⌊(skew·hi mod 2^16) / 2^(16−s)⌋ + lo) mod 2^s
//! offset   = turn·position mod 2^s
//! phase    = cell·2^s + offset              of 2^(s+k−1)
//! weight   = scale · level(phase)
//! ```
//!
//! A step of the path bit moves the offset by `turn`, so the branches out of a state are spread
//! evenly over the cell (three-distance theorem); that is what a random labelling lacks. `level`
//! is an odd polynomial in 16-bit fixed point, close to the Gaussian quantile function: integer
//! arithmetic, so that every machine decodes the same bits, and no table to gather from.
//!
//! The register starts at 0 in every stream. Paying W − 1 bits for a free start would cost more
//! than it gains: those bits, spent on rate, are worth 6 dB a bit over the whole row.

use std::sync::OnceLock;

use super::bitstream::{Reader, packed_len};
use super::constants::{BITS, CODES, WINDOWS};
use crate::{Error, ErrorKind, Result};

/// One code of the format: its rate k, its window W, and the constants of its winding and levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Code {
    /// k, bits a weight: one path bit and k − 1 cell bits.
    pub bits: u32,
    /// W, bits of the register.
    pub window: u32,
    /// s, bits of the offset; s + k − 1 ≤ 15.
    pub offset_bits: u32,
    /// The odd factor by which a position turns into an offset.
    pub turn: u32,
    /// The odd factor that spreads the older path bits over the positions.
    pub skew: u32,
    /// Coefficients of t, t⁵ and t³³ in the level polynomial, in units of 2^−15.
    pub shape: [i32; 3],
    /// Levels a standard deviation: the encoder's first row scale is rms / `deviation`.
    pub deviation: f32,
}

/// ⌊(a·b + 2^14) / 2^15⌋: the rounding product of 16-bit fixed point, as vector units have it.
fn product(a: i32, b: i32) -> i32 {
    (a * b + (1 << 14)) >> 15
}

impl Code {
    /// Bits of a phase, L = s + k − 1.
    pub fn phase_bits(&self) -> u32 {
        self.offset_bits + self.bits - 1
    }

    /// States of the search: the register without its oldest bit.
    pub fn states(&self) -> usize {
        1 << (self.window - 1)
    }

    /// The level of a phase, within ±2^15.
    pub fn level(&self, phase: u32) -> i16 {
        let t = ((2 * phase as i32 + 1) << (15 - self.phase_bits())) - (1 << 15);
        let t2 = product(t, t);
        let t4 = product(t2, t2);
        let t8 = product(t4, t4);
        let t16 = product(t8, t8);
        let t32 = product(t16, t16);
        let slope = self.shape[0] + product(self.shape[1], t4) + product(self.shape[2], t32);
        product(t, slope) as i16
    }

    /// The place of a register's offset in the order of `turn`: the last four path bits move it by
    /// 1, 2, 4 and 8, so sixteen consecutive registers read sixteen consecutive positions.
    pub fn position(&self, register: u32) -> u32 {
        let spread = ((self.skew * (register >> 4)) & 0xFFFF) >> (16 - self.offset_bits);
        (spread + (register & 15)) & self.position_mask()
    }

    /// The offset at a position.
    pub fn offset_at(&self, position: u32) -> u32 {
        (self.turn * position) & self.position_mask()
    }

    fn position_mask(&self) -> u32 {
        (1 << self.offset_bits) - 1
    }
}

/// A code with everything that can be worked out ahead.
#[derive(Debug)]
pub struct Trellis {
    /// The constants.
    pub code: Code,
    /// `level` of every phase; rises with the phase.
    pub levels: Vec<i16>,
    /// `offset` of every register.
    pub offsets: Vec<u8>,
}

impl Trellis {
    /// Work out a code's levels and offsets.
    pub fn new(code: Code) -> Self {
        let levels = (0..1 << code.phase_bits()).map(|p| code.level(p)).collect();
        let offsets = (0..1 << code.window)
            .map(|w| code.offset_at(code.position(w)) as u8)
            .collect();
        Self {
            code,
            levels,
            offsets,
        }
    }

    /// The pinned code of rate `bits` and window `window`.
    pub fn pinned(bits: u32, window: u32) -> Result<&'static Self> {
        static TRELLISES: [OnceLock<Trellis>; CODES.len()] = [const { OnceLock::new() }; _];
        let index = CODES
            .iter()
            .position(|c| c.bits == bits && c.window == window)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidArgument,
                    format!(
                        "no trellis code of {bits} bits and window {window}: bits are {} to {}, windows {WINDOWS:?}",
                        BITS.start(),
                        BITS.end()
                    ),
                )
            })?;
        Ok(TRELLISES[index].get_or_init(|| Self::new(CODES[index])))
    }

    /// Bytes of the path plane and of the cell plane of a stream of `len` weights.
    pub fn plane_lens(&self, len: usize) -> (usize, usize) {
        (packed_len(len, 1), packed_len(len, self.code.bits - 1))
    }

    /// Decode a stream: `out[t] = scale · level_t`, from the stream's path and cell planes.
    pub fn decode(&self, path: &[u8], cells: &[u8], scale: f32, out: &mut [f32]) {
        let mask = (1usize << self.code.window) - 1;
        let mut path = Reader::new(path, 1);
        let mut cells = Reader::new(cells, self.code.bits - 1);
        let mut register = 0;
        for value in out {
            register = (register << 1 | path.next_field() as usize) & mask;
            let cell = (cells.next_field() as usize) << self.code.offset_bits;
            let level = self.levels[cell | usize::from(self.offsets[register])];
            *value = scale * f32::from(level);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pinned_code_is_sound() {
        for code in CODES {
            let trellis = Trellis::pinned(code.bits, code.window).unwrap();
            assert!(code.phase_bits() <= 15, "{code:?}");
            assert!(code.turn % 2 == 1 && code.skew % 2 == 1, "{code:?}");
            // The sum bounds every partial sum of the polynomial, so 16-bit lanes hold it.
            assert!(code.shape.iter().all(|c| *c >= 0) && code.shape.iter().sum::<i32>() < 1 << 15);
            assert!(trellis.levels.is_sorted(), "{code:?}");
            let n = trellis.levels.len();
            for phase in 0..n {
                // Rounding products are not exactly odd; one unit in the last place is allowed.
                let sum =
                    i32::from(trellis.levels[phase]) + i32::from(trellis.levels[n - 1 - phase]);
                assert!(sum.abs() <= 4, "{code:?} phase {phase}: {sum}");
            }
            // Every offset is reached by as many registers as every other, to within the spread
            // of the older bits; none is left out.
            assert!((0..1u32 << code.offset_bits).all(|o| trellis.offsets.contains(&(o as u8))));
        }
    }

    #[test]
    fn the_two_branches_out_of_a_state_differ_by_the_turn() {
        for code in CODES {
            let trellis = Trellis::pinned(code.bits, code.window).unwrap();
            for register in (0..1usize << code.window).step_by(2) {
                let step =
                    i32::from(trellis.offsets[register + 1]) - i32::from(trellis.offsets[register]);
                assert_eq!(
                    step.rem_euclid(1 << code.offset_bits),
                    (code.turn & ((1 << code.offset_bits) - 1)) as i32
                );
            }
        }
    }

    #[test]
    fn an_unknown_code_is_refused() {
        let error = Trellis::pinned(9, 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(Trellis::pinned(4, 9).is_err());
    }
}
