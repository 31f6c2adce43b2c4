//! Levels as 16-bit integers: straight lines, and the tails one by one.
//!
//! A product with activations of 16 bits does not need levels of 24. With [`PER_SIGMA`] integers a
//! standard deviation every level fits in 16 bits, products are added up in integers, exactly and so
//! in any order, and the curve of [`Code::level`](super::code::Code::level) may be replaced by
//! what vectors have instructions for: it is cut into [`SEGMENTS`] lines of equally many phases,
//!
//! ```text
//! level(phase) = base[segment] + slope[segment]·phase mod 2^16,   segment = ⌊phase / 2^(L−6)⌋
//! ```
//!
//! which are two lookups, one multiplication and one addition. The whole sum is modulo 2^16, and the
//! level itself fits, so no step of it needs more bits. Near its ends the Gaussian quantile is too
//! steep for that: the outermost phases on either side have a level each.
//!
//! The curve is odd, and so are its lines, to the bit. Where vectors look up bytes only, and sixteen of
//! them, half of the lines do, and each of them is two bytes ([`Planes`]): with `along`, the low bits of a
//! phase,
//!
//! ```text
//! level = slope·along + start·unit
//! ```
//!
//! is one multiply-add of bytes. So starts are multiples of `unit`, and the slope is the best for that
//! start. In the tail all have one slope, and each phase has a start of its own.
//!
//! What integer levels cost is worked out with them, as a mean square over all phases relative to that
//! of the levels: −57 dB and less at up to 4 bits a weight, −55 dB at 5 bits. Lines of words would be at
//! −65 dB, in half as many instructions again. Codes that would exceed [`MOST_ERROR`] have no integer
//! levels.

/// Integers a standard deviation: the outermost level of a code of 5 bits a weight still fits.
pub const PER_SIGMA: f32 = 7400.0;
/// Lines.
pub const SEGMENTS: usize = 64;
/// Phases at either end that [`IntegerLevels::tail`] has; those with lines among them are as the lines.
pub const TAIL: usize = 32;
/// The largest mean squared error, relative to the mean square of the levels, that is put up with:
/// −55 dB, what rounding weights to bfloat16 costs.
pub const MOST_ERROR: f64 = 3e-6;

/// What the lines of all codes with phases of some length have in common.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineFit {
    /// What a start is a multiple of.
    pub unit: u8,
    /// Ones where a phase has the bits that its slope is multiplied by: those of how far it is along its
    /// line, those of which of the tail's it is, and more where starts come nearer then.
    pub along: u8,
    /// Outermost phases without lines, a whole number of lines.
    pub tail: usize,
}

/// By the bits of a phase, from 7 on: of all units the one with the least error, at the code that has
/// most. With a longer phase, a line is longer than [`TAIL`].
const FITS: [LineFit; 5] = {
    const fn fit(unit: u8, along: u8, tail: usize) -> LineFit {
        LineFit { unit, along, tail }
    }
    [
        fit(35, 31, 16),
        fit(81, 31, 16),
        fit(81, 63, 16),
        fit(92, 63, 16),
        fit(80, 63, 32),
    ]
};

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
/// choose a line, and the lowest four or five one of the tail's phases, as many as its length has.
#[derive(Clone, Debug, Default)]
pub struct Planes {
    /// What all lines of such codes have in common.
    pub fit: LineFit,
    /// The slope of each line; where they are in the tail, that of the tail.
    pub slope: Plane,
    /// What the lines have where the low bits are zero.
    pub start: Plane,
    /// The start of each phase of the tail.
    pub tail: Plane,
}

impl Planes {
    /// The planes nearest to the levels from the middle on.
    fn new(fit: LineFit, upper: &[f64]) -> Option<Self> {
        let mut planes = Self {
            fit,
            ..Self::default()
        };
        let with_lines = upper.len() - fit.tail;
        let (lines, tail) = upper.split_at(with_lines);
        let length = 2 * upper.len() / SEGMENTS;
        let mut lines = lines.chunks(length).enumerate();
        let tail_slope = tail_slope(fit, with_lines, tail)?;
        for i in 0..SEGMENTS / 2 {
            let (slope, start) = match lines.next() {
                Some((i, levels)) => line(fit, fit.along(i * length), levels)?,
                None => (tail_slope, 0),
            };
            set(&mut planes.slope, i, slope);
            set(&mut planes.start, i, start);
        }
        for (i, level) in tail.iter().enumerate() {
            let rest = level - f64::from(tail_slope) * fit.along(with_lines + i);
            set(&mut planes.tail, i, fit.start(rest)?);
        }
        Some(planes)
    }

