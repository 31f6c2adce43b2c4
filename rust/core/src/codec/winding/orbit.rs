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
//! Write θ = Σ t_j·m^j in base m. Then x_{K−1} = m^(K−1)·t_0 depends on one digit alone,
//! x_{K−2} = m^(K−2)·t_0 + m^(K−1)·t_1 on two, and so on: once the digits below are chosen, each
//! coordinate runs over an arithmetic progression of step m^(K−1), whatever the coordinate.
//! (θ < U only cuts the progressions short.) Index 0 is one more point, the centre of the cube;
//! index θ + 1 is sample θ.
//!
//! # Why the search is exact
//! It chooses digits from t_0 up, that is coordinates from the last down to the first, and on each
//! coordinate takes the progression's members in order of distance (the enumeration of Schnorr and
//! Euchner, 1994). The sum of the squares so far bounds from below the distance of every sample
//! that shares these digits, and grows along the progression on either side of the sought point;
//! hence when it exceeds the best distance known, neither the deeper digits nor the further members
//! can hold anything nearer, and both are left out. Nothing else is.
//!
//! This holds for the distances as computed, with no margin for rounding: the sum is built up in
//! the order of the search, and rounded subtraction, squaring and addition of a non-negative term
//! are all monotone. So the result is the index a scan of all U + 1 computed distances finds, the
//! lowest index where several are equal, which the search keeps by going on at equality.
//!
//! # Cost
//! The steps of the progressions are equal and shifted by 1/m per digit: a nearly cubic lattice, so
//! two or three members on each coordinate but the first come within reach, and one on the first,
//! where the nearest is found by rounding. That is O(3^(K−1)) whatever U is, without a table. Near
//! a cut progression's end (U < m^K) it can be more, at most m members.

/// The samples of the winding for groups of K.
#[derive(Clone, Debug)]
pub struct Orbit<const K: usize> {
    axes: [Axis; K],
    /// m^(K−1), and a value within rounding of its inverse.
    step: f64,
    per_step: f64,
    /// m^K / 2.
    half: f64,
}

/// Coordinate i.
#[derive(Clone, Copy, Debug)]
struct Axis {
    /// m^i.
    scale: u32,
    /// m^(K−i).
    modulus: u32,
    /// m^(K−1−i), the weight of the digit that this coordinate adds.
    place: u32,
    /// m, ⌊(U − 1) / place⌋ and (U − 1) mod place.
    base: u32,
    whole: u32,
    rest: u32,
}

impl Axis {
    /// How many digits 0, 1, … can follow the digits of `low` < `place` with θ < U.
    #[inline]
    fn digits(&self, low: u32) -> u32 {
        (self.whole + u32::from(low <= self.rest)).min(self.base)
    }
}

/// The nearest sample found so far.
#[derive(Clone, Copy)]
struct Best {
    distance: f64,
    index: u32,
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

impl<const K: usize> Orbit<K> {
    /// The orbit of `samples` points, within [`SAMPLES`](super::params::SAMPLES).
    pub fn new(samples: u32) -> Self {
        let m = base(samples, K as u32);
        let axis = |i: usize| {
            let place = m.pow((K - 1 - i) as u32);
            Axis {
                scale: m.pow(i as u32),
                modulus: m.pow((K - i) as u32),
                place,
                base: m,
                whole: (samples - 1) / place,
                rest: (samples - 1) % place,
            }
        };
        let step = f64::from(m.pow(K as u32 - 1));
        Self {
            axes: std::array::from_fn(axis),
            step,
            per_step: 1.0 / step,
            half: 0.5 * f64::from(m.pow(K as u32)),
        }
    }

    /// m^K / 2, half the side of the cube, which is the centre's every coordinate.
    pub fn half(&self) -> f64 {
        self.half
    }

