//! The vertices that were found, in lowest terms and in one order.
//!
//! A vertex is its homogeneous coordinates: d numerators and a positive denominator, each a two's
//! complement integer of the same number of 64-bit words, its least word first.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Signed, Zero};
use rayon::prelude::*;

use super::pages;

/// Append an integer in `limbs` words, which hold it.
pub fn push_integer(value: &BigInt, limbs: usize, out: &mut Vec<u64>) {
    let end = out.len() + limbs;
    out.extend(value.iter_u64_digits());
    out.resize(end, 0);
    if value.is_negative() {
        let mut carry = true;
        for word in &mut out[end - limbs..] {
            (*word, carry) = (!*word).overflowing_add(carry.into());
        }
    }
}

/// The integer in these words.
pub fn integer(words: &[u64]) -> BigInt {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    BigInt::from_signed_bytes_le(&bytes)
}

/// Numerators and denominators, as narrow as all of them allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// All fit into 64 bits.
    Small(Vec<i64>),
    /// Some do not.
    Big(Vec<BigInt>),
}

/// The vertices of an arrangement, sorted lexicographically by their coordinates.
///
/// Vertex v has `dimension` numerators and then its denominator, which is positive and has no
/// factor in common with all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertices {
    /// d.
    pub dimension: usize,
    /// d + 1 numbers for each vertex.
    pub coordinates: Coordinates,
    /// Number of cobases, where the search visited them.
    pub cobases: Option<u64>,
}

impl Vertices {
    /// Number of vertices.
    pub fn len(&self) -> usize {
        let numbers = match &self.coordinates {
            Coordinates::Small(x) => x.len(),
            Coordinates::Big(x) => x.len(),
        };
        numbers / (self.dimension + 1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Homogeneous coordinates in words, as a search finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Points {
    /// d.
    pub dimension: usize,
    /// Words of a coordinate.
    pub limbs: usize,
    /// d + 1 coordinates for each point.
    pub numbers: Vec<u64>,
}

impl Points {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.numbers.len() / self.stride()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    fn stride(&self) -> usize {
        (self.dimension + 1) * self.limbs
    }

    /// In lowest terms, sorted, and as narrow as all of them allow.
    pub fn vertices(mut self, cobases: Option<u64>) -> Vertices {
        self.reduce();
        self.sort();
        self.narrow();
        Vertices {
            dimension: self.dimension,
            coordinates: self.coordinates(),
            cobases,
        }
    }

    /// The coordinates as integers.
    pub fn coordinates(self) -> Coordinates {
        if self.limbs == 1 {
            Coordinates::Small(self.numbers.into_iter().map(|x| x as i64).collect())
        } else {
            Coordinates::Big(self.numbers.chunks_exact(self.limbs).map(integer).collect())
        }
    }

    /// Bring to lowest terms. Coordinates of one word are found so.
    pub fn reduce(&mut self) {
        let (limbs, stride) = (self.limbs, self.stride());
        if limbs == 1 {
            return;
        }
        self.numbers.par_chunks_exact_mut(stride).for_each(|point| {
            let numbers: Vec<BigInt> = point.chunks_exact(limbs).map(integer).collect();
            let mut divisor = BigInt::zero();
            for x in numbers.iter().rev() {
                if divisor == 1.into() {
                    return;
                }
                divisor = divisor.gcd(x);
            }
            if divisor == 1.into() {
                return;
            }
            let mut reduced = Vec::with_capacity(stride);
            for x in numbers {
                push_integer(&(x / &divisor), limbs, &mut reduced);
            }
            point.copy_from_slice(&reduced);
        });
    }

    /// Take words away that no coordinate needs.
    pub fn narrow(&mut self) {
        let limbs = self.limbs;
        let sign = |word: u64| ((word as i64) >> 63) as u64;
        let fits = |x: &[u64]| x[1..].iter().all(|word| *word == sign(x[0]));
        if limbs > 1 && self.numbers.par_chunks_exact(limbs).all(fits) {
            self.numbers = self.numbers.par_chunks_exact(limbs).map(|x| x[0]).collect();
            self.limbs = 1;
        }
    }

    /// Sort lexicographically by coordinates.
    pub fn sort(&mut self) {
        let stride = self.stride();
        let mut places: Vec<Place> = Vec::with_capacity(self.len());
        pages::advise(&places);
        places.extend((0..self.len() as u32).map(|at| (0, at)));
        let order = Order {
            dimension: self.dimension,
            limbs: self.limbs,
            numbers: &self.numbers,
        };
        order.sort(&mut places, 0);
        let mut sorted = vec![0; self.numbers.len()];
        pages::advise(&sorted);
        sorted
            .par_chunks_exact_mut(stride)
            .zip(&places)
            .with_min_len(1 << 12)
            .for_each(|(to, (_, at))| {
                let from = &self.numbers[*at as usize * stride..][..stride];
                // Word by word: a call of memcpy costs more than a few words do.
                for (to, from) in to.iter_mut().zip(from) {
                    *to = *from;
                }
            });
        self.numbers = sorted;
    }
}

/// A number that orders a point's coordinate nearly, and the point.
type Place = (u64, u32);

/// How near the double of a coordinate is, with room to spare: two conversions and a quotient, each
/// within 2⁻⁵³.
const NEAR: f64 = 1.0 / (1u64 << 48) as f64;

/// The order of points.
struct Order<'a> {
    dimension: usize,
    limbs: usize,
    numbers: &'a [u64],
}

impl Order<'_> {
    fn point(&self, at: u32) -> &[u64] {
        let stride = (self.dimension + 1) * self.limbs;
        &self.numbers[at as usize * stride..][..stride]
    }

    /// Sort by the coordinates from `first`; those before are equal.
    ///
    /// Doubles bring the coordinates into an order that is right but for near neighbours. Runs of
    /// those are looked at exactly: where all are equal the next coordinate decides.
    fn sort(&self, places: &mut [Place], first: usize) {
        if first == self.dimension {
            return;
        }
        for place in places.iter_mut() {
            place.0 = rising_bits(self.nearly(place.1, first));
        }
        sort_places(places);
        let mut start = 0;
        while start < places.len() {
            let mut end = start + 1;
            while end < places.len() && near(places[end - 1].0, places[end].0) {
                end += 1;
            }
            if end > start + 1 {
                self.settle(&mut places[start..end], first);
            }
            start = end;
        }
    }

    /// Sort a run of points whose coordinates are near each other.
    fn settle(&self, run: &mut [Place], first: usize) {
        let head = run[0].1;
        if run[1..]
            .iter()
            .all(|(_, at)| self.compare(head, *at, first).is_eq())
        {
            self.sort(run, first + 1);
        } else {
            run.sort_unstable_by(|(_, a), (_, b)| {
                (first..self.dimension)
                    .map(|c| self.compare(*a, *b, c))
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal)
            });
        }
    }

