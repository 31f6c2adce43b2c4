//! Matrix products in tiles, which take most of the time of the factorisation and of error feedback.
//!
//! A *panel* is a few columns of a matrix: 128 bytes of each row, one row after the other. The sums of
//! a tile of [`HEIGHT`] rows and a panel's columns stay in registers. The kernel runs down the rows of
//! the panel, loads each once, and multiplies it by [`HEIGHT`] numbers of the other factor, one for
//! each row of sums.
//!
//! Every sum is one chain of fused multiply-adds, in the order of the panel's rows: so the bits are the
//! same on any vector unit and for any division of the rows into calls.

use std::ops::Range;

use crate::SimdLevel;

/// Rows of a tile.
pub const HEIGHT: usize = 8;

/// A float type of the kernel.
pub trait Real: Copy + Default + Send + Sync + 'static {
    /// Columns of a panel.
    const PANEL: usize;

    /// See [`accumulate`].
    ///
    /// # Safety
    /// The machine has the unit; the lengths are those that [`accumulate`] asserts.
    unsafe fn accumulate(simd: SimdLevel, tile: Tile<Self>, rows: usize);
}

/// Where a tile's factors and sums begin.
#[derive(Clone, Copy)]
pub struct Tile<R> {
    depth: usize,
    /// [`HEIGHT`] numbers for each row of the panel.
    factors: *const R,
    panel: *const R,
    sums: *mut R,
    /// The distance from one row of sums to the next, in elements.
    stride: usize,
}

/// Add to the sums the products of a panel: sums[r][c] += Σ_k factors[k][r]·panel[k][c], for the
/// `rows` r of a tile and all columns c of a panel, k in order.
///
/// `factors` has [`HEIGHT`] numbers for each row of the `panel`. The sums of one row follow those of
/// the row before at a distance of `stride`.
pub fn accumulate<R: Real>(
    simd: SimdLevel,
    rows: Range<usize>,
    factors: &[R],
    panel: &[R],
    sums: &mut [R],
    stride: usize,
) {
    let depth = panel.len() / R::PANEL;
    if depth == 0 || rows.is_empty() {
        return;
    }
    assert!(depth * R::PANEL == panel.len() && depth * HEIGHT == factors.len());
    assert!(rows.end <= HEIGHT && (rows.len() - 1) * stride + R::PANEL <= sums.len());
    assert!(stride >= R::PANEL || rows.len() == 1);
    let tile = Tile {
        depth,
        factors: factors[rows.start..].as_ptr(),
        panel: panel.as_ptr(),
        sums: sums.as_mut_ptr(),
        stride,
    };
    // SAFETY: the token proves that the machine has these instructions, and the lengths were checked.
    unsafe { R::accumulate(simd, tile, rows.len()) }
}

/// A vector of floats.
trait FloatVector: Copy {
    type Real: Copy;
    const COUNT: usize;
    unsafe fn load(from: *const Self::Real) -> Self;
    unsafe fn store(self, to: *mut Self::Real);
    unsafe fn splat(value: Self::Real) -> Self;
    /// self·by + sum, rounded once.
    unsafe fn fused(self, by: Self, sum: Self) -> Self;
}

impl<R: Copy> Tile<R> {
    /// The tile of the next rows.
    unsafe fn below(self, rows: usize) -> Self {
        // SAFETY: the caller guarantees that many rows.
        unsafe {
            Self {
                factors: self.factors.add(rows),
                sums: self.sums.add(rows * self.stride),
                ..self
            }
        }
    }

