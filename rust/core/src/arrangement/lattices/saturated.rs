//! Lattices of integer points on flats.
//!
//! A flat of dimension r is represented by a basis of the integer points of its homogeneous span. These
//! points are a lattice of rank r + 1 in Z^(d+1). The lattice is *saturated*: it has every integer point of
//! the space that it spans. The row of a hyperplane \[a|b\] on the flat has its values at the basis vectors.
//! Saturation has two consequences:
//! * the values are as small as possible, because no larger lattice of integer points spans the same space;
//! * a point with coprime coordinates in the basis has coprime coordinates in Z^(d+1).
//!
//! **Cuts.** A hyperplane cuts out the sublattice on which it vanishes. Euclid's algorithm runs on the
//! values of the hyperplane, and every step is applied to the basis vectors as well. It ends with r vectors
//! on which the hyperplane vanishes, and one on which it does not. Every step is unimodular, so these r
//! vectors are a basis of the sublattice, which is saturated again.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::SimdLevel;
use crate::arrangement::arithmetic::Word;

/// The most rounds of pairwise reduction. The reduction only serves to keep numbers small, and usually ends
/// sooner.
const ROUNDS: usize = 8;

/// Replace a basis by a basis of the sublattice on which a linear form vanishes. `values` has the values of
/// the form at the basis vectors, and is overwritten. `None` if a number would exceed `W::LIMIT`.
pub fn cut<W: Word>(vectors: &mut Vec<W>, values: &mut [W], width: usize) -> Option<()> {
    let last = values.len() - 1;
    let mut sizes = [0.0f64; 64];
    let sizes = sizes.get_mut(..values.len())?;
    for (size, vector) in sizes.iter_mut().zip(vectors.chunks_exact(width)) {
        *size = largest(vector);
    }
    let mut magnitudes = [0.0f64; 64];
    let magnitudes = magnitudes.get_mut(..values.len())?;
    for (magnitude, value) in magnitudes.iter_mut().zip(&*values) {
        *magnitude = value.to_f64().abs();
    }
    let pivot = loop {
        let (first, second) = two_largest(magnitudes);
        let Some(second) = second else { break first };
        let quotient = rounded(values[first].to_f64() / values[second].to_f64());
        let grown = sizes[first] + quotient.abs() * sizes[second];
        if grown < W::LIMIT {
            sizes[first] = grown;
        } else {
            // `grown` is only an upper bound. Compute the sizes of the vectors again.
            let size = |at: usize| largest(&vectors[at * width..][..width]);
            sizes[second] = size(second);
            sizes[first] = size(first) + quotient.abs() * sizes[second];
            // This bounds the quotient as well, because no vector is 0.
            if sizes[first] >= W::LIMIT {
                return None;
            }
        }
        let by = W::from_f64(-quotient);
        values[first] = values[first].plus_product(by, values[second]);
        magnitudes[first] = values[first].to_f64().abs();
        add_multiple(vectors, width, first, by, second);
    };
    for c in 0..width {
        vectors.swap(pivot * width + c, last * width + c);
    }
    vectors.truncate(last * width);
    reduce(vectors, width);
    Some(())
}

/// The nearest integer, or one near it. (`f64::round` would call the C library.)
#[inline]
fn rounded(value: f64) -> f64 {
    // Doubles of this size have no bits below 1, so the addition rounds to an integer.
    const SHIFT: f64 = 1.5 * (1u64 << 52) as f64;
    if value.abs() < (1u64 << 50) as f64 {
        (value + SHIFT) - SHIFT
    } else {
        value
    }
}