    /// Compare coordinate `c`.
    fn compare(&self, a: u32, b: u32, c: usize) -> Ordering {
        let (limbs, last) = (self.limbs, self.dimension);
        let (a, b) = (self.point(a), self.point(b));
        if limbs == 1 {
            let product = |x: u64, y: u64| i128::from(x as i64) * i128::from(y as i64);
            return product(a[c], b[last]).cmp(&product(b[c], a[last]));
        }
        let part = |point: &[u64], c: usize| integer(&point[c * limbs..][..limbs]);
        (part(a, c) * part(b, last)).cmp(&(part(b, c) * part(a, last)))
    }

    /// Coordinate `c` as a double.
    fn nearly(&self, at: u32, c: usize) -> f64 {
        let (point, limbs) = (self.point(at), self.limbs);
        if limbs == 1 {
            return point[c] as i64 as f64 / point[self.dimension] as i64 as f64;
        }
        let (numerator, shift) = scientific(&point[c * limbs..][..limbs]);
        let (denominator, down) = scientific(&point[self.dimension * limbs..]);
        // In two steps, as either power of two may be beyond a double's range though the whole is not.
        let shift = (shift - down).clamp(-2400, 2400);
        let half = f64::powi(2.0, shift / 2);
        numerator / denominator * half * f64::powi(2.0, shift - shift / 2)
    }
}

/// Below this many, comparing is quicker than counting.
const FEW: usize = 1 << 11;

