//! Row scales: one for each stream, a few bits on a logarithmic grid.
//!
//! Scale number c of a grid (top, step) is 2^(top − c·2^step/64), c = 0..=254; number 255 marks a
//! stream of zeros. The search uses the scale of the grid, so rounding a scale costs only that the
//! levels, made for a variance of 1, meet a slightly different one: by up to 2.2 % either way, which is
//! 0.002 dB on average on the finest grid. (Steps of 1.1 % would take two more bits a row, which are
//! worth 0.003 dB at rows of 4096 weights and 0.03 dB at 384.) The codec chooses the finest grid that
//! spans the scales of the tensor's rows, so that tensors with very different rows still reach down to
//! 2^−127. Numbers are stored relative to the lowest that occurs, in as few bits as their range needs.
//! Every scale is the product of a tabled mantissa and a power of two, so it does not depend on a
//! platform's `exp2`.

use crate::codec::numbers::element::exp2i;
use crate::{Error, ErrorKind, Result};

/// The number of a stream whose weights are all zero.
pub const ZERO_ROW: u8 = 255;

/// The finest grid, of steps of a sixteenth octave, and the coarsest, of steps of half an octave.
const STEPS: std::ops::RangeInclusive<u8> = 2..=5;

/// 2^(−r/64) for r = 0..64, rounded to `f32`.
const MANTISSA: [u32; 64] = [
    0x3F800000, 0x3F7D3E0C, 0x3F7A83B3, 0x3F77D0DF, 0x3F75257D, 0x3F728177, 0x3F6FE4BA, 0x3F6D4F30,
    0x3F6AC0C7, 0x3F68396A, 0x3F65B907, 0x3F633F89, 0x3F60CCDF, 0x3F5E60F5, 0x3F5BFBB8, 0x3F599D16,
    0x3F5744FD, 0x3F54F35B, 0x3F52A81E, 0x3F506334, 0x3F4E248C, 0x3F4BEC15, 0x3F49B9BE, 0x3F478D75,
    0x3F45672A, 0x3F4346CD, 0x3F412C4D, 0x3F3F179A, 0x3F3D08A4, 0x3F3AFF5B, 0x3F38FBAF, 0x3F36FD92,
    0x3F3504F3, 0x3F3311C4, 0x3F3123F6, 0x3F2F3B79, 0x3F2D583F, 0x3F2B7A3A, 0x3F29A15B, 0x3F27CD94,
    0x3F25FED7, 0x3F243516, 0x3F227043, 0x3F20B051, 0x3F1EF532, 0x3F1D3EDA, 0x3F1B8D3A, 0x3F19E046,
    0x3F1837F0, 0x3F16942D, 0x3F14F4F0, 0x3F135A2B, 0x3F11C3D3, 0x3F1031DC, 0x3F0EA43A, 0x3F0D1ADF,
    0x3F0B95C2, 0x3F0A14D5, 0x3F08980F, 0x3F071F62, 0x3F05AAC3, 0x3F043A29, 0x3F02CD87, 0x3F0164D2,
];

/// A grid of row scales.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleGrid {
    top: i8,
    step: u8,
    /// The scales of numbers 0 to 254, in falling order.
    scales: Vec<f32>,
}

impl ScaleGrid {
    /// The finest grid that holds every scale from `smallest` to `largest` (both positive), and a
    /// sixteenth of an octave above, because scales are fitted again after the search.
    pub fn spanning(smallest: f64, largest: f64) -> Self {
        let mut top = -126;
        while top < 126 && Self::value(top, 4) < largest {
            top += 1;
        }
        let step = STEPS
            .clone()
            .find(|step| Self::value(top, 254 << step) <= smallest)
            .unwrap_or(*STEPS.end());
        Self::build(top as i8, step)
    }

    /// The grid with these stored numbers.
    pub fn from_parts(top: i8, step: u8) -> Result<Self> {
        if !STEPS.contains(&step) || !(-126..=126).contains(&top) {
            return Err(Error::new(
                ErrorKind::Format,
                format!(
                    "row scale grid (top {top}, step {step}): top is -126 to 126, step {} to {}",
                    STEPS.start(),
                    STEPS.end()
                ),
            ));
        }
        Ok(Self::build(top, step))
    }

    fn build(top: i8, step: u8) -> Self {
        let scales = (0..=254u32)
            .map(|c| Self::value(top.into(), c << step) as f32)
            .collect();
        Self { top, step, scales }
    }

    /// 2^(top − m/64); `f64`, so that the deepest scales are rounded once, to a subnormal `f32`.
    fn value(top: i32, m: u32) -> f64 {
        let mantissa = f32::from_bits(MANTISSA[m as usize % 64]);
        f64::from(mantissa) * exp2i(top - (m / 64) as i32)
    }

    /// The stored numbers (top, step).
    pub fn parts(&self) -> (i8, u8) {
        (self.top, self.step)
    }

    /// The scale with this number; 0 for [`ZERO_ROW`].
    pub fn scale(&self, number: u8) -> f32 {
        self.scales.get(usize::from(number)).copied().unwrap_or(0.0)
    }

    /// The number of the scale nearest to `wanted`.
    pub fn nearest(&self, wanted: f64) -> u8 {
        let below = self
            .scales
            .partition_point(|&s| f64::from(s) > wanted)
            .min(254);
        let above = below.saturating_sub(1);
        let distance = |number: usize| (f64::from(self.scales[number]) - wanted).abs();
        (if distance(above) < distance(below) {
            above
        } else {
            below
        }) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mantissas_are_the_roots_of_a_half() {
        for (r, bits) in MANTISSA.iter().enumerate() {
            let exact = (-(r as f64) / 64.0).exp2();
            assert!((f64::from(f32::from_bits(*bits)) - exact).abs() <= 3.0e-8);
        }
    }

    #[test]
    fn ordinary_tensors_get_the_finest_grid() {
        assert_eq!(ScaleGrid::spanning(1e-7, 1e-4).parts().1, *STEPS.start());
        assert_eq!(ScaleGrid::spanning(1e-30, 1e-4).parts().1, *STEPS.end());
    }

    proptest! {
        #[test]
        fn nearest_is_within_half_a_step(smallest in 1e-9f64..1e-4, ratio in 1.0f64..1e6, at in 0.0f64..1.0) {
            let grid = ScaleGrid::spanning(smallest, smallest * ratio);
            let wanted = smallest * ratio.powf(at);
            let got = f64::from(grid.scale(grid.nearest(wanted)));
            let step = f64::from(1u32 << grid.parts().1) / 64.0;
            // The arithmetic middle of two scales is nearer, in octaves, to the upper one.
            let farthest = ((1.0 + step.exp2()) / 2.0).log2() + 1e-6;
            prop_assert!((got / wanted).log2().abs() <= farthest, "{} for {}", got, wanted);
        }
    }
}