    /// The tile of `V` vectors of columns from column `from` on.
    ///
    /// # Safety
    /// The machine has the lanes; `H` rows of the sums and so many columns are there.
    #[inline(always)]
    unsafe fn add<L: FloatVector<Real = R>, const H: usize, const V: usize>(
        self,
        width: usize,
        from: usize,
    ) {
        // SAFETY: the contract is this function's own.
        unsafe {
            let at = |row: usize, v: usize| self.sums.add(row * self.stride + from + v * L::COUNT);
            let mut sums = [[L::splat(*self.factors); V]; H];
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = L::load(at(r, v));
                }
            }
            for k in 0..self.depth {
                let row = self.panel.add(k * width + from);
                let mut values = [L::splat(*self.factors); V];
                for (v, value) in values.iter_mut().enumerate() {
                    *value = L::load(row.add(v * L::COUNT));
                }
                let factors = self.factors.add(k * HEIGHT);
                for (r, sums) in sums.iter_mut().enumerate() {
                    let factor = L::splat(*factors.add(r));
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum = value.fused(factor, *sum);
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    sum.store(at(r, v));
                }
            }
        }
    }
}

/// A vector of one float, in plain Rust.
impl FloatVector for f32 {
    type Real = f32;
    const COUNT: usize = 1;
    unsafe fn load(from: *const f32) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { *from }
    }
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { *to = self }
    }
    unsafe fn splat(value: f32) -> f32 {
        value
    }
    unsafe fn fused(self, by: f32, sum: f32) -> f32 {
        self.mul_add(by, sum)
    }
}

impl FloatVector for f64 {
    type Real = f64;
    const COUNT: usize = 1;
    unsafe fn load(from: *const f64) -> f64 {
        // SAFETY: the caller's promise.
        unsafe { *from }
    }
    unsafe fn store(self, to: *mut f64) {
        // SAFETY: the caller's promise.
        unsafe { *to = self }
    }
    unsafe fn splat(value: f64) -> f64 {
        value
    }
    unsafe fn fused(self, by: f64, sum: f64) -> f64 {
        self.mul_add(by, sum)
    }
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    use std::arch::x86_64::*;

    use super::{FloatVector, HEIGHT, Tile};

    macro_rules! lanes {
        ($vector:ty, $real:ty, $count:literal, $load:ident, $store:ident, $splat:ident, $fused:ident) => {
            impl FloatVector for $vector {
                type Real = $real;
                const COUNT: usize = $count;
                #[inline(always)]
                unsafe fn load(from: *const $real) -> Self {
                    // SAFETY: the caller's promise.
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut $real) {
                    // SAFETY: the caller's promise.
                    unsafe { $store(to, self) }
                }
                #[inline(always)]
                unsafe fn splat(value: $real) -> Self {
                    // SAFETY: the caller's promise.
                    unsafe { $splat(value) }
                }
                #[inline(always)]
                unsafe fn fused(self, by: Self, sum: Self) -> Self {
                    // SAFETY: the caller's promise.
                    unsafe { $fused(self, by, sum) }
                }
            }
        };
    }

    lanes!(
        __m256,
        f32,
        8,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps
    );
    lanes!(
        __m256d,
        f64,
        4,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_set1_pd,
        _mm256_fmadd_pd
    );
    lanes!(
        __m512,
        f32,
        16,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps
    );
    lanes!(
        __m512d,
        f64,
        8,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_set1_pd,
        _mm512_fmadd_pd
    );

