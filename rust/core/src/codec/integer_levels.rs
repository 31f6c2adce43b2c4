//! Levels as 16-bit integers: straight lines, and the tails one by one.
//!
//! A product with activations of 16 bits does not need levels of 24. With [`PER_SIGMA`] integers a
//! standard deviation every level fits in 16 bits, products are added up in integers, exactly and so
//! in any order, and the curve of [`Code::level`](super::trellis::Code::level) may be replaced by
//! what vectors have instructions for: it is cut into [`SEGMENTS`] lines of equally many phases,
//!
//! ```text
//! level(phase) = base[segment] + slope[segment]·phase mod 2^16,   segment = ⌊phase / 2^(L−6)⌋
//! ```
//!
//! which are two lookups, one multiplication and one addition. The whole sum is modulo 2^16, and the
//! level itself fits, so no step of it needs more bits. Near its ends the Gaussian quantile is too
//! steep for that: the [`TAIL`] outermost phases on either side have a table of their own, which the
//! low six bits of the phase are enough for.
//!
//! The curve is odd, and so are its lines, to the bit: where vectors look up bytes only, and sixteen
//! of them, half of the lines do ([`Planes`]).
//!
//! Each line is the least-squares one of its segment, rounded to integers. What that costs is worked
//! out with it, as a mean square over all phases relative to that of the levels: −63 dB and less for
//! phases of at most 11 bits (5 bits a weight, at windows up to 10). Codes that would exceed
//! [`MOST_ERROR`] have no integer levels.

/// Integers a standard deviation: the outermost level of a code of 6 bits a weight still fits.
pub const PER_SIGMA: f32 = 6000.0;
/// Lines.
pub const SEGMENTS: usize = 64;
/// Phases at either end that have no line.
pub const TAIL: usize = 32;
/// The largest mean squared error, relative to the mean square of the levels, that is put up with:
/// −60 dB, a quarter of what rounding weights to bfloat16 costs.
pub const MOST_ERROR: f64 = 1e-6;

/// The integer levels of a code.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct IntegerLevels {
    /// The level that the line of each segment has at phase 0, modulo 2^16.
    pub base: [i16; SEGMENTS],
    /// What it rises by from phase to phase.
    pub slope: [i16; SEGMENTS],
    /// The levels of the first and the last phases, by the low bits of the phase.
    pub tail: [i16; 2 * TAIL],
    /// The level of every phase, and one entry more, so that two of them can be read at once.
    pub table: Vec<i16>,
    /// The upper half in bytes.
    pub planes: Planes,
}

/// A byte for each of 32 lines, or phases.
pub type Plane = [[u8; 16]; 2];

/// What the phases above the middle have, by bytes: of how far they are above it, the upper five bits
/// choose a line, and the lower ones, how far the phase is along it. The tail is chosen by the lowest
/// five bits, and its lines are zero.
#[derive(Clone, Debug, Default)]
pub struct Planes {
    /// What a line rises by from phase to phase.
    pub slope: Plane,
    /// The level of a line's first phase, the lower and the upper byte.
    pub base: [Plane; 2],
    /// The levels of the tail.
    pub tail: [Plane; 2],
}

impl Planes {
    /// The planes of `upper`, the levels from the middle on, whose lines have these slopes, below 256
    /// before the tail.
    fn new(upper: &[i16], slope: &[i16]) -> Self {
        let mut planes = Self::default();
        let length = upper.len() / slope.len();
        let tail = &upper[upper.len() - TAIL..];
        for i in 0..slope.len() {
            let (half, place) = (i / 16, i % 16);
            for byte in 0..2 {
                planes.tail[byte][half][place] = tail[i].to_le_bytes()[byte];
            }
            if i * length < upper.len() - TAIL {
                planes.slope[half][place] = slope[i] as u8;
                for byte in 0..2 {
                    planes.base[byte][half][place] = upper[i * length].to_le_bytes()[byte];
                }
            }
        }
        planes
    }
}

impl IntegerLevels {
    /// The integer levels that stand for these, one a phase, if they are near enough.
    pub fn new(levels: &[f32]) -> Option<Self> {
        let points = levels.len();
        if points < 2 * SEGMENTS {
            return None;
        }
        let exact: Vec<f64> = levels
            .iter()
            .map(|level| f64::from(*level) * f64::from(PER_SIGMA))
            .collect();
        if exact.iter().any(|level| level.abs() > f64::from(i16::MAX)) {
            return None;
        }
        let mut made = Self {
            base: [0; SEGMENTS],
            slope: [0; SEGMENTS],
            tail: [0; 2 * TAIL],
            table: vec![0; points + 1],
            planes: Planes::default(),
        };
        let (length, last) = (points / SEGMENTS, points as i64 - 1);
        for (segment, levels) in exact.chunks_exact(length).enumerate().skip(SEGMENTS / 2) {
            let [base, slope] = line(segment * length, levels);
            let in_tail = segment * length >= points - TAIL;
            if !in_tail && !(0..256).contains(&slope) {
                return None;
            }
            made.base[segment] = base as i16;
            made.slope[segment] = slope as i16;
            // Minus the level of the phase that is as far from the other end.
            let mirrored = SEGMENTS - 1 - segment;
            made.base[mirrored] = (-(base + slope * last)) as i16;
            made.slope[mirrored] = slope as i16;
        }
        for (phase, level) in exact.iter().enumerate().skip(points - TAIL) {
            let level = level.round() as i16;
            made.tail[phase % (2 * TAIL)] = level;
            made.tail[points - 1 - phase] = -level;
        }
        for phase in 0..points {
            made.table[phase] = made.level(phase, points);
        }
        let upper = &made.table[points / 2..points];
        made.planes = Planes::new(upper, &made.slope[SEGMENTS / 2..]);
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
        let made_levels = made.table.iter().map(|level| f64::from(*level));
        let error = square(&mut exact.iter().zip(made_levels).map(|(a, b)| a - b));
        (error <= MOST_ERROR * square(&mut exact.iter().copied())).then_some(made)
    }

