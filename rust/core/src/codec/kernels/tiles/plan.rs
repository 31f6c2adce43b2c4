//! The constants of a code of set 2 for its kernels.

use std::sync::OnceLock;

use super::order::TileOrder;
use crate::codec::trellis::byte_levels::ByteLevels;
use crate::codec::trellis::code::{
    Code, LevelCurve, StateMap, TableAxis, WORDS_A_SIGMA, scaled_shape,
};
use crate::codec::trellis::code_set::PinnedCode;
use crate::codec::trellis::integer_levels::PER_SIGMA;

/// A table of sixteen bytes, which every vector unit looks up.
pub type Table = [u8; 16];

/// The constants of a code.
#[derive(Debug)]
pub struct TilePlan {
    /// W.
    pub window: u32,
    /// Where the bits of a tile are.
    pub order: TileOrder,
    /// By axis: the tables of the state map, the newest four bits' first.
    pub tables: [[Table; 4]; 2],
    /// By axis: u of every register.
    offsets: [Vec<u8>; 2],
    /// The integer level of each stored cell and u: at `cell·128 + u`.
    levels: Vec<i16>,
    /// The coefficients of levels that are words (see [`scaled_shape`]); else zeros.
    pub curve: [f32; 3],
    /// An integer level of 1, in standard deviations.
    pub unit: f32,
    /// The tables of levels that are bytes.
    pub bytes: Option<BytePlan>,
}

/// The tables of levels in bytes, for each vector unit.
#[derive(Debug)]
pub struct BytePlan {
    #[cfg(target_arch = "x86_64")]
    pub avx2: super::avx2::Tables,
    #[cfg(target_arch = "x86_64")]
    pub vbmi: super::vbmi::Tables,
}

impl TilePlan {
    /// The plan of a code of set 2, made at the first call.
    pub fn of(code: PinnedCode) -> &'static Self {
        static PLANS: [OnceLock<TilePlan>; PinnedCode::COUNT] =
            [const { OnceLock::new() }; PinnedCode::COUNT];
        PLANS[code.number()].get_or_init(|| Self::new(code))
    }

    fn new(pinned: PinnedCode) -> Self {
        let code = pinned.code();
        let StateMap::Tables(axes) = code.map else {
            unreachable!("a code of another set");
        };
        let tables = axes.map(|axis: TableAxis| {
            std::array::from_fn(|n| {
                // Bits above the register's do not matter.
                let bits = code.window.saturating_sub(4 * n as u32).min(4);
                std::array::from_fn(|i| axis.entry(n, i as u32 % (1 << bits)) as u8)
            })
        });
        let mut levels = vec![0; 128 << code.cell_bits()];
        for phase in 0..levels.len() as u32 {
            let offset = phase & code.offset_mask();
            let cell = code.stored_cell(phase >> code.offset_bits, offset);
            let u = (offset + 64) % 128;
            levels[(cell << 7 | u) as usize] = code.integer_level(phase) as i16;
        }
        let (unit, curve, bytes) = match &code.curve {
            LevelCurve::Bytes(bytes) => {
                let plan = BytePlan::new(code, bytes, &tables, &levels);
                (bytes.unit(), [0.0; 3], Some(plan))
            }
            LevelCurve::Words(shape) | LevelCurve::Quantile(shape) => {
                (1.0 / WORDS_A_SIGMA, scaled_shape(*shape), None)
            }
        };
        Self {
            window: code.window,
            order: TileOrder {
                half_bits: code.half_bits,
            },
            tables,
            offsets: [0, 1].map(|axis| match axis < code.weights_a_step() {
                true => (0..1 << code.window)
                    .map(|w| axes[axis].offset(w) as u8)
                    .collect(),
                false => Vec::new(),
            }),
            levels,
            curve,
            unit,
            bytes,
        }
    }

    /// The integer level of a weight whose register ends `path`.
    #[inline]
    pub fn level(&self, axis: usize, path: u32, cell: u8) -> i16 {
        let register = path & ((1 << self.window) - 1);
        let u = self.offsets[axis][register as usize];
        self.level_at(cell, u)
    }

    /// The integer level of a stored cell at offset u.
    #[inline]
    pub fn level_at(&self, cell: u8, u: u8) -> i16 {
        self.levels[usize::from(cell) << 7 | usize::from(u)]
    }

    /// The factor that turns integer levels into units of [`PER_SIGMA`].
    pub fn integer_unit(&self) -> f32 {
        PER_SIGMA * self.unit
    }
}

impl BytePlan {
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(unused_variables, reason = "tables for x86-64 alone")
    )]
    fn new(code: &Code, bytes: &ByteLevels, tables: &[[Table; 4]; 2], levels: &[i16]) -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx2: super::avx2::Tables::new(code.cell_bits(), bytes, tables),
            #[cfg(target_arch = "x86_64")]
            vbmi: super::vbmi::Tables::new(code.window, 1 << code.cell_bits(), tables, levels),
        }
    }
}
