//! A code with everything that can be worked out ahead, and the plain decoder.

use std::sync::OnceLock;

use super::code::{Code, HALF_BITS};
use super::constants::{CODES, WINDOWS};
use super::integer_levels::IntegerLevels;
use crate::codec::numbers::bitstream::Reader;
use crate::{Error, ErrorKind, Result};

/// A code with everything that can be worked out ahead.
#[derive(Debug)]
pub struct Trellis {
    /// The constants.
    pub code: Code,
    /// `level` of every phase; rises with the phase.
    pub levels: Vec<f32>,
    /// `offset` of every register, for each weight of a step.
    pub offsets: Vec<Vec<u8>>,
    /// The levels as integers, where that loses little enough.
    pub integer: Option<IntegerLevels>,
}

impl Trellis {
    /// Work out a code's levels and offsets.
    pub fn new(code: Code) -> Self {
        let levels: Vec<f32> = (0..1 << code.phase_bits()).map(|p| code.level(p)).collect();
        let offsets = |axis| {
            (0..1u32 << code.window)
                .map(|w| code.offset_at(axis, code.position(axis, w)) as u8)
                .collect()
        };
        Self {
            code,
            integer: IntegerLevels::new(&levels),
            levels,
            offsets: (0..code.weights_a_step()).map(offsets).collect(),
        }
    }

    /// The pinned code of `half_bits`/2 bits a weight and this window.
    pub fn pinned(half_bits: u32, window: u32) -> Result<&'static Self> {
        static TRELLISES: [OnceLock<Trellis>; CODES.len()] = [const { OnceLock::new() }; _];
        let index = CODES
            .iter()
            .position(|c| c.half_bits == half_bits && c.window == window)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidArgument,
                    format!(
                        "no trellis code of {half_bits} half bits and window {window}: half bits are {} to {}, windows {WINDOWS:?}",
                        HALF_BITS.start(),
                        HALF_BITS.end()
                    ),
                )
            })?;
        Ok(TRELLISES[index].get_or_init(|| Self::new(CODES[index])))
    }

    /// Decode a stream, `out[t] = scale · level_t`, from readers that stand at its codes and the
    /// register that its chain has run to.
    pub fn decode(
        &self,
        path: &mut Reader<'_>,
        mut cells: Reader<'_>,
        mut register: usize,
        scale: f32,
        out: &mut [f32],
    ) {
        let mask = (1usize << self.code.window) - 1;
        for step in out.chunks_mut(self.code.weights_a_step()) {
            register = (register << 1 | path.next_field() as usize) & mask;
            for (value, offsets) in step.iter_mut().zip(&self.offsets) {
                let cell = (cells.next_field() as usize) << self.code.offset_bits;
                *value = scale * self.levels[cell | usize::from(offsets[register])];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pinned_code_is_sound() {
        for code in CODES {
            let trellis = Trellis::pinned(code.half_bits, code.window).unwrap();
            assert!(code.offset_bits <= 8 && code.phase_bits() <= 15, "{code:?}");
            assert!(
                code.run_bits >= 4 && code.run_bits < code.window,
                "{code:?}"
            );
            assert!(
                trellis.levels.is_sorted_by(|a, b| a < b),
                "{code:?}: levels must rise"
            );
            let n = trellis.levels.len();
            for phase in 0..n {
                assert_eq!(trellis.levels[phase], -trellis.levels[n - 1 - phase]);
            }
            for axis in &code.axes[..code.weights_a_step()] {
                assert!(axis.turn % 2 == 1 && axis.skew % 2 == 1, "{code:?}");
            }
        }
    }

    #[test]
    fn every_rate_and_window_has_one_code() {
        for window in WINDOWS {
            for half_bits in HALF_BITS {
                let found = CODES
                    .iter()
                    .filter(|c| (c.half_bits, c.window) == (half_bits, window));
                assert_eq!(found.count(), 1, "{half_bits} {window}");
            }
        }
    }

    #[test]
    fn the_two_branches_out_of_a_state_differ_by_the_turn() {
        for code in CODES {
            let trellis = Trellis::pinned(code.half_bits, code.window).unwrap();
            for (axis, offsets) in trellis.offsets.iter().enumerate() {
                for register in (0..1usize << code.window).step_by(2) {
                    let step = i32::from(offsets[register + 1]) - i32::from(offsets[register]);
                    assert_eq!(
                        step.rem_euclid(1 << code.offset_bits),
                        (code.axes[axis].turn & code.position_mask()) as i32
                    );
                }
            }
        }
    }

    #[test]
    fn an_unknown_code_is_refused() {
        let error = Trellis::pinned(17, 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(Trellis::pinned(8, 9).is_err());
    }
}