    macro_rules! units {
        ($avx2:ident, $avx512:ident, $real:ty, $narrow:ty, $wide:ty) => {
            /// Half the rows and half a panel at a time, because there are sixteen registers.
            ///
            /// # Safety
            /// The machine has AVX2 and FMA; the tile is there.
            #[target_feature(enable = "avx2,fma")]
            pub unsafe fn $avx2(mut tile: Tile<$real>, rows: usize) {
                const WIDTH: usize = 128 / size_of::<$real>();
                // SAFETY: the contract is this function's own.
                unsafe {
                    if rows == HEIGHT {
                        for from in [0, WIDTH / 2] {
                            tile.add::<$narrow, { HEIGHT / 2 }, 2>(WIDTH, from);
                            let below = tile.below(HEIGHT / 2);
                            below.add::<$narrow, { HEIGHT / 2 }, 2>(WIDTH, from);
                        }
                        return;
                    }
                    for _ in 0..rows {
                        tile.add::<$narrow, 1, 4>(WIDTH, 0);
                        tile = tile.below(1);
                    }
                }
            }

            /// # Safety
            /// The machine has AVX-512 F; the tile is there.
            #[target_feature(enable = "avx512f")]
            pub unsafe fn $avx512(mut tile: Tile<$real>, rows: usize) {
                const WIDTH: usize = 128 / size_of::<$real>();
                // SAFETY: the contract is this function's own.
                unsafe {
                    if rows == HEIGHT {
                        return tile.add::<$wide, HEIGHT, 2>(WIDTH, 0);
                    }
                    for _ in 0..rows {
                        tile.add::<$wide, 1, 2>(WIDTH, 0);
                        tile = tile.below(1);
                    }
                }
            }
        };
    }

    units!(single_avx2, single_avx512, f32, __m256, __m512);
    units!(double_avx2, double_avx512, f64, __m256d, __m512d);
}

macro_rules! real {
    ($real:ty, $avx2:ident, $avx512:ident) => {
        impl Real for $real {
            const PANEL: usize = 128 / size_of::<Self>();

            unsafe fn accumulate(simd: SimdLevel, mut tile: Tile<Self>, rows: usize) {
                // SAFETY: the contract is this function's own.
                unsafe {
                    match simd {
                        SimdLevel::Portable => {
                            for _ in 0..rows {
                                for column in 0..Self::PANEL {
                                    tile.add::<Self, 1, 1>(Self::PANEL, column);
                                }
                                tile = tile.below(1);
                            }
                        }
                        #[cfg(target_arch = "x86_64")]
                        SimdLevel::Avx2(_) => vectors::$avx2(tile, rows),
                        #[cfg(target_arch = "x86_64")]
                        SimdLevel::Avx512(_) | SimdLevel::Vbmi(_) => vectors::$avx512(tile, rows),
                    }
                }
            }
        }
    };
}

real!(f32, single_avx2, single_avx512);
real!(f64, double_avx2, double_avx512);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<R: Real + PartialEq + std::fmt::Debug>(
        rows: Range<usize>,
        depth: usize,
        seed: u32,
        real: fn(f64) -> R,
        fused: fn(R, R, R) -> R,
    ) {
        let value =
            |i: usize| real(f64::from((i as u32).wrapping_mul(2_654_435_761) ^ seed) / 4e9 - 0.5);
        let factors: Vec<R> = (0..depth * HEIGHT).map(value).collect();
        let panel: Vec<R> = (0..depth * R::PANEL).map(|i| value(i + 7777)).collect();
        let stride = R::PANEL + 3;
        let mut plain: Vec<R> = (0..HEIGHT * stride).map(|i| value(i + 99)).collect();
        let before = plain.clone();
        for (place, r) in rows.clone().enumerate() {
            for c in 0..R::PANEL {
                let sum = &mut plain[place * stride + c];
                for k in 0..depth {
                    *sum = fused(factors[k * HEIGHT + r], panel[k * R::PANEL + c], *sum);
                }
            }
        }
        for simd in SimdLevel::available() {
            let mut sums = before.clone();
            accumulate(simd, rows.clone(), &factors, &panel, &mut sums, stride);
            assert_eq!(sums, plain, "{simd:?}");
        }
    }

    proptest! {
        #[test]
        fn every_unit_gives_the_bits_of_a_plain_loop(
            bounds in (0..=HEIGHT, 0..=HEIGHT), depth in 0usize..40, seed: u32,
        ) {
            let rows = bounds.0.min(bounds.1)..bounds.0.max(bounds.1);
            check::<f32>(rows.clone(), depth, seed, |x| x as f32, f32::mul_add);
            check::<f64>(rows, depth, seed, |x| x, f64::mul_add);
        }
    }
}
