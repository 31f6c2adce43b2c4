//! The vertices of a line from the values (α, β) of its rows: each pair without its common factor,
//! then the points β·u − α·v, with a positive last coordinate.
//!
//! Greatest common divisors are found by the binary algorithm in vector lanes, without branches: they
//! are half of the cost of coordinates. Where the processor can count a lane's zeros each step takes
//! all twos away at once; elsewhere one bit at a time.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Lanes that go together.
const LANES: usize = 8;

/// Coordinates that are written together.
const TOGETHER: usize = 8;

/// Coprime pairs (α, β), filled up to whole lanes.
#[derive(Debug, Default)]
pub struct Coprime {
    alpha: Vec<f64>,
    beta: Vec<f64>,
    count: usize,
}

impl Coprime {
    /// The pairs of these rows; in no pair are both 0.
    pub fn load(&mut self, rows: &[u32], values: (&[f64], &[f64])) {
        self.count = rows.len();
        let padded = rows.len().next_multiple_of(2 * LANES);
        for (to, from) in [(&mut self.alpha, values.0), (&mut self.beta, values.1)] {
            to.clear();
            to.extend(rows.iter().map(|&row| from[row as usize]));
            to.resize(padded, 1.0);
        }
        let (alpha, beta) = (&mut self.alpha[..], &mut self.beta[..]);
        #[cfg(target_arch = "x86_64")]
        if counts_zeros() {
            // SAFETY: the CPU has what the function is compiled for.
            unsafe { divide_counting(alpha, beta) };
            return;
        }
        for (a, b) in alpha
            .chunks_exact_mut(LANES)
            .zip(beta.chunks_exact_mut(LANES))
        {
            let lanes = |x: &[f64]| std::array::from_fn(|k| whole(x[k].abs()) as u64);
            divide(a, b, &greatest_common(lanes(a), lanes(b)));
        }
    }

    /// The pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (i64, i64)> {
        let pairs = self.alpha.iter().zip(&self.beta).take(self.count);
        pairs.map(|(alpha, beta)| (whole(*alpha), whole(*beta)))
    }

    /// Append the points, given u and v coordinate by coordinate. Coordinates fit the word, so wrapping
    /// is exact.
    pub fn write(&self, ends: &[(i64, i64)], out: &mut Vec<u64>) {
        let start = out.len();
        let end = start + self.count * ends.len();
        if ends.len() > TOGETHER {
            out.resize(end, 0);
            for (point, (alpha, beta)) in
                out[start..].chunks_exact_mut(ends.len()).zip(self.pairs())
            {
                put(ends, alpha, beta, point);
            }
            return;
        }
        // What is written beyond a point is overwritten by the next one.
        out.resize(end + TOGETHER, 0);
        let points = &mut out[start..];
        #[cfg(target_arch = "x86_64")]
        if counts_zeros() {
            // SAFETY: the CPU has what the function is compiled for.
            unsafe { put_all_counting(ends, self, points) };
            out.truncate(end);
            return;
        }
        put_all(ends, self, points);
        out.truncate(end);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn put_all_counting(ends: &[(i64, i64)], pairs: &Coprime, points: &mut [u64]) {
    put_all(ends, pairs, points);
}

#[inline(always)]
fn put_all(ends: &[(i64, i64)], pairs: &Coprime, points: &mut [u64]) {
    let width = ends.len();
    let mut padded = [(0, 0); TOGETHER];
    padded[..width].copy_from_slice(ends);
    let (u, v) = (padded.map(|end| end.0), padded.map(|end| end.1));
    let (last_u, last_v) = ends[width - 1];
    let mut rest = points;
    for (alpha, beta) in pairs.pairs() {
        let (point, _) = rest.split_at_mut(TOGETHER);
        let last = beta
            .wrapping_mul(last_u)
            .wrapping_sub(alpha.wrapping_mul(last_v));
        let sign = 1 | last >> 63;
        let (alpha, beta) = (alpha * sign, beta * sign);
        for c in 0..TOGETHER {
            point[c] = beta
                .wrapping_mul(u[c])
                .wrapping_sub(alpha.wrapping_mul(v[c])) as u64;
        }
        rest = &mut rest[width..];
    }
}

/// The integer that a double is: all here are below 2⁵³. (The plain conversion asks for the range.)
#[inline(always)]
fn whole(value: f64) -> i64 {
    debug_assert!(value.abs() <= (1u64 << 53) as f64);
    // SAFETY: values and quotients of a plane are at most that, or the line would have been left to
    // wider numbers.
    unsafe { value.to_int_unchecked() }
}

/// Write one point of any number of coordinates.
fn put(ends: &[(i64, i64)], alpha: i64, beta: i64, point: &mut [u64]) {
    let coordinate =
        |&(u, v): &(i64, i64)| beta.wrapping_mul(u).wrapping_sub(alpha.wrapping_mul(v));
    let sign = 1 | ends.last().map_or(1, coordinate) >> 63;
    for (x, end) in point.iter_mut().zip(ends) {
        *x = (sign * coordinate(end)) as u64;
    }
}

/// Doubles divide exactly.
#[inline(always)]
fn divide<const N: usize>(alpha: &mut [f64], beta: &mut [f64], divisors: &[u64; N]) {
    for k in 0..N {
        // Never 0 for such pairs, but a quotient by it would not be a number.
        let divisor = divisors[k].max(1) as f64;
        alpha[k] /= divisor;
        beta[k] /= divisor;
    }
}

/// Whether the processor counts zeros lane by lane.
#[cfg(target_arch = "x86_64")]
fn counts_zeros() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vpopcntdq")
}