/// Sort by the first number: by counting on the 33 highest bits, then, where those are equal, by
/// comparing.
fn sort_places(places: &mut [Place]) {
    const DIGIT: u32 = 11;
    if rayon::current_num_threads() > 1 {
        places.par_sort_unstable();
        return;
    }
    if places.len() < FEW {
        places.sort_unstable();
        return;
    }
    let mut other = vec![(0, 0); places.len()];
    pages::advise(&other);
    let (mut from, mut to) = (&mut *places, &mut other[..]);
    for shift in [64 - 3 * DIGIT, 64 - 2 * DIGIT, 64 - DIGIT] {
        let digit = |place: &Place| (place.0 >> shift) as usize & ((1 << DIGIT) - 1);
        let mut next = [0u32; 1 << DIGIT];
        from.iter().for_each(|place| next[digit(place)] += 1);
        let mut before = 0;
        for slot in &mut next {
            (*slot, before) = (before, before + *slot);
        }
        for place in from.iter() {
            let slot = &mut next[digit(place)];
            to[*slot as usize] = *place;
            *slot += 1;
        }
        std::mem::swap(&mut from, &mut to);
    }
    // After an odd number of rounds the result is in the second half.
    to.copy_from_slice(from);
    for run in places.chunk_by_mut(|a, b| a.0 >> (64 - 3 * DIGIT) == b.0 >> (64 - 3 * DIGIT)) {
        if run.len() > 1 {
            run.sort_unstable();
        }
    }
}

/// An integer as a double times a power of two.
fn scientific(words: &[u64]) -> (f64, i32) {
    let negative = words.last().is_some_and(|word| word >> 63 == 1);
    // −x − 1 is the complement of x; what is lost is less than what rounding loses, but at −1.
    let flip = if negative { u64::MAX } else { 0 };
    let top = words.iter().rposition(|word| word ^ flip != 0).unwrap_or(0);
    let below = |k: usize| top.checked_sub(k).map_or(0, |at| words[at] ^ flip);
    let high = u128::from(below(0)) << 64 | u128::from(below(1));
    // With nothing below two words the complement is exact after adding 1.
    let exact = if negative && top < 2 {
        1u128 << (64 * (1 - top))
    } else {
        0
    };
    let size = high.saturating_add(exact) as f64;
    let value = if negative { -size } else { size };
    (value, 64 * (top as i32 - 1))
}

/// Bits that order as the doubles do.
fn rising_bits(value: f64) -> u64 {
    // Adding 0 takes the sign off −0.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

/// Whether two doubles, given by their rising bits, may stand for equal coordinates.
fn near(a: u64, b: u64) -> bool {
    let double = |bits: u64| {
        f64::from_bits(if bits >> 63 == 1 {
            bits & !(1 << 63)
        } else {
            !bits
        })
    };
    let (a, b) = (double(a), double(b));
    a == b || (b - a) <= NEAR * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points(values: &[(i128, i128)], limbs: usize) -> Points {
        let mut numbers = Vec::new();
        for (x, y) in values {
            push_integer(&(*x).into(), limbs, &mut numbers);
            push_integer(&(*y).into(), limbs, &mut numbers);
        }
        Points {
            dimension: 1,
            limbs,
            numbers,
        }
    }

    proptest! {
        /// Numbers that doubles cannot tell apart, and numbers far apart.
        #[test]
        fn they_are_sorted_exactly(
            values in proptest::collection::vec((-3i128..4, 0u32..100, -2i128..3, 0u32..100, 1i128..3), 0..40),
        ) {
            let mut values: Vec<(i128, i128)> = values
                .into_iter()
                .map(|(a, up, b, down, c)| ((a << up) + b, (1 << down) + c))
                .collect();
            let mut found = points(&values, 3);
            found.sort();
            values.sort_by(|a, b| {
                (BigInt::from(a.0) * b.1).cmp(&(BigInt::from(b.0) * a.1))
            });
            let ratio = |x: &[u64]| {
                num_rational::Ratio::new(integer(&x[..3]), integer(&x[3..]))
            };
            let found: Vec<_> = found.numbers.chunks_exact(6).map(ratio).collect();
            let expected: Vec<_> = values
                .iter()
                .map(|(x, y)| num_rational::Ratio::new(BigInt::from(*x), BigInt::from(*y)))
                .collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn integers_survive_their_words(value: i128, limbs in 2usize..5) {
            let mut words = Vec::new();
            push_integer(&value.into(), limbs, &mut words);
            prop_assert_eq!(words.len(), limbs);
            prop_assert_eq!(integer(&words), value.into());
            let (near, shift) = scientific(&words);
            let near = near * f64::powi(2.0, shift);
            prop_assert!((near - value as f64).abs() <= 1e-15 * (value as f64).abs());
        }
    }
}
