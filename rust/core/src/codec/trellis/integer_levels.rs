//! Levels as 16-bit integers: straight lines in the middle, a table in the tails.
//!
//! A product with 16-bit activations does not need the 24-bit precision of float levels. With
//! [`PER_SIGMA`] integers to a standard deviation, every level fits in 16 bits. Products of integers
//! are summed exactly, so in any order. The curve of [`Code::level`](super::code::Code::level) is
//! replaced by [`SEGMENTS`] lines over equally many phases each:
//!
//! ```text
//! level(phase) = base[segment] + slope[segment]·phase mod 2^16,   segment = ⌊phase / 2^(L−6)⌋
//! ```
//!
//! A level costs two lookups, one multiplication and one addition. The sum is taken modulo 2^16, and
//! the level itself fits in 16 bits, so intermediate overflow does no harm. Near its ends the Gaussian
//! quantile function is too steep for lines: each of the outermost phases on either side has its own
//! level.
//!
//! The curve is an odd function, and the lines are odd to the bit. Vector units that only look up bytes
//! in tables of sixteen (AVX2) therefore need half of the lines, each as two bytes ([`Planes`]). With
//! `along`, the low bits of a phase,
//!
//! ```text
//! level = slope·along + start·unit
//! ```
//!
//! is one multiply-add of bytes. Starts are therefore multiples of `unit`, and each slope is the best
//! for its start. In the tail all phases share one slope, and each phase has its own start.
//!
//! The error of integer levels is computed with them: the mean square over all phases relative to that
//! of the levels. It is −57 dB or less up to 4 bits a weight and −55 dB at 5 bits. Lines in 16-bit
//! words would reach −65 dB and take 50 % more instructions. Codes whose error would exceed
//! [`MOST_ERROR`] have no integer levels.

/// Integers to a standard deviation; with this many, the outermost level of a code of 5 bits a weight
/// fits in 16 bits.
pub const PER_SIGMA: f32 = 7400.0;
/// Lines.
pub const SEGMENTS: usize = 64;
/// Number of phases at either end in [`IntegerLevels::tail`]. Those among them that have lines hold the
/// levels of the lines.
pub const TAIL: usize = 32;
/// The largest accepted mean squared error, relative to the mean square of the levels: −55 dB, as much
/// as rounding weights to bfloat16.
pub const MOST_ERROR: f64 = 3e-6;

/// Parameters of the lines, the same for all codes whose phases have the same number of bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineFit {
    /// Starts are multiples of this.
    pub unit: u8,
    /// Mask of the phase bits that are multiplied by the slope: the place along the line, the place in
    /// the tail, and further bits where they make the starts more exact.
    pub along: u8,
    /// Number of outermost phases without lines; a whole number of line lengths.
    pub tail: usize,
}

/// By number of bits of a phase, from 7 on: the unit that minimises the largest error of any code. With
/// longer phases, a line would be longer than [`TAIL`].
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
    /// The slope of each line: the difference of the levels of neighbouring phases.
    pub slope: [i16; SEGMENTS],
    /// The levels of the first and the last phases, by the low bits of the phase.
    pub tail: [i16; 2 * TAIL],
    /// The level of every phase, and one more entry, so that two levels can be read in one load.
    pub table: Vec<i16>,
    /// The lines of the upper half of the curve, in bytes.
    pub planes: Planes,
}

/// A byte for each of 32 lines or phases.
pub type Plane = [[u8; 16]; 2];

/// Lines of the phases above the middle, in bytes. The distance of a phase from the middle selects its
/// entries: the upper five bits select a line, the lowest four or five bits (as many as the tail's
/// length has) a phase of the tail.
#[derive(Clone, Debug, Default)]
pub struct Planes {
    /// Parameters that all lines share.
    pub fit: LineFit,
    /// The slope of each line; for lines within the tail, the slope of the tail.
    pub slope: Plane,
    /// The start of each line: its level, in units, where the low bits are zero.
    pub start: Plane,
    /// The start of each phase of the tail.
    pub tail: Plane,
}

impl Planes {
    /// Fit planes to the levels from the middle on; `None` if a value does not fit in a byte.
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
    /// Integer levels for these levels, one for each phase; `None` if they miss by more than
    /// [`MOST_ERROR`].
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
            // The last lines lie in the tail, so they are never looked up.
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
    /// The factor of the slope for the phase at this distance above the middle.
    fn along(self, above: usize) -> f64 {
        (above & usize::from(self.along)) as f64
    }

    /// The rest of a level in units, as a start; `None` if it does not fit in a byte.
    fn start(self, rest: f64) -> Option<u8> {
        let start = (rest / f64::from(self.unit)).round();
        (0.0..256.0).contains(&start).then_some(start as u8)
    }
}

/// The slope and the start of the line nearest to the levels of consecutive phases. The slope has the
/// factor `first` at the first of them.
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

/// The slope for which the levels of the tail are nearest to multiples of the unit. `first` is the
/// distance of the tail from the middle.
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
