//! The lexicographic order of points.
//!
//! Points are sorted by their coordinates as doubles. That order is correct except between near neighbours,
//! which are then compared as integers.
//!
//! Memory accesses take nearly all of the time, so there are only three passes. The first counts how the
//! first coordinates are distributed. The second moves each point into a bucket of a small range. The third
//! sorts each bucket within the cache. All threads of the present pool take part in the passes. They read
//! the points from the vectors in which the threads of the search have put them.

use std::cmp::Ordering;

use rayon::prelude::*;

use super::buckets::BUCKETS;
use super::point_order::PointOrder;
use crate::Result;

/// The number of points in a bucket. The second-level cache holds them with the memory for sorting.
pub const BUCKET: usize = 1 << 11;

/// A key that sorts a coordinate approximately, and the number of the point.
type Place = (u64, u32);

/// Points of at least this many words are sorted into buckets in place, if one thread has all of them. That
/// is faster than a copy in new memory, and does not need twice the memory.
const EXCHANGED_FROM: usize = 16;

/// Sort points lexicographically, in buckets of about `bucket` points. A point has d + 1 numbers of `limbs`
/// words each.
///
/// # Errors
/// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory).
pub fn sorted(
    mut parts: Vec<Vec<u64>>,
    dimension: usize,
    limbs: usize,
    bucket: usize,
) -> Result<Vec<u64>> {
    let stride = (dimension + 1) * limbs;
    let words = parts.iter().map(Vec::len).sum::<usize>();
    let count = words / stride;
    let order = PointOrder {
        dimension,
        limbs,
        numbers: &[],
    };
    let whole = parts.iter().position(|part| part.len() == words);
    let size = bucket.max(count / BUCKETS);
    let (mut numbers, sizes) = match whole {
        Some(at) if count <= bucket || dimension == 0 => (parts.swap_remove(at), vec![count]),
        None if count <= bucket || dimension == 0 => (parts.concat(), vec![count]),
        Some(at) if stride >= EXCHANGED_FROM && rayon::current_num_threads() == 1 => {
            let mut numbers = parts.swap_remove(at);
            let sizes = order.exchange(&mut numbers, size);
            (numbers, sizes)
        }
        _ => order.gather(&parts, size)?,
    };
    if count < 2 || dimension == 0 {
        return Ok(numbers);
    }
    drop(parts);
    let mut buckets = Vec::with_capacity(sizes.len());
    let mut rest = &mut numbers[..];
    for size in sizes {
        let (here, others) = rest.split_at_mut(size * stride);
        buckets.push(here);
        rest = others;
    }
    buckets
        .into_par_iter()
        .for_each_init(SortScratch::default, |scratch, bucket| {
            order.sort_bucket(bucket, scratch)
        });
    Ok(numbers)
}

/// Copy word by word: for a few words a call of `memcpy` takes longer.
#[inline(always)]
fn copy(from: &[u64], to: &mut [u64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

impl PointOrder<'_> {
    /// Sort the points of a bucket.
    fn sort_bucket(&self, bucket: &mut [u64], scratch: &mut SortScratch) {
        let stride = self.stride();
        let (mut points, mut places) = (
            std::mem::take(&mut scratch.points),
            std::mem::take(&mut scratch.places),
        );
        points.clear();
        points.extend_from_slice(bucket);
        let order = PointOrder {
            numbers: &points,
            ..*self
        };
        places.clear();
        places.extend((0..(bucket.len() / stride) as u32).map(|at| (0, at)));
        order.sort(&mut places, 0, scratch);
        for (to, (_, at)) in bucket.chunks_exact_mut(stride).zip(&places) {
            copy(order.point(*at), to);
        }
        (scratch.points, scratch.places) = (points, places);
    }
}

/// Memory for sorting a bucket.
#[derive(Default)]
struct SortScratch {
    points: Vec<u64>,
    places: Vec<Place>,
    other: Vec<Place>,
}

/// If two coordinates are equal, or if their doubles are in the wrong order, there are fewer than this many
/// doubles between the two. Each double has three rounding errors, of two conversions and a quotient. The
/// bound is generous.
const UNCERTAIN: u64 = 1 << 6;

impl PointOrder<'_> {
    /// Sort by the coordinates from `first` on. Those before are equal.
    ///
    /// The order by doubles is correct except between near neighbours. A run of near neighbours is compared
    /// exactly. If all are equal, the next coordinate decides.
    fn sort(&self, places: &mut [Place], first: usize, scratch: &mut SortScratch) {
        if first == self.dimension {
            return;
        }
        for place in places.iter_mut() {
            place.0 = rising_bits(self.approximate(place.1, first));
        }
        sort_places(places, &mut scratch.other);
        let mut start = 0;
        while start < places.len() {
            let mut end = start + 1;
            while end < places.len() && places[end].0 - places[end - 1].0 <= UNCERTAIN {
                end += 1;
            }
            if end > start + 1 {
                self.sort_run(&mut places[start..end], first, scratch);
            }
            start = end;
        }
    }

    /// Sort a run of points whose coordinates are near each other.
    fn sort_run(&self, run: &mut [Place], first: usize, scratch: &mut SortScratch) {
        let head = run[0].1;
        if run[1..]
            .iter()
            .all(|(_, at)| self.compare(head, *at, first).is_eq())
        {
            self.sort(run, first + 1, scratch);
        } else {
            run.sort_unstable_by(|(_, a), (_, b)| {
                (first..self.dimension)
                    .map(|c| self.compare(*a, *b, c))
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal)
            });
        }
    }
}