    /// The sample point with this index: 0 is the centre, θ + 1 is sample θ.
    #[inline]
    pub fn point(&self, index: u32) -> [f64; K] {
        match index.checked_sub(1) {
            None => [self.half; K],
            Some(theta) => self
                .axes
                .map(|axis| f64::from(theta % axis.modulus * axis.scale)),
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
        let centre = Best { distance, index: 0 };
        self.descend(K - 1, 0, 0.0, sought, centre).index
    }

    /// The better of `best` and every sample whose lowest digits are those of `low`; `above` is the
    /// sum of the squares over the coordinates after `axis`.
    #[inline]
    fn descend(&self, axis: usize, low: u32, above: f64, sought: &[f64; K], best: Best) -> Best {
        if axis == 0 {
            self.round(low, above, sought, best)
        } else {
            self.branch(axis, low, above, sought, best)
        }
    }

    /// Every member of the progression on `axis` that may lead to a sample as near as the best. The
    /// two members around the sought point come first, both, and in no order: to skip one would be
    /// a jump that no processor can predict.
    fn branch(&self, axis: usize, low: u32, above: f64, sought: &[f64; K], best: Best) -> Best {
        let line = self.line(axis, low, above, sought);
        let mut best = best;
        let enter = |digit: i32, distance: f64, best: Best| {
            let theta = low + digit as u32 * self.axes[axis].place;
            self.descend(axis - 1, theta, distance, sought, best)
        };
        let (mut left, mut right) = (line.right - 1, line.right);
        if left >= 0 {
            best = enter(left, line.distance(left), best);
        }
        if right < line.digits {
            best = enter(right, line.distance(right), best);
        }
        loop {
            left -= 1;
            let distance = line.distance(left);
            if left < 0 || distance > best.distance {
                break;
            }
            best = enter(left, distance, best);
        }
        loop {
            right += 1;
            let distance = line.distance(right);
            if right >= line.digits || distance > best.distance {
                return best;
            }
            best = enter(right, distance, best);
        }
    }

    /// The nearest member of the progression on the first coordinate, which is a sample.
    #[inline]
    fn round(&self, low: u32, above: f64, sought: &[f64; K], best: Best) -> Best {
        let line = self.line(0, low, above, sought);
        // There is a digit 0, so one of the two is a member.
        let right = line.right.min(line.digits - 1);
        let left = (line.right - 1).max(0);
        let (to_left, to_right) = (line.distance(left), line.distance(right));
        let digit = if to_left <= to_right { left } else { right };
        best.or(Best {
            distance: to_left.min(to_right),
            index: low + digit as u32 * self.axes[0].place + 1,
        })
    }

    #[inline]
    fn line(&self, axis: usize, low: u32, above: f64, sought: &[f64; K]) -> Line {
        let digits = self.axes[axis].digits(low);
        let at = sought[axis] - f64::from(low * self.axes[axis].scale);
        // The cast truncates. An error of rounding moves the border between the sides by less than
        // a step, and the distances still grow along each of them.
        let right = (at * self.per_step + 1.0).clamp(0.0, f64::from(digits)) as i32;
        Line {
            at,
            step: self.step,
            above,
            digits: digits as i32,
            right,
        }
    }
}

/// The arithmetic progression that a coordinate runs over once the digits below are chosen.
struct Line {
    /// The sought coordinate as seen from digit 0.
    at: f64,
    step: f64,
    /// The sum of the squares over the coordinates after this one.
    above: f64,
    digits: i32,
    /// The first digit to the right of the sought coordinate, 0 to `digits`.
    right: i32,
}

impl Line {
    #[inline]
    fn distance(&self, digit: i32) -> f64 {
        let gap = self.at - f64::from(digit) * self.step;
        self.above + gap * gap
    }
}

impl Best {
    /// The nearer of two, at equality the one with the lower index.
    #[inline]
    fn or(self, other: Self) -> Self {
        let nearer = other.distance < self.distance;
        let first = other.distance == self.distance && other.index < self.index;
        Self {
            distance: other.distance.min(self.distance),
            index: if nearer | first {
                other.index
            } else {
                self.index
            },
        }
    }
}

#[cfg(test)]
#[path = "orbit_tests.rs"]
mod tests;
