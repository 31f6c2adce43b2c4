//! The transform of blocks of 128 values or more in 256-bit vectors.
//!
//! Eight vectors, 64 values, stay in registers for their first six levels: three between the lanes
//! of a vector, three between vectors. The levels after them are butterflies of radix eight, four or
//! two between vectors. A block of 1024 is read and written three times, one of 512 twice.

use std::arch::x86_64::*;

use super::NORM;

/// Values of a vector.
const LANES: usize = 8;

/// By level: 1 in lanes that take the sum, −1 in those that take the difference.
const SIGNS: [[f32; LANES]; 3] = {
    let mut signs = [[1.0; LANES]; 3];
    let mut i = 0;
    while i < 3 * LANES {
        if (i % LANES) >> (i / LANES) & 1 == 1 {
            signs[i / LANES][i % LANES] = -1.0;
        }
        i += 1;
    }
    signs
};

/// See [`transform`](super::transform).
///
/// # Safety
/// The machine has AVX2 and FMA; `block.len()` is 128, 256, 512 or 1024.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn transform(block: &mut [f32]) {
    let norm = _mm256_set1_ps(NORM[block.len().trailing_zeros() as usize]);
    let one = _mm256_set1_ps(1.0);
    let (start, n) = (block.as_mut_ptr(), block.len());
    // SAFETY: every access is below `n`, as the loops say; eight vectors are 64 values.
    unsafe {
        for at in (0..n).step_by(64) {
            first_levels(start.add(at));
        }
        for at in (0..64).step_by(LANES) {
            let start = start.add(at);
            match n {
                128 => last_levels::<2, 64>(start, norm),
                256 => last_levels::<4, 64>(start, norm),
                512 => last_levels::<8, 64>(start, norm),
                _ => {
                    last_levels::<8, 64>(start, one);
                    last_levels::<8, 64>(start.add(512), one);
                }
            }
        }
        if n == 1024 {
            for at in (0..512).step_by(LANES) {
                last_levels::<2, 512>(start.add(at), norm);
            }
        }
    }
}

/// All levels of 64 values.
///
/// # Safety
/// The machine has AVX2 and FMA, and `start` points to 64 values.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn first_levels(start: *mut f32) {
    let mut v = [_mm256_setzero_ps(); 8];
    for (i, v) in v.iter_mut().enumerate() {
        // SAFETY: the contract.
        *v = within(unsafe { _mm256_loadu_ps(start.add(i * LANES)) });
    }
    across(&mut v);
    for (i, v) in v.iter().enumerate() {
        // SAFETY: the contract.
        unsafe { _mm256_storeu_ps(start.add(i * LANES), *v) };
    }
}

/// The levels between `V` vectors that are `APART` values apart, and a factor.
///
/// # Safety
/// The machine has AVX2, and `start` points to such values.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn last_levels<const V: usize, const APART: usize>(start: *mut f32, factor: __m256) {
    let mut v = [_mm256_setzero_ps(); V];
    for (i, v) in v.iter_mut().enumerate() {
        // SAFETY: the contract.
        *v = unsafe { _mm256_loadu_ps(start.add(i * APART)) };
    }
    across(&mut v);
    for (i, v) in v.iter().enumerate() {
        // SAFETY: the contract.
        unsafe { _mm256_storeu_ps(start.add(i * APART), _mm256_mul_ps(*v, factor)) };
    }
}

/// The levels between vectors, from neighbours to halves.
#[inline]
#[target_feature(enable = "avx2")]
fn across<const V: usize>(v: &mut [__m256; V]) {
    level::<V, 1>(v);
    level::<V, 2>(v);
    level::<V, 4>(v);
}

/// The level between vectors that are `HALF` apart; a function with a constant parameter, because in a
/// loop over the levels the compiler would keep the values in memory.
#[inline]
#[target_feature(enable = "avx2")]
fn level<const V: usize, const HALF: usize>(v: &mut [__m256; V]) {
    if HALF < V {
        for i in 0..V {
            if i & HALF == 0 {
                let (a, b) = (v[i], v[i + HALF]);
                (v[i], v[i + HALF]) = (_mm256_add_ps(a, b), _mm256_sub_ps(a, b));
            }
        }
    }
}

/// The three levels between the lanes of a vector. A lane becomes its partner plus or minus itself,
/// computed by one fused multiply-add with ±1, which rounds once like the plain sum.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn within(v: __m256) -> __m256 {
    // SAFETY: eight floats are a vector.
    let sign = |level: usize| unsafe { _mm256_loadu_ps(SIGNS[level].as_ptr()) };
    let v = _mm256_fmadd_ps(v, sign(0), _mm256_permute_ps(v, 0b10_11_00_01));
    let v = _mm256_fmadd_ps(v, sign(1), _mm256_permute_ps(v, 0b01_00_11_10));
    _mm256_fmadd_ps(v, sign(2), _mm256_permute2f128_ps(v, v, 0b0000_0001))
}
