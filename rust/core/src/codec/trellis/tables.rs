//! A code with its tables, and the plain decoder.

use super::code::Code;
use super::integer_levels::IntegerLevels;
use crate::codec::numbers::bitstream::Reader;

/// A code with its tables of levels and offsets.
#[derive(Debug)]
pub struct Trellis {
    /// The constants.
    pub code: Code,
    /// `level` of every phase; rises with the phase.
    pub levels: Vec<f32>,
    /// `offset` of every register, for each weight of a step.
    pub offsets: Vec<Vec<u8>>,
    /// Integers near the levels of a code of set 1; `None` where they would miss by too much.
    pub integer: Option<IntegerLevels>,
}

impl Trellis {
    /// Compute a code's levels and offsets.
    pub fn new(code: Code) -> Self {
        let levels: Vec<f32> = (0..1 << code.phase_bits()).map(|p| code.level(p)).collect();
        let offsets = |axis| {
            (0..1u32 << code.window)
                .map(|w| code.offset_at(axis, code.position(axis, w)) as u8)
                .collect()
        };
        Self {
            code,
            integer: match code.is_tiled() {
                false => IntegerLevels::new(&levels),
                true => None,
            },
            levels,
            offsets: (0..code.weights_a_step()).map(offsets).collect(),
        }
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