/// Take the common factors out of pairs, sixteen at once.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512vpopcntdq")]
fn divide_counting(alpha: &mut [f64], beta: &mut [f64]) {
    const BOTH: usize = 2 * LANES;
    for (a, b) in alpha
        .chunks_exact_mut(BOTH)
        .zip(beta.chunks_exact_mut(BOTH))
    {
        let sizes =
            |x: &[f64]| -> [u64; BOTH] { std::array::from_fn(|k| whole(x[k].abs()) as u64) };
        let (x, y) = (sizes(a), sizes(b));
        let most = (0..BOTH).fold(0, |most, k| most | x[k] | y[k]);
        let divisors: [u64; BOTH] = if most >> 32 == 0 {
            let narrow = |x: [u64; BOTH]| x.map(|x| x as u32);
            common_32(narrow(x), narrow(y)).map(u64::from)
        } else {
            let half = |x: &[u64; BOTH], from: usize| std::array::from_fn(|k| x[from + k]);
            let low: [u64; LANES] = common_64(half(&x, 0), half(&y, 0));
            let high: [u64; LANES] = common_64(half(&x, LANES), half(&y, LANES));
            std::array::from_fn(|k| if k < LANES { low[k] } else { high[k - LANES] })
        };
        divide(a, b, &divisors);
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! common {
    ($name:ident, $word:ty, $lanes:expr, $set:ident, $sub:ident, $popcnt:ident, $srlv:ident, $sllv:ident, $min:ident, $max:ident, $test:ident) => {
        /// The greatest common divisor in each lane; at most one of a lane's two numbers is 0.
        #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512vpopcntdq")]
        fn $name(a: [$word; $lanes], b: [$word; $lanes]) -> [$word; $lanes] {
            let load = |x: [$word; $lanes]| {
                // SAFETY: an array of integers and a register of as many bits.
                unsafe { std::mem::transmute::<[$word; $lanes], __m512i>(x) }
            };
            let (a, b) = (load(a), load(b));
            let one = $set(1);
            // The zeros below the lowest one; as many as the word has bits for 0, which then stays 0.
            let zeros = |x: __m512i| $popcnt(_mm512_andnot_si512(x, $sub(x, one)));
            let twos = zeros(_mm512_or_si512(a, b));
            let mut a = $srlv(a, zeros(a));
            let mut b = $srlv(b, zeros(b));
            // Of two odd numbers the difference is even; once it is 0 they change places for ever.
            loop {
                let less = $min(a, b);
                let difference = $sub($max(a, b), less);
                if $test(less, less) == 0 {
                    break;
                }
                a = less;
                b = $srlv(difference, zeros(difference));
            }
            let divisor = $sllv(_mm512_or_si512(a, b), twos);
            // SAFETY: as above.
            unsafe { std::mem::transmute::<__m512i, [$word; $lanes]>(divisor) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
common!(
    common_32,
    u32,
    16,
    _mm512_set1_epi32,
    _mm512_sub_epi32,
    _mm512_popcnt_epi32,
    _mm512_srlv_epi32,
    _mm512_sllv_epi32,
    _mm512_min_epu32,
    _mm512_max_epu32,
    _mm512_test_epi32_mask
);
#[cfg(target_arch = "x86_64")]
common!(
    common_64,
    u64,
    8,
    _mm512_set1_epi64,
    _mm512_sub_epi64,
    _mm512_popcnt_epi64,
    _mm512_srlv_epi64,
    _mm512_sllv_epi64,
    _mm512_min_epu64,
    _mm512_max_epu64,
    _mm512_test_epi64_mask
);

/// The greatest common divisor in each lane, by the binary algorithm without branches; at most one
/// of a lane's two numbers is 0.
fn greatest_common(mut a: [u64; LANES], mut b: [u64; LANES]) -> [u64; LANES] {
    let mut twos = [0; LANES];
    let (mut most_a, mut most_b) = (0, 0);
    for k in 0..LANES {
        twos[k] = (a[k] | b[k]).trailing_zeros();
        a[k] >>= twos[k];
        b[k] >>= twos[k];
        if a[k] & 1 == 0 {
            (a[k], b[k]) = (b[k], a[k]);
        }
        most_a |= a[k];
        most_b |= b[k];
    }
    // Each step takes a bit off one of the two.
    let bits = |x: u64| u64::BITS - x.leading_zeros();
    let steps = bits(most_a) + bits(most_b);
    let odd = if bits(most_a | most_b) < 32 {
        let narrow = |x: [u64; LANES]| x.map(|x| x as u32);
        odd_part_32(narrow(a), narrow(b), steps).map(u64::from)
    } else {
        odd_part_64(a, b, steps)
    };
    std::array::from_fn(|k| odd[k] << twos[k])
}

macro_rules! odd_part {
    ($name:ident, $avx2:ident, $plain:ident, $word:ty, $signed:ty) => {
        #[inline(always)]
        fn $plain(mut a: [$word; LANES], mut b: [$word; LANES], steps: u32) -> [$word; LANES] {
            for _ in 0..steps {
                for k in 0..LANES {
                    // a is odd. An odd b becomes the difference, which is even, and a the smaller.
                    let odd = (b[k] & 1).wrapping_neg();
                    let difference = b[k].wrapping_sub(a[k]);
                    // All numbers are below half the word's range, so this is the sign.
                    let less = (difference as $signed >> (<$word>::BITS - 1)) as $word;
                    a[k] = a[k].wrapping_add(difference & less & odd);
                    let size = (difference ^ less).wrapping_sub(less);
                    b[k] = (b[k] ^ ((b[k] ^ size) & odd)) >> 1;
                }
            }
            a
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2")]
        fn $avx2(a: [$word; LANES], b: [$word; LANES], steps: u32) -> [$word; LANES] {
            $plain(a, b, steps)
        }

        fn $name(a: [$word; LANES], b: [$word; LANES], steps: u32) -> [$word; LANES] {
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the CPU has AVX2.
                return unsafe { $avx2(a, b, steps) };
            }
            $plain(a, b, steps)
        }
    };
}

odd_part!(odd_part_32, odd_part_32_avx2, odd_part_32_plain, u32, i32);
odd_part!(odd_part_64, odd_part_64_avx2, odd_part_64_plain, u64, i64);

#[cfg(test)]
mod tests {
    use super::*;
    use num_integer::Integer;
    use proptest::prelude::*;

    proptest! {
        /// Narrow lanes and wide ones, by whatever the processor has, against plain arithmetic.
        #[test]
        fn points_are_in_lowest_terms(
            pairs in proptest::collection::vec((-1i64 << 25..1 << 25, 1i64..1 << 25), 1..40),
            scale in prop_oneof![Just(1i64), 1i64..64, 1i64..1 << 27],
            ends in proptest::collection::vec((-99i64..100, -99i64..100), 2..11),
        ) {
            let alpha: Vec<f64> = pairs.iter().map(|pair| (scale * pair.0) as f64).collect();
            let beta: Vec<f64> = pairs.iter().map(|pair| (scale * pair.1) as f64).collect();
            let rows: Vec<u32> = (0..pairs.len() as u32).rev().collect();
            let mut coprime = Coprime::default();
            coprime.load(&rows, (&alpha, &beta));
            let expected: Vec<(i64, i64)> = pairs
                .iter()
                .rev()
                .map(|(a, b)| (a / a.gcd(b), b / a.gcd(b)))
                .collect();
            prop_assert_eq!(coprime.pairs().collect::<Vec<_>>(), expected.clone());
            let mut points = vec![7];
            coprime.write(&ends, &mut points);
            let mut plain = vec![7];
            for (alpha, beta) in expected {
                let point = ends.iter().map(|(u, v)| beta * u - alpha * v);
                let sign = if point.clone().next_back() < Some(0) { -1 } else { 1 };
                plain.extend(point.map(|x| (sign * x) as u64));
            }
            prop_assert_eq!(points, plain);
        }

        #[test]
        fn lanes_have_greatest_common_divisors(
            a in proptest::array::uniform8(0u64..1 << 26),
            b in proptest::array::uniform8(1u64..1 << 26),
            common in proptest::array::uniform8(1u64..1 << 26),
        ) {
            for scale in [[1; LANES], common] {
                let a: [u64; LANES] = std::array::from_fn(|k| a[k] * scale[k]);
                let b: [u64; LANES] = std::array::from_fn(|k| b[k] * scale[k]);
                let expected: [u64; LANES] = std::array::from_fn(|k| a[k].gcd(&b[k]));
                prop_assert_eq!(greatest_common(a, b), expected);
                prop_assert_eq!(greatest_common(b, a), expected);
            }
        }
    }
}
