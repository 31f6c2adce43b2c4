//! Fractions in lowest terms, many at once in vector lanes.
//!
//! Half of the time for coordinates goes into greatest common divisors. The binary algorithm computes them
//! without branches. At [`SimdLevel::Vbmi`] each step removes all factors of two, because there is an
//! instruction that counts the trailing zeros of every lane. At other levels a step removes one factor.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::SimdLevel;

/// Pairs that are processed together, one in each lane.
const LANES: usize = 8;

/// The number of pairs that [`divide_all`] takes is a multiple of this.
pub const CHUNK: usize = 2 * LANES;

/// Divide each pair (`alpha[k]`, `beta[k]`) by its greatest common divisor. The number of pairs is a
/// multiple of [`CHUNK`], and no pair is (0, 0).
pub fn divide_all(simd: SimdLevel, alpha: &mut [f64], beta: &mut [f64]) {
    #[cfg(target_arch = "x86_64")]
    if let SimdLevel::Vbmi(_) = simd {
        // SAFETY: the token proves that the machine has these instructions.
        unsafe { divide_counting(alpha, beta) };
        return;
    }
    for (a, b) in alpha
        .chunks_exact_mut(LANES)
        .zip(beta.chunks_exact_mut(LANES))
    {
        let lanes = |x: &[f64]| std::array::from_fn(|k| whole(x[k].abs()) as u64);
        divide(a, b, &greatest_common(simd, lanes(a), lanes(b)));
    }
}

/// The integer that a double holds, which is below 2⁵³ in magnitude. (The plain conversion would also
/// check the range.)
#[inline(always)]
pub(in crate::arrangement) fn whole(value: f64) -> i64 {
    debug_assert!(value.abs() <= (1u64 << 53) as f64);
    // SAFETY: values and quotients on a plane are below 2⁵³. A line with larger ones is left to a wider
    // arithmetic.
    unsafe { value.to_int_unchecked() }
}

/// Divide each pair by its divisor. The quotients are integers, so doubles hold them exactly.
#[inline(always)]
fn divide<const N: usize>(alpha: &mut [f64], beta: &mut [f64], divisors: &[u64; N]) {
    for k in 0..N {
        // The divisor of a pair is at least 1, because no pair is (0, 0). With this maximum a mistake
        // there cannot lead to NaN.
        let divisor = divisors[k].max(1) as f64;
        alpha[k] /= divisor;
        beta[k] /= divisor;
    }
}

/// [`divide_all`] with instructions that count trailing zeros.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512vpopcntdq")]
fn divide_counting(alpha: &mut [f64], beta: &mut [f64]) {
    // Each step depends on the result of the step before. While the processor waits for one vector, it
    // works on the others, so several vectors take hardly longer than one.
    const VECTORS_TOGETHER: usize = 4;
    let mut chunks = (
        alpha.chunks_exact_mut(VECTORS_TOGETHER * CHUNK),
        beta.chunks_exact_mut(VECTORS_TOGETHER * CHUNK),
    );
    for (a, b) in (&mut chunks.0).zip(&mut chunks.1) {
        divide_together::<VECTORS_TOGETHER>(a, b);
    }
    let rest = (chunks.0.into_remainder(), chunks.1.into_remainder());
    for (a, b) in rest
        .0
        .chunks_exact_mut(CHUNK)
        .zip(rest.1.chunks_exact_mut(CHUNK))
    {
        divide_together::<1>(a, b);
    }
}

/// [`divide_counting`] for `K` vectors of narrow numbers, or twice as many of wide ones.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512vpopcntdq")]
fn divide_together<const K: usize>(alpha: &mut [f64], beta: &mut [f64]) {
    let narrow = _mm512_set1_pd((1u64 << 32) as f64);
    let mut wide = 0;
    for numbers in alpha.chunks_exact(LANES).chain(beta.chunks_exact(LANES)) {
        wide |= _mm512_cmp_pd_mask::<_CMP_GE_OQ>(size(numbers), narrow);
    }
    let mut divisors = [[_mm512_setzero_pd(); 2]; K];
    if wide == 0 {
        let mut numbers = [[_mm512_setzero_si512(); 2]; K];
        for (k, [a, b]) in numbers.iter_mut().enumerate() {
            (*a, *b) = (sizes_32(&alpha[k * CHUNK..]), sizes_32(&beta[k * CHUNK..]));
        }
        common_32(&mut numbers);
        for (divisors, [common, _]) in divisors.iter_mut().zip(numbers) {
            divisors[0] = _mm512_cvtepu32_pd(_mm512_castsi512_si256(common));
            divisors[1] = _mm512_cvtepu32_pd(_mm512_extracti64x4_epi64::<1>(common));
        }
    } else {
        for half in 0..2 {
            let mut numbers = [[_mm512_setzero_si512(); 2]; K];
            for (k, [a, b]) in numbers.iter_mut().enumerate() {
                let at = k * CHUNK + half * LANES;
                *a = _mm512_cvttpd_epu64(size(&alpha[at..]));
                *b = _mm512_cvttpd_epu64(size(&beta[at..]));
            }
            common_64(&mut numbers);
            for (divisors, [common, _]) in divisors.iter_mut().zip(numbers) {
                divisors[half] = _mm512_cvtepu64_pd(common);
            }
        }
    }
    for numbers in [alpha, beta] {
        let chunks = numbers.chunks_exact_mut(LANES);
        for (numbers, divisor) in chunks.zip(divisors.as_flattened()) {
            // As in `divide`: the quotients are exact, and the maximum keeps NaN out.
            let divisor = _mm512_max_pd(*divisor, _mm512_set1_pd(1.0));
            // SAFETY: eight doubles are read from eight and written to them.
            unsafe {
                let quotient = _mm512_div_pd(_mm512_loadu_pd(numbers.as_ptr()), divisor);
                _mm512_storeu_pd(numbers.as_mut_ptr(), quotient);
            }
        }
    }
}

