//! Integer products in plain Rust.

use super::column;
use crate::codec::kernels::decode::BLOCK;
use crate::codec::kernels::decode::integer::PAIR;
use crate::codec::kernels::product::Sums;

/// See [`accumulate`](super::accumulate).
pub fn accumulate(len: usize, rows: &[i16], vectors: &[i16], units: &[f32], sums: &mut [Sums]) {
    let mut sums = sums.iter_mut();
    for row in rows.chunks_exact(len) {
        for ((vector, unit), sums) in vectors.chunks_exact(len).zip(units).zip(&mut sums) {
            let mut whole = [0i32; BLOCK];
            let pairs = row.as_chunks::<PAIR>().0.iter();
            for (row, vector) in pairs.zip(vector.as_chunks::<PAIR>().0) {
                for (i, (a, b)) in row.iter().zip(vector).enumerate() {
                    whole[i / 2] += i32::from(*a) * i32::from(*b);
                }
            }
            for (sum, whole) in sums.iter_mut().zip(whole) {
                *sum = (whole as f32).mul_add(*unit, *sum);
            }
        }
    }
}

/// See [`add_rows`](super::add_rows).
pub fn add_rows(rows: &[i16], factors: &[i16], one: f32, sums: &mut [f32]) {
    let len = sums.len();
    for (i, sum) in sums.iter_mut().enumerate() {
        let (column, pair) = (column(i) % PAIR, i / PAIR * PAIR);
        let word = pair + column % BLOCK * 2 + column / BLOCK;
        let products = rows.chunks_exact(len).zip(factors);
        let whole: i32 = products
            .map(|(row, factor)| i32::from(row[word]) * i32::from(*factor))
            .sum();
        *sum = (whole as f32).mul_add(one, *sum);
    }
}
