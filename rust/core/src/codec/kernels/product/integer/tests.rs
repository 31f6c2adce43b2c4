//! Every vector unit against plain integers.

use proptest::prelude::*;

use super::*;
use crate::codec::kernels::decode::integer::LANE;

fn value(i: usize, seed: u32) -> i16 {
    ((i as u32 + 1).wrapping_mul(2_654_435_761) ^ seed) as i16
}

proptest! {
    #[test]
    fn every_unit_gives_the_same_bits(
        rows in 0usize..10, batch in 0usize..16, pairs in 1usize..5, seed: u32,
    ) {
        let len = pairs * PAIR;
        let levels: Vec<i16> = (0..rows * len).map(|i| value(i, seed)).collect();
        let vectors: Vec<i16> = (0..batch * len).map(|i| value(i + 77_777, seed) >> 5).collect();
        let units: Vec<f32> = (0..batch).map(|i| 0.5 + i as f32).collect();
        for simd in SimdLevel::available() {
            let mut sums = vec![[0.25f32; BLOCK]; rows * batch];
            accumulate(simd, len, &levels, &vectors, &units, &mut sums);
            for (i, sums) in sums.iter().enumerate() {
                let (row, vector) = (i / batch, i % batch);
                for (lane, sum) in sums.iter().enumerate() {
                    let words = (0..len).filter(|word| word % PAIR / 2 == lane);
                    let whole: i64 = words
                        .map(|w| i64::from(levels[row * len + w]) * i64::from(vectors[vector * len + w]))
                        .sum();
                    let expected = (whole as f32).mul_add(units[vector], 0.25);
                    prop_assert_eq!(sum.to_bits(), expected.to_bits(), "{:?}", simd);
                }
            }
        }
    }

    #[test]
    fn every_unit_adds_rows_alike(half in 0usize..=GROUP / 2, pairs in 0usize..8, seed: u32) {
        let (rows, len) = (2 * half, pairs * PAIR);
        let levels: Vec<i16> = (0..rows * len).map(|i| value(i, seed)).collect();
        let factors: Vec<i16> = (0..rows).map(|i| value(i + 999, seed) / GROUP as i16).collect();
        prop_assert!(factors.iter().map(|f| i32::from(*f).abs()).sum::<i32>() <= LANE);
        for simd in SimdLevel::available() {
            let mut sums = vec![0.25f32; len];
            add_rows(simd, &levels, &factors, 0.3, &mut sums);
            for (i, sum) in sums.iter().enumerate() {
                let column = column(i);
                let word = column / PAIR * PAIR + column % BLOCK * 2 + column % PAIR / BLOCK;
                let whole: i64 = factors
                    .iter()
                    .enumerate()
                    .map(|(r, f)| i64::from(levels[r * len + word]) * i64::from(*f))
                    .sum();
                let expected = (whole as f32).mul_add(0.3, 0.25);
                prop_assert_eq!(sum.to_bits(), expected.to_bits(), "{:?} {}", simd, i);
            }
        }
    }
}

#[test]
fn every_column_has_a_place() {
    let mut columns: Vec<usize> = (0..3 * PAIR).map(column).collect();
    columns.sort_unstable();
    assert!(columns.iter().copied().eq(0..3 * PAIR));
}