    /// The level of one of `points` phases.
    fn level(&self, phase: usize, points: usize) -> i16 {
        if phase.wrapping_sub(TAIL) < points - 2 * TAIL {
            let segment = phase / (points / SEGMENTS);
            self.base[segment].wrapping_add(self.slope[segment].wrapping_mul(phase as i16))
        } else {
            self.tail[phase % (2 * TAIL)]
        }
    }
}

/// The least-squares line through levels at consecutive phases from `first` on, in integers: what it
/// has at phase 0, modulo 2^16 at the least, and its slope.
fn line(first: usize, levels: &[f64]) -> [i64; 2] {
    let count = levels.len() as f64;
    let mean = levels.iter().sum::<f64>() / count;
    let middle = (count - 1.0) / 2.0;
    let (mut product, mut square) = (0.0, 0.0);
    for (i, level) in levels.iter().enumerate() {
        product += (i as f64 - middle) * (level - mean);
        square += (i as f64 - middle) * (i as f64 - middle);
    }
    let slope = (product / square).round();
    let base = (mean - slope * (first as f64 + middle)).round();
    [base as i64, slope as i64]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::constants::CODES;
    use crate::codec::trellis::Trellis;

    /// The error of a code's integer levels in decibels.
    fn error_db(trellis: &Trellis, integer: &IntegerLevels) -> f64 {
        let (mut error, mut signal) = (0.0, 0.0);
        for (level, integer) in trellis.levels.iter().zip(&integer.table) {
            let (level, integer) = (f64::from(*level), f64::from(*integer));
            error += (integer / f64::from(PER_SIGMA) - level).powi(2);
            signal += level * level;
        }
        10.0 * (error / signal).log10()
    }

    #[test]
    fn codes_of_up_to_eleven_bits_of_phase_have_integer_levels() {
        for code in CODES {
            let trellis = Trellis::pinned(code.half_bits, code.window).unwrap();
            match &trellis.integer {
                Some(integer) => {
                    let error = error_db(trellis, integer);
                    assert!(error < -60.0, "{code:?}: {error}");
                    assert!(code.phase_bits() > 11 || error < -62.0, "{code:?}: {error}");
                }
                None => assert!(code.phase_bits() > 11, "{code:?}"),
            }
        }
    }

    #[test]
    fn integer_levels_fit_and_nearly_rise() {
        for code in CODES {
            let trellis = Trellis::pinned(code.half_bits, code.window).unwrap();
            let Some(integer) = &trellis.integer else {
                continue;
            };
            let table = &integer.table[..trellis.levels.len()];
            // A sum modulo 2^16 that did not fit would be off by all of that.
            for (level, integer) in trellis.levels.iter().zip(table) {
                let miss = f32::from(*integer) - level * PER_SIGMA;
                assert!(miss.abs() < 200.0, "{code:?}: {level} {integer}");
            }
        }
    }

    #[test]
    fn planes_have_the_levels_of_the_table_and_the_curve_is_odd() {
        for code in CODES {
            let trellis = Trellis::pinned(code.half_bits, code.window).unwrap();
            let Some(integer) = &trellis.integer else {
                continue;
            };
            let points = trellis.levels.len();
            let planes = &integer.planes;
            for above in 0..points / 2 {
                let length = points / SEGMENTS;
                let at = |plane: &Plane, i: usize| plane[i / 16][i % 16];
                let word =
                    |planes: &[Plane; 2], i| i16::from_le_bytes([0, 1].map(|b| at(&planes[b], i)));
                let line = above / length;
                let rise = i16::from(at(&planes.slope, line)) * (above % length) as i16;
                let level = match above < points / 2 - TAIL {
                    true => word(&planes.base, line) + rise,
                    false => word(&planes.tail, above % TAIL),
                };
                assert_eq!(level, integer.table[points / 2 + above], "{code:?}");
                assert_eq!(-level, integer.table[points / 2 - 1 - above], "{code:?}");
            }
        }
    }

    #[test]
    fn levels_that_do_not_fit_are_refused() {
        let steep: Vec<f32> = (0..1024).map(|i| (i - 512) as f32 / 80.0).collect();
        assert!(IntegerLevels::new(&steep).is_none());
        let jagged: Vec<f32> = (0..1024).map(|i| (i % 2) as f32).collect();
        assert!(IntegerLevels::new(&jagged).is_none());
    }
}
