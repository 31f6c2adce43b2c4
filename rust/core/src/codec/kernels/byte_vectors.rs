//! Vectors of 32 bytes (AVX2), for kernels that look up bytes.

use std::arch::x86_64::*;

/// The same byte everywhere.
#[inline]
#[target_feature(enable = "avx2")]
pub fn bytes(byte: u8) -> __m256i {
    _mm256_set1_epi8(byte as i8)
}

/// The bits of all bytes that a mask has.
#[inline]
#[target_feature(enable = "avx2")]
pub fn masked(bytes_: __m256i, mask: u8) -> __m256i {
    _mm256_and_si256(bytes_, bytes(mask))
}

/// Sixteen bytes in both halves of a vector.
#[inline]
#[target_feature(enable = "avx2")]
pub fn twice(table: &[u8; 16]) -> __m256i {
    // SAFETY: sixteen bytes are there.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
}

/// Shift all bytes down. Bits from the neighbouring byte come in above.
#[inline]
#[target_feature(enable = "avx2")]
pub fn down(bytes: __m256i, by: u32) -> __m256i {
    match by {
        0 => bytes,
        1 => _mm256_srli_epi16::<1>(bytes),
        2 => _mm256_srli_epi16::<2>(bytes),
        3 => _mm256_srli_epi16::<3>(bytes),
        4 => _mm256_srli_epi16::<4>(bytes),
        5 => _mm256_srli_epi16::<5>(bytes),
        6 => _mm256_srli_epi16::<6>(bytes),
        _ => _mm256_srli_epi16::<7>(bytes),
    }
}

/// Shift all bytes up. Bits from the neighbouring byte come in below.
#[inline]
#[target_feature(enable = "avx2")]
pub fn up(bytes: __m256i, by: u32) -> __m256i {
    match by {
        0 => bytes,
        1 => _mm256_slli_epi16::<1>(bytes),
        2 => _mm256_slli_epi16::<2>(bytes),
        3 => _mm256_slli_epi16::<3>(bytes),
        4 => _mm256_slli_epi16::<4>(bytes),
        5 => _mm256_slli_epi16::<5>(bytes),
        6 => _mm256_slli_epi16::<6>(bytes),
        _ => _mm256_slli_epi16::<7>(bytes),
    }
}
