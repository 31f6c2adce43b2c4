//! The constants of a code for each lane of a decoder.

use std::sync::OnceLock;

pub use crate::codec::kernels::activations::BLOCK;
use crate::codec::kernels::tiles::TilePlan;
use crate::codec::trellis::code::{Code, HALF_BITS, scaled_shape};
use crate::codec::trellis::code_set::{PinnedCode, WindowCodes};
use crate::codec::trellis::integer_levels::IntegerLevels;
use crate::codec::trellis::tables::Trellis;
use crate::{Result, SimdLevel};

/// A value for each lane.
pub type PerLane<T> = [T; BLOCK];

/// The constants of a code, for cells that begin at one bit of a byte.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct DecodePlan {
    /// For each lane four byte indices into the cells of a block, least significant byte first: two
    /// empty bytes (0x80), then the byte after the first byte of the lane's cell, then that first byte.
    pub cell_bytes: [[u8; 4]; BLOCK],
    /// Left shift that brings the lane's cell to the top.
    pub cell_up: PerLane<u32>,
    /// Right shift that brings the upper part of the lane's register to the bottom of the path's word.
    pub upper_down: PerLane<u32>,
    /// Right shift that brings the lower part there.
    pub lower_down: PerLane<u32>,
    /// The skew of the lane's axis: the factor of the upper part.
    pub skew: PerLane<u32>,
    /// The factor of the position.
    pub turn: PerLane<u32>,
    /// The code, with its levels.
    pub trellis: &'static Trellis,
    /// Mask of the register's upper part.
    pub upper_mask: u32,
    /// Mask of the register's lower part.
    pub lower_mask: u32,
    /// Mask of an offset.
    pub offset_mask: u32,
    /// Right shift that leaves the top bits of a product as a position.
    pub spread_down: u32,
    /// Right shift of a cell from the top to its place above the offset.
    pub cell_down: u32,
    /// 2^(1−L) and 2^−L − 1: t of a phase.
    pub t_line: [f32; 2],
    /// Coefficients of the level (see [`scaled_shape`]).
    pub shape: [f32; 3],
    /// Tables for 32 lanes (VBMI), if the register is short enough.
    #[cfg(target_arch = "x86_64")]
    pub table: Option<super::vbmi::WordLookup>,
    /// Tables for lookups in bytes (AVX2), if the register is short enough.
    #[cfg(target_arch = "x86_64")]
    pub bytes: Option<super::bytes::ByteLookup>,
    /// Bytes of a block in the path plane.
    pub path_step: usize,
    /// Bytes of a block in the cell plane.
    pub cell_step: usize,
}

impl DecodePlan {
    /// The plan of a code whose cells begin `skipped` bits into a byte.
    fn new(trellis: &'static Trellis, skipped: u32) -> Self {
        let code = &trellis.code;
        let group = code.weights_a_step() as u32;
        let steps = BLOCK as u32 / group;
        let lane = |of: &dyn Fn(u32) -> u32| std::array::from_fn(|i| of(i as u32));
        let (winding, shape) = code.quantile();
        let axis = |i: u32| winding.axes[(i % group) as usize];
        let cell_bit = |i: u32| skipped + i * code.cell_bits();
        let points = (1u32 << code.phase_bits()) as f32;
        Self {
            cell_bytes: std::array::from_fn(|i| {
                let byte = (cell_bit(i as u32) / 8) as u8;
                [0x80, 0x80, byte + 1, byte]
            }),
            cell_up: lane(&|i| cell_bit(i) % 8),
            upper_down: lane(&|i| steps - 1 - i / group + winding.run_bits),
            lower_down: lane(&|i| steps - 1 - i / group),
            skew: lane(&|i| axis(i).skew),
            turn: lane(&|i| axis(i).turn),
            trellis,
            upper_mask: ones(code.window - winding.run_bits),
            lower_mask: ones(winding.run_bits),
            offset_mask: ones(code.offset_bits),
            spread_down: 32 - code.offset_bits,
            cell_down: 32 - code.offset_bits - code.cell_bits(),
            t_line: [2.0 / points, 1.0 / points - 1.0],
            shape: scaled_shape(shape),
            #[cfg(target_arch = "x86_64")]
            table: super::vbmi::WordLookup::new(code, skipped),
            #[cfg(target_arch = "x86_64")]
            bytes: super::bytes::ByteLookup::new(code),
            path_step: (steps / 8) as usize,
            cell_step: 2 * code.cell_bits() as usize,
        }
    }

