//! What the lanes of a decoder need to know of a code.

use std::sync::OnceLock;

use crate::codec::trellis::code::{Code, HALF_BITS};
use crate::codec::trellis::code_set::{PinnedCode, WindowCodes};
use crate::codec::trellis::integer_levels::IntegerLevels;
use crate::codec::trellis::tables::Trellis;
use crate::{Result, SimdLevel};

/// Weights decoded at a time: they take whole bytes of either plane at every rate.
pub const BLOCK: usize = 16;

/// A value for each lane.
pub type PerLane<T> = [T; BLOCK];

/// The constants of a code, for cells that begin at one bit of a byte.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct DecodePlan {
    /// For each lane four byte numbers within the cells of a block, least significant first: the
    /// first byte of the lane's cell and the one after it above two empty ones (0x80).
    pub cell_bytes: [[u8; 4]; BLOCK],
    /// Shifts that bring the lane's cell to the top.
    pub cell_up: PerLane<u32>,
    /// Shifts that bring the upper part of the lane's register to the bottom of the path's word.
    pub upper_down: PerLane<u32>,
    /// Shifts that bring the lower part there.
    pub lower_down: PerLane<u32>,
    /// The skew of the lane's axis: the factor of the upper part.
    pub skew: PerLane<u32>,
    /// The factor of the position.
    pub turn: PerLane<u32>,
    /// The code that all this is of, with its levels.
    pub trellis: &'static Trellis,
    /// Ones as long as the register's upper part.
    pub upper_mask: u32,
    /// Ones as long as its lower part.
    pub lower_mask: u32,
    /// Ones as long as an offset.
    pub offset_mask: u32,
    /// Shift of a product's top bits down to a position.
    pub spread_down: u32,
    /// Shift of a cell from the top down onto an offset.
    pub cell_down: u32,
    /// 2^(1−L) and 2^−L − 1: t of a phase.
    pub t_line: [f32; 2],
    /// Coefficients of the level (see [`Code::scaled_shape`]).
    pub shape: [f32; 3],
    /// The same for 32 lanes, where the code allows it.
    #[cfg(target_arch = "x86_64")]
    pub table: Option<super::vbmi::WordLookup>,
    /// And in bytes, where it allows that.
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
        let axis = |i: u32| code.axes[(i % group) as usize];
        let cell_bit = |i: u32| skipped + i * code.cell_bits();
        let points = (1u32 << code.phase_bits()) as f32;
        Self {
            cell_bytes: std::array::from_fn(|i| {
                let byte = (cell_bit(i as u32) / 8) as u8;
                [0x80, 0x80, byte + 1, byte]
            }),
            cell_up: lane(&|i| cell_bit(i) % 8),
            upper_down: lane(&|i| steps - 1 - i / group + code.run_bits),
            lower_down: lane(&|i| steps - 1 - i / group),
            skew: lane(&|i| axis(i).skew),
            turn: lane(&|i| axis(i).turn),
            trellis,
            upper_mask: ones(code.window - code.run_bits),
            lower_mask: ones(code.run_bits),
            offset_mask: ones(code.offset_bits),
            spread_down: 32 - code.offset_bits,
            cell_down: 32 - code.offset_bits - code.cell_bits(),
            t_line: [2.0 / points, 1.0 / points - 1.0],
            shape: code.scaled_shape(),
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

    /// Whether a level looks up bytes, and so reads path bytes in the order in which they are stored.
    pub fn reads_stored_order(&self, simd: SimdLevel) -> bool {
        match simd {
            #[cfg(target_arch = "x86_64")]
            SimdLevel::Avx2(_) => self.bytes.is_some(),
            _ => false,
        }
    }

    /// Its integer levels, which the caller knows that there are.
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

/// The plans of all rates of one window.
#[derive(Clone, Copy, Debug)]
pub struct DecodePlans(
    [Option<(&'static Trellis, &'static OfCode)>; *HALF_BITS.end() as usize + 1],
);

impl DecodePlans {
    /// The plans for streams of these rates, in half bits; 0 is passed over.
    pub fn new(codes: WindowCodes, rates: &[u8]) -> Result<Self> {
        static PLANS: [OfCode; PinnedCode::COUNT] =
            [const { [const { OnceLock::new() }; 8] }; PinnedCode::COUNT];
        let mut plans = [None; _];
        for &rate in rates {
            if rate == 0 || plans.get(usize::from(rate)).is_some_and(Option::is_some) {
                continue;
            }
            let code = codes.code(rate.into())?;
            plans[usize::from(rate)] = Some((code.trellis(), &PLANS[code.number()]));
        }
        Ok(Self(plans))
    }

    /// Whether any of the rates has integer levels.
    pub fn integer_levels(&self) -> bool {
        let mut rates = self.0.iter().flatten();
        rates.any(|(trellis, _)| trellis.integer.is_some())
    }

    /// Whether streams of `rate` half bits have integer levels.
    pub fn has_integer_levels(&self, rate: u8) -> bool {
        self.0[usize::from(rate)].is_some_and(|(trellis, _)| trellis.integer.is_some())
    }

    /// Whether a level reads path bytes in the stored order (see [`DecodePlan::reads_stored_order`]): all rates of a window are alike.
    pub fn reads_stored_order(&self, simd: SimdLevel) -> bool {
        let rate = self.0.iter().position(Option::is_some);
        rate.is_some_and(|rate| self.plan(rate as u8, 0).reads_stored_order(simd))
    }

    /// The plan of streams of `rate` half bits whose cells begin `skipped` bits into a byte.
    pub fn plan(&self, rate: u8, skipped: u32) -> &'static DecodePlan {
        let (trellis, plans) = self.0[usize::from(rate)].expect("the rate was announced");
        plans[skipped as usize].get_or_init(|| DecodePlan::new(trellis, skipped))
    }
}
