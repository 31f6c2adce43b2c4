//! The sample points of the winding and the exact search for the nearest one.
//!
//! # The points
//! Lengths are in units of l/m^K, m = ⌈U^(1/K)⌉, from the cube's lowest corner, so the cube is
//! [0, m^K]^K and every sample θ = 0..U−1 is a point of integers,
//!
//! ```text
//! x_i(θ) = θ·m^i mod m^K = m^i·(θ mod m^(K−i)),   i = 0..K−1.
//! ```
//!
//! Write θ = Σ t_j·m^j in base m. Then x_{K−1} = m^(K−1)·t_0 depends on one digit alone, x_{K−2} =
//! m^(K−2)·t_0 + m^(K−1)·t_1 on two, and so on: once the lower digits are chosen, each coordinate runs
//! over an arithmetic progression of step m^(K−1), which is the same for all coordinates. (The
//! condition θ < U shortens the progressions.) Index 0 is one more point, the centre of the cube; index
//! θ + 1 is sample θ.
//!
//! # Why the search is exact
//! It chooses digits from t_0 up, that is coordinates from the last down to the first. It runs through
//! each coordinate's progression from the sought point outwards, to either side (after Schnorr and
//! Euchner's enumeration of lattice points, 1994). The sum of squares so far is a lower bound on the
//! distance of every sample with these digits, and it grows along the progression on each side. Where
//! it exceeds the best known distance, neither further digits nor further members of the progression
//! can give a nearer sample, so both are skipped. Nothing else is skipped.
//!
//! This holds for the computed distances, without a margin for rounding: the sum is accumulated in the
//! order of the search, and rounded subtraction, squaring and addition of a non-negative term are all
//! monotone. So the result is the index that a scan of all U + 1 computed distances would find. Among
//! equal distances it is the lowest index, because the search continues at equality.
//!
//! # Cost
//! The progressions all have the same step and are shifted by 1/m of it per digit: a nearly cubic
//! lattice, where the two members around the sought coordinate nearly always suffice. That is O(2^K)
//! for any U, without a table; near the end of a cut progression (U < m^K) up to O(m^(K−1)), m =
//! ⌈U^(1/K)⌉.

/// The samples of the winding for groups of K.
///
/// Digits, indices and coordinates are integers below 2²⁵ and are held as `f64`: exact, and free of
/// conversions, which would take half of the search's time.
#[derive(Clone, Debug)]
pub struct Orbit<const K: usize> {
    axes: [OrbitAxis; K],
    /// m.
    base: u32,
    /// m^(K−1), and a value within rounding of its inverse.
    step: f64,
    per_step: f64,
    /// m^K / 2.
    half: f64,
}

/// Coordinate i.
#[derive(Clone, Copy, Debug)]
struct OrbitAxis {
    /// m^i.
    scale: f64,
    /// m^(K−i), and a value within rounding of its inverse.
    modulus: f64,
    per_modulus: f64,
    /// m^(K−1−i), the weight of the digit that this coordinate adds.
    place: f64,
    /// The last digit that can follow lower digits up to `rest` with θ < U, and those above it.
    last: f64,
    last_above: f64,
    rest: f64,
}

/// A sample and its squared distance, ordered by distance and then by index.
///
/// The bits of floats that are not negative are ordered as the floats are, so distance and index
/// together are one integer, and the lesser of two candidates is found without a branch. A branch on
/// which of two samples is nearer would be unpredictable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate(u128);

impl Candidate {
    #[inline]
    fn new(distance: f64, index: f64) -> Self {
        Self(u128::from(distance.to_bits()) << 64 | u128::from(index.to_bits()))
    }

    #[inline]
    fn distance(self) -> f64 {
        f64::from_bits((self.0 >> 64) as u64)
    }

    #[inline]
    fn index(self) -> f64 {
        f64::from_bits(self.0 as u64)
    }
}

/// m = ⌈samples^(1/k)⌉, in integers.
fn base(samples: u32, k: u32) -> u32 {
    let reaches = |m: u32| u64::from(m).pow(k) >= u64::from(samples);
    let mut m = f64::from(samples).powf(1.0 / f64::from(k)) as u32;
    while !reaches(m) {
        m += 1;
    }
    while m > 1 && reaches(m - 1) {
        m -= 1;
    }
    m
}

/// ⌊x⌋ for |x| < 2⁵⁰; of an integer, itself or the integer below. The library's `floor` is a call
/// on x86-64 before SSE 4.1; adding 1.5·2⁵² rounds to an integer everywhere.
#[inline]
fn floor(x: f64) -> f64 {
    const INTEGERS: f64 = 6_755_399_441_055_744.0;
    (x - 0.5 + INTEGERS) - INTEGERS
}