    /// The code.
    pub fn code(&self) -> &Code {
        &self.trellis.code
    }

    /// Whether the kernel of this vector unit looks up bytes, and so reads path bytes in their stored
    /// order.
    pub fn reads_stored_order(&self, simd: SimdLevel) -> bool {
        match simd {
            #[cfg(target_arch = "x86_64")]
            SimdLevel::Avx2(_) => self.bytes.is_some(),
            _ => false,
        }
    }

    /// The code's integer levels, which the caller has checked to exist.
    pub fn integer_levels(&self) -> &'static IntegerLevels {
        let levels = self.trellis.integer.as_ref();
        levels.expect("the code has integer levels")
    }
}

const fn ones(bits: u32) -> u32 {
    (1 << bits) - 1
}

/// The plans of a code, by the bit of a byte at which cells begin.
type OfCode = [OnceLock<DecodePlan>; 8];

/// The plans of a rate.
#[derive(Clone, Copy, Debug)]
enum RatePlans {
    /// Of a code of set 1.
    Chain(&'static Trellis, &'static OfCode),
    /// Of a code of set 2.
    Tiles(&'static TilePlan),
}

/// The plans of all rates of one window.
#[derive(Clone, Copy, Debug)]
pub struct DecodePlans([Option<RatePlans>; *HALF_BITS.end() as usize + 1]);

impl DecodePlans {
    /// The plans for streams of these rates, in half bits. Rate 0 is ignored.
    pub fn new(codes: WindowCodes, rates: &[u8]) -> Result<Self> {
        static PLANS: [OfCode; PinnedCode::COUNT] =
            [const { [const { OnceLock::new() }; 8] }; PinnedCode::COUNT];
        let mut plans = [None; _];
        for &rate in rates {
            if rate == 0 || plans.get(usize::from(rate)).is_some_and(Option::is_some) {
                continue;
            }
            let code = codes.code(rate.into())?;
            plans[usize::from(rate)] = Some(match code.code().is_tiled() {
                false => RatePlans::Chain(code.trellis(), &PLANS[code.number()]),
                true => RatePlans::Tiles(TilePlan::of(code)),
            });
        }
        Ok(Self(plans))
    }

    /// Whether any of the rates has integer levels.
    pub fn integer_levels(&self) -> bool {
        (0..self.0.len()).any(|rate| self.has_integer_levels(rate as u8))
    }

    /// Whether streams of `rate` half bits have integer levels.
    pub fn has_integer_levels(&self, rate: u8) -> bool {
        match self.0[usize::from(rate)] {
            None => false,
            Some(RatePlans::Chain(trellis, _)) => trellis.integer.is_some(),
            Some(RatePlans::Tiles(plan)) => plan.bytes.is_some(),
        }
    }

    /// The plan of streams of `rate` half bits in tiles; `None` if they are parts of chains.
    pub fn tiles(&self, rate: u8) -> Option<&'static TilePlan> {
        match self.0[usize::from(rate)] {
            Some(RatePlans::Tiles(plan)) => Some(plan),
            _ => None,
        }
    }

    /// Whether streams are cut into tiles. This is the same for all rates of a window.
    pub fn is_tiled(&self) -> bool {
        (0..self.0.len()).any(|rate| self.tiles(rate as u8).is_some())
    }

    /// The factor of the integer levels of a rate: with it, they have
    /// [`PER_SIGMA`](crate::codec::trellis::integer_levels::PER_SIGMA) to a standard deviation.
    pub fn integer_unit(&self, rate: u8) -> f32 {
        self.tiles(rate).map_or(1.0, TilePlan::integer_unit)
    }

    /// Whether path bytes are read in their stored order (see [`DecodePlan::reads_stored_order`]). This
    /// is the same for all rates of a window.
    pub fn reads_stored_order(&self, simd: SimdLevel) -> bool {
        let chain = |plans: &Option<RatePlans>| matches!(plans, Some(RatePlans::Chain(..)));
        let rate = self.0.iter().position(chain);
        rate.is_some_and(|rate| self.plan(rate as u8, 0).reads_stored_order(simd))
    }

    /// The plan of streams of `rate` half bits whose cells begin `skipped` bits into a byte.
    pub fn plan(&self, rate: u8, skipped: u32) -> &'static DecodePlan {
        let Some(RatePlans::Chain(trellis, plans)) = self.0[usize::from(rate)] else {
            unreachable!("the rate is one of those given to `new`, of set 1");
        };
        plans[skipped as usize].get_or_init(|| DecodePlan::new(trellis, skipped))
    }
}