/// More points than this are sorted by counting. For fewer, insertion is faster.
const COUNTED_ABOVE: usize = 1 << 5;

/// The most slots in which points are counted.
const SLOTS: usize = 1 << 12;

/// Sort by the key: by counting in slots of equal width, repeatedly for slots with many points, and then by
/// insertion.
fn sort_places(places: &mut [Place], other: &mut Vec<Place>) {
    spread(places, other);
    for at in 1..places.len() {
        let place = places[at];
        let mut to = at;
        while to > 0 && places[to - 1].0 > place.0 {
            places[to] = places[to - 1];
            to -= 1;
        }
        places[to] = place;
    }
}

/// Bring each point near its place. Only groups of at most `COUNTED_ABOVE` points are left unsorted.
fn spread(places: &mut [Place], other: &mut Vec<Place>) {
    if places.len() <= COUNTED_ABOVE {
        return;
    }
    let (mut least, mut most) = (u64::MAX, 0);
    for place in places.iter() {
        least = least.min(place.0);
        most = most.max(place.0);
    }
    if least == most {
        return;
    }
    let slots = places.len().next_power_of_two().min(SLOTS);
    let width = (u64::BITS - (most - least).leading_zeros()).saturating_sub(slots.ilog2());
    let slot = |place: &Place| ((place.0 - least) >> width) as usize;
    let mut next = [0u32; SLOTS];
    let next = &mut next[..slots];
    other.clear();
    for place in places.iter() {
        next[slot(place)] += 1;
        other.push(*place);
    }
    let (mut before, mut largest) = (0, 0);
    for next in next.iter_mut() {
        largest = largest.max(*next);
        (*next, before) = (before, before + *next);
    }
    for place in other.iter() {
        let next = &mut next[slot(place)];
        places[*next as usize] = *place;
        *next += 1;
    }
    if largest as usize > COUNTED_ABOVE {
        let mut start = 0;
        for &end in next.iter() {
            spread(&mut places[start..end as usize], other);
            start = end as usize;
        }
    }
}

/// An integer for a double. The integers have the same order as the doubles.
fn rising_bits(value: f64) -> u64 {
    // Adding 0 turns −0 into 0.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;
    use num_rational::Ratio;
    use proptest::prelude::*;

    use super::*;
    use crate::arrangement::arithmetic::{integer, push_integer};

    fn words(values: &[i128], limbs: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        for x in values {
            push_integer(&(*x).into(), limbs, &mut numbers);
        }
        numbers
    }

    /// Rows of coordinates as fractions.
    fn fractions(numbers: &[u64], dimension: usize, limbs: usize) -> Vec<Vec<Ratio<BigInt>>> {
        let point = |words: &[u64]| {
            let parts: Vec<BigInt> = words.chunks_exact(limbs).map(integer).collect();
            let last = &parts[dimension];
            let ratios = parts[..dimension].iter();
            ratios
                .map(|x| Ratio::new(x.clone(), last.clone()))
                .collect()
        };
        numbers
            .chunks_exact((dimension + 1) * limbs)
            .map(point)
            .collect()
    }

    fn is_sorted_exactly(
        values: &[i128],
        dimension: usize,
        limbs: usize,
    ) -> std::result::Result<(), TestCaseError> {
        let numbers = words(values, limbs);
        let mut expected = fractions(&numbers, dimension, limbs);
        expected.sort();
        let stride = (dimension + 1) * limbs;
        // One bucket, and many.
        for bucket in [BUCKET, 3] {
            // In one part, and in parts of which one is empty; with one thread, and with several.
            let (head, tail) = numbers.split_at(numbers.len() / stride / 3 * stride);
            let parts = vec![head.to_vec(), Vec::new(), tail.to_vec()];
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let pool = pool.expect("threads");
                for parts in [vec![numbers.clone()], parts.clone()] {
                    let found = pool
                        .install(|| sorted(parts, dimension, limbs, bucket))
                        .unwrap();
                    prop_assert_eq!(&fractions(&found, dimension, limbs), &expected);
                }
            }
        }
        Ok(())
    }

    proptest! {
        /// Numbers that doubles cannot tell apart, and numbers far apart.
        #[test]
        fn they_are_sorted_exactly(
            values in proptest::collection::vec((-3i128..4, 0u32..100, -2i128..3, 0u32..100, 1i128..3), 0..40),
        ) {
            let values: Vec<i128> = values
                .into_iter()
                .flat_map(|(a, up, b, down, c)| [(a << up) + b, (1 << down) + c])
                .collect();
            is_sorted_exactly(&values, 1, 3)?;
        }

        /// Enough points for sorting by counting, many of them equal in some coordinates.
        #[test]
        fn many_are_sorted_exactly(
            values in proptest::collection::vec((-2i128..3, -999i128..1000, 0u32..40, 1i128..4), 0..400),
        ) {
            let values: Vec<i128> = values
                .into_iter()
                .flat_map(|(a, b, shift, c)| [a, b << shift, c])
                .collect();
            is_sorted_exactly(&values, 2, 1)?;
            is_sorted_exactly(&values, 2, 2)?;
            // Long enough to be sorted in place.
            is_sorted_exactly(&values, 2, EXCHANGED_FROM.div_ceil(3))?;
        }
    }
}