    /// The level of the phase that is this far above the middle of `points`.
    fn level(&self, above: usize, points: usize) -> i64 {
        let (length, tail) = (points / SEGMENTS, self.fit.tail);
        let line = above / length;
        let start = match above < points / 2 - tail {
            true => get(&self.start, line),
            false => get(&self.tail, above % tail),
        };
        let along = (above & usize::from(self.fit.along)) as i64;
        get(&self.slope, line) * along + start * i64::from(self.fit.unit)
    }
}

fn set(plane: &mut Plane, i: usize, byte: u8) {
    plane[i / 16][i % 16] = byte;
}

fn get(plane: &Plane, i: usize) -> i64 {
    plane[i / 16][i % 16].into()
}

impl IntegerLevels {
    /// The integer levels that stand for these, one a phase, if they are near enough.
    pub fn new(levels: &[f32]) -> Option<Self> {
        let points = levels.len();
        let fit = *FITS.get((points.checked_ilog2()? as usize).checked_sub(7)?)?;
        let exact: Vec<f64> = levels
            .iter()
            .map(|level| f64::from(*level) * f64::from(PER_SIGMA))
            .collect();
        if exact.iter().any(|level| level.abs() > f64::from(i16::MAX)) {
            return None;
        }
        let planes = Planes::new(fit, &exact[points / 2..])?;
        let mut made = Self {
            base: [0; SEGMENTS],
            slope: [0; SEGMENTS],
            tail: [0; 2 * TAIL],
            table: vec![0; points + 1],
            planes,
        };
        for above in 0..points / 2 {
            let level = made.planes.level(above, points);
            let level = i16::try_from(level).ok()?;
            let (phase, mirrored) = (points / 2 + above, points / 2 - 1 - above);
            made.table[phase] = level;
            made.table[mirrored] = -level;
            if above >= points / 2 - TAIL {
                made.tail[phase % (2 * TAIL)] = level;
                made.tail[mirrored % (2 * TAIL)] = -level;
            }
        }
        let length = points / SEGMENTS;
        for (segment, levels) in made.table[..points].chunks(length).enumerate() {
            // The last lines are in the tail, and are not asked for.
            let slope = levels[1].wrapping_sub(levels[0]);
            made.slope[segment] = slope;
            made.base[segment] =
                levels[0].wrapping_sub(slope.wrapping_mul((segment * length) as i16));
        }
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
        let made_levels = made.table.iter().map(|level| f64::from(*level));
        let error = square(&mut exact.iter().zip(made_levels).map(|(a, b)| a - b));
        (error <= MOST_ERROR * square(&mut exact.iter().copied())).then_some(made)
    }
}

impl LineFit {
    /// What the slope of the phase that is this far above the middle is multiplied by.
    fn along(self, above: usize) -> f64 {
        (above & usize::from(self.along)) as f64
    }

    /// What of a level is left to its start, in units, if that is a byte.
    fn start(self, rest: f64) -> Option<u8> {
        let start = (rest / f64::from(self.unit)).round();
        (0.0..256.0).contains(&start).then_some(start as u8)
    }
}

/// The slope and the start of the line that is nearest to the levels of consecutive phases, whose slope is
/// multiplied by `first` at the first of them.
fn line(fit: LineFit, first: f64, levels: &[f64]) -> Option<(u8, u8)> {
    let count = levels.len() as f64;
    let mean = levels.iter().sum::<f64>() / count;
    let middle = (count - 1.0) / 2.0;
    let (mut product, mut square) = (0.0, 0.0);
    for (i, level) in levels.iter().enumerate() {
        product += (i as f64 - middle) * (level - mean);
        square += (i as f64 - middle) * (i as f64 - middle);
    }
    let best = product / square;
    let lines = (0..=u8::MAX).filter_map(|slope| {
        let in_the_middle = f64::from(slope) * (first + middle);
        let start = fit.start(mean - in_the_middle)?;
        let miss = f64::from(start) * f64::from(fit.unit) + in_the_middle - mean;
        let turn = f64::from(slope) - best;
        Some((count * miss * miss + square * turn * turn, (slope, start)))
    });
    let nearest = lines.min_by(|a, b| a.0.total_cmp(&b.0));
    nearest.map(|(_, line)| line)
}

/// The slope that brings the levels of the tail, which begins so far above the middle, nearest to
/// multiples of the unit.
fn tail_slope(fit: LineFit, first: usize, tail: &[f64]) -> Option<u8> {
    let slopes = (0..=u8::MAX).filter_map(|slope| {
        let errors = tail.iter().enumerate().map(|(i, level)| {
            let along = f64::from(slope) * fit.along(first + i);
            let start = fit.start(level - along)?;
            let made = along + f64::from(start) * f64::from(fit.unit);
            Some((made - level).powi(2))
        });
        Some((errors.sum::<Option<f64>>()?, slope))
    });
    let nearest = slopes.min_by(|a, b| a.0.total_cmp(&b.0));
    nearest.map(|(_, slope)| slope)
}