/// The lesser of two numbers: `f64::min` without its handling of NaN, which would double the cost.
#[inline]
fn lesser(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

impl OrbitAxis {
    /// Coordinate i of K for U = `samples` and base m.
    fn new(i: usize, k: usize, m: u32, samples: u32) -> Self {
        let place = m.pow((k - 1 - i) as u32);
        let (whole, rest) = ((samples - 1) / place, (samples - 1) % place);
        let modulus = f64::from(place * m);
        Self {
            scale: f64::from(m.pow(i as u32)),
            modulus,
            per_modulus: 1.0 / modulus,
            place: place.into(),
            last: whole.min(m - 1).into(),
            // −1 if no digit can follow; such a coordinate is never searched.
            last_above: f64::from(whole.min(m)) - 1.0,
            rest: rest.into(),
        }
    }

    /// x_i(θ) = m^i·(θ mod m^(K−i)).
    #[inline]
    fn coordinate(&self, theta: f64) -> f64 {
        // (θ + ½)/modulus is 2⁻²⁵ or more away from an integer, so its rounding is harmless.
        let turns = floor((theta + 0.5) * self.per_modulus);
        (theta - turns * self.modulus) * self.scale
    }
}

impl<const K: usize> Orbit<K> {
    /// The orbit of `samples` points, within [`SAMPLES`](super::params::SAMPLES).
    pub fn new(samples: u32) -> Self {
        let m = base(samples, K as u32);
        let step = f64::from(m.pow(K as u32 - 1));
        Self {
            axes: std::array::from_fn(|i| OrbitAxis::new(i, K, m, samples)),
            base: m,
            step,
            per_step: 1.0 / step,
            half: 0.5 * f64::from(m.pow(K as u32)),
        }
    }

    /// m^K / 2, half the side of the cube, which is the centre's every coordinate.
    pub fn half(&self) -> f64 {
        self.half
    }

    /// m.
    pub fn base(&self) -> u32 {
        self.base
    }

    /// The sample point with this index: 0 is the centre, θ + 1 is sample θ.
    #[inline]
    pub fn point(&self, index: u32) -> [f64; K] {
        match index.checked_sub(1) {
            None => [self.half; K],
            Some(theta) => self.axes.map(|axis| axis.coordinate(theta.into())),
        }
    }

    /// The index of the sample point nearest to `sought`, the lowest where several are. O(1).
    ///
    /// `sought` is in the cube or at most a few of its sides away, where the distances of different
    /// members of a progression cannot be rounded to the same value.
    #[inline]
    pub fn nearest(&self, sought: &[f64; K]) -> u32 {
        let distance = sought.iter().rev().fold(0.0, |sum, x| {
            let gap = x - self.half;
            sum + gap * gap
        });
        let centre = Candidate::new(distance, 0.0);
        // Dispatched at compile time, so that K = 2 is one loop without a call.
        let best = match K {
            1 => self.round(0.0, 0.0, sought, centre),
            2 => self.branch::<1>(0.0, 0.0, sought, centre),
            3 => self.branch::<2>(0.0, 0.0, sought, centre),
            _ => self.branch::<3>(0.0, 0.0, sought, centre),
        };
        best.index() as u32
    }

    /// The best of `best` and all samples whose lowest digits are those of `low`. `above` is the sum of
    /// squares over the coordinates after `AXIS`.
    ///
    /// Visits every member of the progression that may lead to a sample as near as the best. The two
    /// members around the sought point come first, always both and in a fixed order, because skipping
    /// one would be an unpredictable branch.
    #[inline]
    fn branch<const AXIS: usize>(
        &self,
        low: f64,
        above: f64,
        sought: &[f64; K],
        best: Candidate,
    ) -> Candidate {
        let line = self.line(AXIS, low, above, sought);
        let mut best = best;
        let enter = |digit: f64, distance: f64, best: Candidate| {
            let theta = low + digit * self.axes[AXIS].place;
            match AXIS {
                1 => self.round(theta, distance, sought, best),
                2 => self.branch::<1>(theta, distance, sought, best),
                _ => self.branch::<2>(theta, distance, sought, best),
            }
        };
        let (mut left, mut right) = (line.left, line.left + 1.0);
        if left >= 0.0 {
            best = enter(left, line.distance(left), best);
        }
        if right <= line.last {
            best = enter(right, line.distance(right), best);
        }
        loop {
            left -= 1.0;
            let distance = line.distance(left);
            if left < 0.0 || distance > best.distance() {
                break;
            }
            best = enter(left, distance, best);
        }
        loop {
            right += 1.0;
            let distance = line.distance(right);
            if right > line.last || distance > best.distance() {
                return best;
            }
            best = enter(right, distance, best);
        }
    }

    /// The nearest member of the progression on the first coordinate, which is a sample.
    #[inline]
    fn round(&self, low: f64, above: f64, sought: &[f64; K], best: Candidate) -> Candidate {
        let line = self.line(0, low, above, sought);
        // Digit 0 exists, so one of the two is a member.
        let offer = |digit: f64| {
            let theta = low + digit * self.axes[0].place;
            Candidate::new(line.distance(digit), theta + 1.0)
        };
        best.min(offer(line.left.max(0.0)))
            .min(offer(lesser(line.left + 1.0, line.last)))
    }

    #[inline]
    fn line(&self, axis: usize, low: f64, above: f64, sought: &[f64; K]) -> Line {
        let axis_of = &self.axes[axis];
        let at = sought[axis] - low * axis_of.scale;
        let last = if low <= axis_of.rest {
            axis_of.last
        } else {
            axis_of.last_above
        };
        Line {
            at,
            step: self.step,
            above,
            last,
            left: lesser(floor(at * self.per_step).max(-1.0), last),
        }
    }
}

/// The arithmetic progression that a coordinate runs over once the lower digits are chosen.
struct Line {
    /// The sought coordinate relative to digit 0.
    at: f64,
    step: f64,
    /// The sum of the squares over the coordinates after this one.
    above: f64,
    /// The last digit; the first is 0.
    last: f64,
    /// The last digit to the left of the sought coordinate, or −1. Rounding may move the border
    /// between the sides by less than a step, and the distances still grow along each of them.
    left: f64,
}

impl Line {
    #[inline]
    fn distance(&self, digit: f64) -> f64 {
        let gap = self.at - digit * self.step;
        self.above + gap * gap
    }
}

#[cfg(test)]
#[path = "orbit_tests.rs"]
mod tests;