/// [`cut`] of Z³ in doubles: a basis of the integer points on the line with this row. The row has integers
/// below 2⁵². `None` if the result is not exact.
pub fn line(row: [f64; 3]) -> Option<[[f64; 3]; 2]> {
    // Each of these is a value of the row and the vector at which the row has it. They are kept in falling
    // order of the values.
    let mut a = [row[0], 1.0, 0.0, 0.0];
    let mut b = [row[1], 0.0, 1.0, 0.0];
    let mut c = [row[2], 0.0, 0.0, 1.0];
    order(&mut b, &mut c);
    order(&mut a, &mut b);
    order(&mut b, &mut c);
    while b[0] != 0.0 {
        let quotient = rounded(a[0] / b[0]);
        let rest: [f64; 4] = std::array::from_fn(|k| a[k] - quotient * b[k]);
        // The remainder is at most half of b.
        (a, b) = (b, rest);
        order(&mut b, &mut c);
    }
    let (divisor, mut u, mut v) = (a[0], [b[1], b[2], b[3]], [c[1], c[2], c[3]]);
    // Gauss's reduction of a lattice of rank 2, for shorter vectors.
    let dot = |a: &[f64; 3], b: &[f64; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let (mut uu, mut vv) = (dot(&u, &u), dot(&v, &v));
    for _ in 0..ROUNDS {
        if uu > vv {
            std::mem::swap(&mut u, &mut v);
            std::mem::swap(&mut uu, &mut vv);
        }
        let quotient = rounded(dot(&u, &v) / uu);
        if quotient == 0.0 {
            break;
        }
        for c in 0..3 {
            v[c] -= quotient * u[c];
        }
        vv = dot(&v, &v);
    }
    is_basis(&row, divisor, &u, &v).then_some([u, v])
}

/// The number of lines that [`lines`](fn@lines) takes.
pub const LINES: usize = 8;

/// [`line`](fn@line) for several rows, which are given coordinate by coordinate. In Euclid's algorithm each
/// quotient depends on the one before, so several lines in lanes take hardly longer than one.
pub fn lines(simd: SimdLevel, rows: &[[f64; LINES]; 3]) -> [Option<[[f64; 3]; 2]>; LINES] {
    let row = |k: usize| rows.each_ref().map(|column| column[k]);
    match simd {
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx512(_) | SimdLevel::Vbmi(_) => {
            // SAFETY: the tokens prove that the machine has AVX-512.
            let found = unsafe { in_lanes(rows) };
            std::array::from_fn(|k| {
                let vector = |at: usize| std::array::from_fn(|c| found[at + c][k]);
                let (u, v) = (vector(1), vector(4));
                is_basis(&row(k), found[0][k], &u, &v).then_some([u, v])
            })
        }
        _ => std::array::from_fn(|k| line(row(k))),
    }
}

/// The divisors, and u and v coordinate by coordinate, by the same steps as in [`line`](fn@line).
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn in_lanes(rows: &[[f64; LINES]; 3]) -> [[f64; LINES]; 7] {
    // SAFETY: each array has eight doubles, and eight are read.
    let row = rows
        .each_ref()
        .map(|x| unsafe { _mm512_loadu_pd(x.as_ptr()) });
    let (zero, one) = (_mm512_setzero_pd(), _mm512_set1_pd(1.0));
    let mut a = [row[0], one, zero, zero];
    let mut b = [row[1], zero, one, zero];
    let mut c = [row[2], zero, zero, one];
    let order = |first: &mut [__m512d; 4], second: &mut [__m512d; 4]| {
        let (one, other) = (_mm512_abs_pd(first[0]), _mm512_abs_pd(second[0]));
        let swap = _mm512_cmp_pd_mask::<_CMP_LT_OQ>(one, other);
        for (x, y) in first.iter_mut().zip(second) {
            (*x, *y) = (
                _mm512_mask_blend_pd(swap, *x, *y),
                _mm512_mask_blend_pd(swap, *y, *x),
            );
        }
    };
    let quotient = |x: __m512d, y: __m512d| {
        _mm512_roundscale_pd::<_MM_FROUND_TO_NEAREST_INT>(_mm512_div_pd(x, y))
    };
    order(&mut b, &mut c);
    order(&mut a, &mut b);
    order(&mut b, &mut c);
    loop {
        // Lanes that are done do not change any more.
        let on = _mm512_cmp_pd_mask::<_CMP_NEQ_UQ>(b[0], zero);
        if on == 0 {
            break;
        }
        let by = quotient(a[0], b[0]);
        for (x, y) in a.iter_mut().zip(&mut b) {
            let rest = _mm512_fnmadd_pd(by, *y, *x);
            (*x, *y) = (
                _mm512_mask_blend_pd(on, *x, *y),
                _mm512_mask_blend_pd(on, *y, rest),
            );
        }
        order(&mut b, &mut c);
    }
    let (mut u, mut v) = ([b[1], b[2], b[3]], [c[1], c[2], c[3]]);
    let dot = |x: &[__m512d; 3], y: &[__m512d; 3]| {
        let first = _mm512_mul_pd(x[0], y[0]);
        _mm512_fmadd_pd(x[2], y[2], _mm512_fmadd_pd(x[1], y[1], first))
    };
    let (mut uu, mut vv) = (dot(&u, &u), dot(&v, &v));
    for _ in 0..ROUNDS {
        let swap = _mm512_cmp_pd_mask::<_CMP_GT_OQ>(uu, vv);
        for (x, y) in u.iter_mut().zip(&mut v) {
            (*x, *y) = (
                _mm512_mask_blend_pd(swap, *x, *y),
                _mm512_mask_blend_pd(swap, *y, *x),
            );
        }
        uu = _mm512_mask_blend_pd(swap, uu, vv);
        let by = quotient(dot(&u, &v), uu);
        if _mm512_cmp_pd_mask::<_CMP_NEQ_UQ>(by, zero) == 0 {
            break;
        }
        for (x, y) in u.iter().zip(&mut v) {
            *y = _mm512_fnmadd_pd(by, *x, *y);
        }
        vv = dot(&v, &v);
    }
    [a[0], u[0], u[1], u[2], v[0], v[1], v[2]].map(|x| {
        let mut lanes = [0.0; LINES];
        // SAFETY: the array has eight doubles, and eight are written.
        unsafe { _mm512_storeu_pd(lanes.as_mut_ptr(), x) };
        lanes
    })
}

/// Order two entries by the magnitude of their values, the larger first. A branch would often be
/// mispredicted, so there is none.
#[inline(always)]
fn order(first: &mut [f64; 4], second: &mut [f64; 4]) {
    let swap = first[0].abs() < second[0].abs();
    for k in 0..4 {
        let (a, b) = (first[k], second[k]);
        first[k] = if swap { b } else { a };
        second[k] = if swap { a } else { b };
    }
}

/// Whether u and v are a basis of the integer points on the line of a row with this greatest common
/// divisor. They are if and only if u × v is the row divided by ± its divisor. This check makes the result
/// exact, even if doubles were rounded on the way. (The values of the row only become smaller in Euclid's
/// algorithm, so they are exact.)
fn is_basis(row: &[f64; 3], divisor: f64, u: &[f64; 3], v: &[f64; 3]) -> bool {
    let small = |x: &[f64; 3]| x.iter().all(|x| x.abs() < (1u64 << 30) as f64);
    let minor = |i: usize, j: usize| {
        if small(u) && small(v) {
            Some(u[i] * v[j] - u[j] * v[i])
        } else {
            let product = |x: f64, y: f64| i128::from(x as i64) * i128::from(y as i64);
            let minor = product(u[i], v[j]) - product(u[j], v[i]);
            let near = minor as f64;
            (near as i128 == minor).then_some(near)
        }
    };
    let (Some(x), Some(y), Some(z)) = (minor(1, 2), minor(2, 0), minor(0, 1)) else {
        return false;
    };
    let normal = [x, y, z];
    let scaled = |by: f64| normal.iter().zip(row).all(|(n, r)| by * n == *r);
    scaled(divisor) || scaled(-divisor)
}

/// The largest magnitude among the entries of a vector.
fn largest<W: Word>(vector: &[W]) -> f64 {
    vector.iter().map(|x| x.to_f64().abs()).fold(0.0, f64::max)
}

/// The largest norm of the vectors.
pub fn longest<W: Word>(vectors: &[W], width: usize) -> f64 {
    let squares = vectors.chunks_exact(width).map(|x| dot(x, x));
    squares.fold(0.0, f64::max).sqrt()
}

/// The places of the largest magnitude, and of the second largest if that is not 0.
fn two_largest(magnitudes: &[f64]) -> (usize, Option<usize>) {
    let (mut first, mut second) = (0, None);
    let (mut most, mut next) = (-1.0, 0.0);
    for (at, &size) in magnitudes.iter().enumerate() {
        if size > most {
            if most > 0.0 {
                (second, next) = (Some(first), most);
            }
            (first, most) = (at, size);
        } else if size > next {
            (second, next) = (Some(at), size);
        }
    }
    (first, second)
}

fn add_multiple<W: Word>(vectors: &mut [W], width: usize, to: usize, by: W, from: usize) {
    for c in 0..width {
        vectors[to * width + c] =
            vectors[to * width + c].plus_product(by, vectors[from * width + c]);
    }
}

fn dot<W: Word>(a: &[W], b: &[W]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x.to_f64() * y.to_f64()).sum()
}

