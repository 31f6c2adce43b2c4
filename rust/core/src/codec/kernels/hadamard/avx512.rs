//! The transform of blocks of 128 values or more in 512-bit vectors.
//!
//! Up to sixteen vectors, 256 values, stay in registers for their first eight levels: four between
//! the lanes of a vector, four between vectors. The last one or two levels of larger blocks are
//! butterflies of radix two or four between vectors. So a block of 1024 is read and written twice.

use std::arch::x86_64::*;

use super::NORM;

/// Values of a vector.
const LANES: usize = 16;

/// By level: 1 in lanes that take the sum, −1 in those that take the difference.
const SIGNS: [[f32; LANES]; 4] = {
    let mut signs = [[1.0; LANES]; 4];
    let mut i = 0;
    while i < 4 * LANES {
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
/// The machine has AVX-512 F; `block.len()` is 128, 256, 512 or 1024.
#[target_feature(enable = "avx512f")]
pub unsafe fn transform(block: &mut [f32]) {
    let norm = _mm512_set1_ps(NORM[block.len().trailing_zeros() as usize]);
    let one = _mm512_set1_ps(1.0);
    let (start, n) = (block.as_mut_ptr(), block.len());
    // SAFETY: every access is below `n`, as the loops say; sixteen vectors are 256 values.
    unsafe {
        match n {
            128 => first_levels::<8>(start, norm),
            256 => first_levels::<16>(start, norm),
            _ => {
                for at in (0..n).step_by(256) {
                    first_levels::<16>(start.add(at), one);
                }
                for at in (0..256).step_by(LANES) {
                    match n {
                        512 => last_levels::<2>(start.add(at), norm),
                        _ => last_levels::<4>(start.add(at), norm),
                    }
                }
            }
        }
    }
}

/// All levels of `V`·16 values, and a factor.
///
/// # Safety
/// The machine has AVX-512 F, and `start` points to `V`·16 values.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn first_levels<const V: usize>(start: *mut f32, factor: __m512) {
    let mut v = [_mm512_setzero_ps(); V];
    for (i, v) in v.iter_mut().enumerate() {
        // SAFETY: the contract.
        *v = within(unsafe { _mm512_loadu_ps(start.add(i * LANES)) });
    }
    across(&mut v);
    for (i, v) in v.iter().enumerate() {
        // SAFETY: the contract.
        unsafe { _mm512_storeu_ps(start.add(i * LANES), _mm512_mul_ps(*v, factor)) };
    }
}

/// The levels between `V` vectors that are 256 values apart, and a factor.
///
/// # Safety
/// The machine has AVX-512 F, and `start` points to such values.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn last_levels<const V: usize>(start: *mut f32, factor: __m512) {
    let mut v = [_mm512_setzero_ps(); V];
    for (i, v) in v.iter_mut().enumerate() {
        // SAFETY: the contract.
        *v = unsafe { _mm512_loadu_ps(start.add(i * 256)) };
    }
    across(&mut v);
    for (i, v) in v.iter().enumerate() {
        // SAFETY: the contract.
        unsafe { _mm512_storeu_ps(start.add(i * 256), _mm512_mul_ps(*v, factor)) };
    }
}

/// The levels between vectors, from neighbours to halves.
#[inline]
#[target_feature(enable = "avx512f")]
fn across<const V: usize>(v: &mut [__m512; V]) {
    level::<V, 1>(v);
    level::<V, 2>(v);
    level::<V, 4>(v);
    level::<V, 8>(v);
}

/// The level between vectors that are `HALF` apart; a function with a constant parameter, because in a
/// loop over the levels the compiler would keep the values in memory.
#[inline]
#[target_feature(enable = "avx512f")]
fn level<const V: usize, const HALF: usize>(v: &mut [__m512; V]) {
    if HALF < V {
        for i in 0..V {
            if i & HALF == 0 {
                let (a, b) = (v[i], v[i + HALF]);
                (v[i], v[i + HALF]) = (_mm512_add_ps(a, b), _mm512_sub_ps(a, b));
            }
        }
    }
}

/// The four levels between the lanes of a vector. A lane becomes its partner plus or minus itself,
/// computed by one fused multiply-add with ±1, which rounds once like the plain sum.
#[inline]
#[target_feature(enable = "avx512f")]
fn within(v: __m512) -> __m512 {
    // SAFETY: sixteen floats are a vector.
    let sign = |level: usize| unsafe { _mm512_loadu_ps(SIGNS[level].as_ptr()) };
    let v = _mm512_fmadd_ps(v, sign(0), _mm512_permute_ps(v, 0b10_11_00_01));
    let v = _mm512_fmadd_ps(v, sign(1), _mm512_permute_ps(v, 0b01_00_11_10));
    let v = _mm512_fmadd_ps(v, sign(2), _mm512_shuffle_f32x4(v, v, 0b10_11_00_01));
    _mm512_fmadd_ps(v, sign(3), _mm512_shuffle_f32x4(v, v, 0b01_00_11_10))
}