/// Magnitudes of the first eight numbers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn size(numbers: &[f64]) -> __m512d {
    // SAFETY: the slice has at least eight doubles, and eight are read.
    _mm512_abs_pd(unsafe { _mm512_loadu_pd(numbers[..LANES].as_ptr()) })
}

/// Magnitudes of the first sixteen numbers, which are below 2³².
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn sizes_32(numbers: &[f64]) -> __m512i {
    let low = _mm512_cvttpd_epu32(size(numbers));
    let high = _mm512_cvttpd_epu32(size(&numbers[LANES..]));
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
}

#[cfg(target_arch = "x86_64")]
macro_rules! common {
    ($name:ident, $set:ident, $sub:ident, $popcnt:ident, $srlv:ident, $sllv:ident, $min:ident, $max:ident) => {
        /// Replace the first vector of each pair by the greatest common divisor of the two numbers in each
        /// lane. At most one of the two is 0.
        #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512vpopcntdq")]
        #[inline]
        fn $name<const K: usize>(numbers: &mut [[__m512i; 2]; K]) {
            let one = $set(1);
            let mut twos = [one; K];
            for (twos, [a, b]) in twos.iter_mut().zip(&mut *numbers) {
                // The number of trailing zeros. For 0 it is the width of the word, and the shift by that
                // width gives 0 again.
                let zeros = |x: __m512i| $popcnt(_mm512_andnot_si512(x, $sub(x, one)));
                *twos = zeros(_mm512_or_si512(*a, *b));
                *a = $srlv(*a, zeros(*a));
                *b = $srlv(*b, zeros(*b));
            }
            // Both numbers are odd, so their difference is even. When the difference becomes 0, it is the
            // smaller number of the next step, and from then on the pair only swaps. The loop ends when
            // the smaller number of every lane is 0.
            loop {
                let mut on = _mm512_setzero_si512();
                for [a, b] in &mut *numbers {
                    let less = $min(*a, *b);
                    let difference = $sub($max(*a, *b), less);
                    let below = _mm512_andnot_si512(difference, $sub(difference, one));
                    *a = less;
                    *b = $srlv(difference, $popcnt(below));
                    on = _mm512_or_si512(on, less);
                }
                if _mm512_test_epi64_mask(on, on) == 0 {
                    break;
                }
            }
            for ([a, b], twos) in numbers.iter_mut().zip(twos) {
                *a = $sllv(_mm512_or_si512(*a, *b), twos);
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
common!(
    common_32,
    _mm512_set1_epi32,
    _mm512_sub_epi32,
    _mm512_popcnt_epi32,
    _mm512_srlv_epi32,
    _mm512_sllv_epi32,
    _mm512_min_epu32,
    _mm512_max_epu32
);
#[cfg(target_arch = "x86_64")]
common!(
    common_64,
    _mm512_set1_epi64,
    _mm512_sub_epi64,
    _mm512_popcnt_epi64,
    _mm512_srlv_epi64,
    _mm512_sllv_epi64,
    _mm512_min_epu64,
    _mm512_max_epu64
);

/// The greatest common divisor in each lane, by the binary algorithm without branches. At most one of the
/// two numbers in a lane is 0.
fn greatest_common(simd: SimdLevel, mut a: [u64; LANES], mut b: [u64; LANES]) -> [u64; LANES] {
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
    // Each step makes one of the two numbers shorter by at least a bit.
    let bits = |x: u64| u64::BITS - x.leading_zeros();
    let steps = bits(most_a) + bits(most_b);
    let odd = if bits(most_a | most_b) < 32 {
        let narrow = |x: [u64; LANES]| x.map(|x| x as u32);
        odd_part_32(simd, narrow(a), narrow(b), steps).map(u64::from)
    } else {
        odd_part_64(simd, a, b, steps)
    };
    std::array::from_fn(|k| odd[k] << twos[k])
}

macro_rules! odd_part {
    ($name:ident, $avx2:ident, $plain:ident, $word:ty, $signed:ty) => {
        #[inline(always)]
        fn $plain(mut a: [$word; LANES], mut b: [$word; LANES], steps: u32) -> [$word; LANES] {
            for _ in 0..steps {
                for k in 0..LANES {
                    // a is odd. If b is odd as well, a becomes the smaller of the two and b their
                    // difference, which is even.
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

        fn $name(
            simd: SimdLevel,
            a: [$word; LANES],
            b: [$word; LANES],
            steps: u32,
        ) -> [$word; LANES] {
            match simd {
                SimdLevel::Portable => $plain(a, b, steps),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the tokens prove that the machine has AVX2.
                SimdLevel::Avx2(_) | SimdLevel::Avx512(_) | SimdLevel::Vbmi(_) => unsafe {
                    $avx2(a, b, steps)
                },
            }
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
                for simd in SimdLevel::available() {
                    prop_assert_eq!(greatest_common(simd, a, b), expected);
                    prop_assert_eq!(greatest_common(simd, b, a), expected);
                }
            }
        }
    }
}