/// Make the basis vectors shorter by subtracting multiples of other vectors. Doubles choose the multiples.
/// Rounding can make a choice worse but never wrong, because every step is unimodular.
fn reduce<W: Word>(vectors: &mut [W], width: usize) {
    let count = vectors.len() / width;
    if count < 2 {
        return;
    }
    for _ in 0..ROUNDS {
        let mut changed = false;
        for by in 0..count {
            let norm = dot(
                &vectors[by * width..][..width],
                &vectors[by * width..][..width],
            );
            for at in (0..count).filter(|at| *at != by) {
                let share = dot(
                    &vectors[at * width..][..width],
                    &vectors[by * width..][..width],
                ) / norm;
                // 0.51 instead of 1/2: a step at a tie gains nothing, and the next round would undo it.
                if share.abs() > 0.51 {
                    add_multiple(vectors, width, at, W::from_f64(-rounded(share)), by);
                    changed = true;
                }
            }
        }
        if !changed {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_integer::Integer;
    use proptest::prelude::*;

    proptest! {
        /// The minors of a saturated lattice of rank 2 in Z³ have no common factor. They are its normal, up
        /// to a sign.
        #[test]
        fn a_cut_is_saturated(row in proptest::collection::vec(-999i64..1000, 3)) {
            prop_assume!(row.iter().any(|x| *x != 0));
            let gcd = row.iter().fold(0, |g: i64, x| g.gcd(x));
            let mut vectors: Vec<i64> = vec![1, 0, 0, 0, 1, 0, 0, 0, 1];
            cut(&mut vectors, &mut row.clone(), 3).unwrap();
            let (u, v) = vectors.split_at(3);
            let cross = [
                u[1] * v[2] - u[2] * v[1],
                u[2] * v[0] - u[0] * v[2],
                u[0] * v[1] - u[1] * v[0],
            ];
            let primitive: Vec<i64> = row.iter().map(|x| x / gcd).collect();
            let opposite: Vec<i64> = primitive.iter().map(|x| -x).collect();
            prop_assert!(cross[..] == primitive[..] || cross[..] == opposite[..]);
        }

        /// The same in doubles, up to the largest that a plane may have.
        #[test]
        fn a_line_is_saturated(
            row in proptest::array::uniform3(-(1i64 << 51)..1 << 51),
            shift in proptest::array::uniform3(0u32..52),
            factor in 1i64..4,
        ) {
            let row: [i64; 3] = std::array::from_fn(|k| (row[k] >> shift[k]) / factor * factor);
            prop_assume!(row.iter().any(|x| *x != 0));
            let alone = line(row.map(|x| x as f64));
            // In one lane, among others that are done sooner or later.
            let lane = (row[0].unsigned_abs() % LINES as u64) as usize;
            let column = |c: usize| -> [f64; LINES] {
                std::array::from_fn(|k| (row[c] >> (7 * (k.abs_diff(lane)))) as f64)
            };
            let columns = [column(0), column(1), column(2)];
            let levels = SimdLevel::available();
            let together = levels.into_iter().map(|simd| lines(simd, &columns)[lane]);
            let together: Vec<_> = together.collect();
            if row.iter().all(|x| x.abs() < 1 << 49) {
                prop_assert!(together.iter().all(|line| line.is_some() == alone.is_some()));
            }
            for [u, v] in together.into_iter().chain([alone]).flatten() {
                let [u, v] = [u, v].map(|w| w.map(|x| x as i128));
                let gcd = i128::from(row.iter().fold(0, |g: i64, x| g.gcd(x)));
                let cross = [
                    u[1] * v[2] - u[2] * v[1],
                    u[2] * v[0] - u[0] * v[2],
                    u[0] * v[1] - u[1] * v[0],
                ];
                let row = row.map(i128::from);
                prop_assert!(cross.map(|x| gcd * x) == row || cross.map(|x| -gcd * x) == row);
            }
        }
    }

    #[test]
    fn numbers_that_outgrow_the_word_are_noticed() {
        let large = 1i64 << 51;
        let mut vectors = vec![large, 1, 0, 1, large, 0, 1, 1, large];
        assert!(cut(&mut vectors, &mut [large - 1, 3, large - 7], 3).is_none());
    }
}
