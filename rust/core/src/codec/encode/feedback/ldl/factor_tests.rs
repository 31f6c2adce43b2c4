//! The factorisation against its definition, and matrices that cannot be factorised.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::factor::Factor;
use crate::codec::numbers::element::PowerOfTwo;
use crate::codec::numbers::gaussian::gaussian;
use crate::{Control, ErrorKind, SimdLevel};

/// X·Xᵀ of Gaussian samples, and a little more of the identity.
fn moment(inputs: usize, samples: usize, seed: u64) -> Vec<f64> {
    let x = gaussian(seed, (inputs * samples).max(1));
    let row = |i: usize| &x[i * samples..(i + 1) * samples];
    let dot = |i: usize, j: usize| -> f64 {
        let products = row(i).iter().zip(row(j));
        products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let mut matrix: Vec<f64> = (0..inputs * inputs)
        .map(|at| dot(at / inputs, at % inputs))
        .collect();
    for i in 0..inputs {
        matrix[i * (inputs + 1)] += 0.01 * samples as f64;
    }
    matrix
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_factors_multiply_to_the_matrix(
        inputs in prop_oneof![1usize..40, 120usize..300], samples in 1usize..60, seed: u64,
        exponent in -1000i32..1000,
    ) {
        let matrix = moment(inputs, samples, seed);
        let scale = PowerOfTwo::new(exponent);
        let scaled: Vec<f64> = matrix.iter().map(|h| scale.times(*h)).collect();
        let factor = Factor::new(&scaled, inputs, 0.0, &Control::new()).unwrap();
        // D is in units of a power of two.
        let last = inputs - 1;
        let unit = matrix[inputs * inputs - 1] / factor.pivot(last);
        let largest = matrix.iter().fold(0.0f64, |most, h| most.max(h.abs()));
        let u = |i: usize, j: usize| match i.cmp(&j) {
            Ordering::Less => factor.feedback(i, j),
            Ordering::Equal => 1.0,
            Ordering::Greater => 0.0,
        };
        for i in 0..inputs {
            for j in i..inputs {
                let product: f64 = (j..inputs).map(|k| u(i, k) * factor.pivot(k) * u(j, k)).sum();
                let (product, exact) = (unit * product, matrix[i * inputs + j]);
                prop_assert!((product - exact).abs() <= 1e-11 * largest, "{i} {j}: {product} {exact}");
            }
        }
    }
}

#[test]
fn every_unit_and_any_threads_give_the_same_bits() {
    let matrix = moment(333, 200, 4);
    let on = |simd: SimdLevel, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let factor = pool
            .unwrap()
            .install(|| Factor::on(simd, &matrix, 333, 0.01, &Control::new()))
            .unwrap();
        let mut bits: Vec<u64> = (0..333).map(|j| factor.pivot(j).to_bits()).collect();
        for j in 0..333 {
            bits.extend((0..j).map(|i| factor.feedback(i, j).to_bits()));
        }
        bits
    };
    let plain = on(SimdLevel::Portable, 1);
    for simd in SimdLevel::available() {
        for threads in [1, 3] {
            assert!(on(simd, threads) == plain, "{simd:?} {threads}");
        }
    }
}

#[test]
fn what_is_no_second_moment_is_refused_by_name() {
    let error = |matrix: &[f64], damping: f64| {
        let inputs = matrix.len().isqrt();
        Factor::new(matrix, inputs, damping, &Control::new()).unwrap_err()
    };
    for (matrix, damping, says) in [
        (&[1.0, 0.0, 0.5, 1.0][..], 0.0, "symmetric"),
        (&[1.0, 2.0, 2.0, 1.0], 0.1, "[0, 1]"),
        (&[1.0, 1.0, 1.0, 1.0], 0.0, "at input 0"),
        (&[0.0, 0.0, 0.0, 0.0], 0.1, "zeros"),
        (&[-1.0, 0.0, 0.0, 1.0], 0.1, "[0, 0]"),
        (&[1.0, 1e-3, 1e-3, 0.0], 0.0, "[0, 1]"),
        (&[1.0, 0.0, 0.0, 1.0], -1.0, "damping"),
        (&[1.0, 0.0, 0.0, 1.0], f64::INFINITY, "damping"),
    ] {
        let error = error(matrix, damping);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(says), "{error}");
    }
    let error = error(&[1.0, f64::NAN, 0.0, 1.0], 0.1);
    assert_eq!(error.kind(), ErrorKind::NonFinite);
    assert!(error.message().contains("[0, 1]"), "{error}");
    assert!(Factor::new(&[1.0f64; 5], 2, 0.1, &Control::new()).is_err());
    let control = Control::new();
    control.cancel();
    let stopped = Factor::new(&moment(200, 10, 1), 200, 0.1, &control).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Cancelled);
}

#[test]
fn an_input_that_never_varies_feeds_nothing_back() {
    let matrix = [2.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 2.0];
    let factor = Factor::new(&matrix, 3, 0.0, &Control::new()).unwrap();
    assert_eq!(factor.pivot(1), 0.0);
    assert_eq!([factor.feedback(0, 1), factor.feedback(1, 2)], [0.0, 0.0]);
    assert!((factor.feedback(0, 2) - 0.5).abs() < 1e-15);
}

#[test]
fn what_underflowed_on_the_diagonal_only_is_an_input_that_never_varies() {
    // Squares of 1e-31 are zeros in f32, and their products with others are not.
    let matrix = [1.0f32, 0.0, 0.5, 0.0, 0.0, -1e-31, 0.5, -1e-31, 1.0];
    let factor = Factor::new(&matrix, 3, 0.01, &Control::new()).unwrap();
    assert_eq!([factor.feedback(0, 1), factor.feedback(1, 2)], [0.0, 0.0]);
    assert!(factor.feedback(0, 2) > 0.4);
}
