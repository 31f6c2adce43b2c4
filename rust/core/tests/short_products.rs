//! Products with vectors of 16 bits, which are added up in integers where a row's code has integer
//! levels.

use half::{bf16, f16};
use hypercomp_core::SimdLevel;
use hypercomp_core::codec::numbers::element::Element;
use hypercomp_core::codec::{Codec, CompressedTensor, Payload, TrellisParams};
use proptest::prelude::*;

mod compressed;
mod layers;
use compressed::{bytes, codecs, compress, decompress, weights};
use layers::{layer, of};

/// A bound on the error of a product, relative to the norms of its factors: 50 dB. What the integer
/// levels miss is 60 dB below the levels, and what integer activations miss 59 dB below the vector, if
/// all of it is in one lane.
const BOUND: f64 = 3.16e-3;

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

/// W·x or Wᵀ·x of the decoded matrix, and the product of the norms of x and the part of W that makes
/// each result (all of it, transposed: it is transformed back as a whole).
fn exact(tensor: &CompressedTensor, x: &[f64], transposed: bool) -> Vec<(f64, f64)> {
    let [rows, columns] = tensor.shape()[..] else {
        panic!("a matrix")
    };
    let w: Vec<f64> = decompress(tensor);
    let size = norm(x.iter().copied());
    if transposed {
        let size = size * norm(w.iter().copied());
        let column = |c: usize| (0..rows).map(move |r| r * columns + c);
        return (0..columns)
            .map(|c| (column(c).zip(x).map(|(i, x)| w[i] * x).sum(), size))
            .collect();
    }
    w.chunks(columns)
        .map(|row| {
            let sum = row.iter().zip(x).map(|(w, x)| w * x).sum();
            (sum, size * norm(row.iter().copied()))
        })
        .collect()
}

/// Whether all units agree, a batch with each of its vectors alone, and all with the exact product.
fn agrees<T: Element>(
    tensor: &CompressedTensor,
    x: &[f32],
    bias: &[f32],
    transposed: bool,
    rounding: f64,
) -> Result<(), TestCaseError> {
    let inputs = tensor.shape()[usize::from(!transposed)];
    let (x, bias) = (of::<T>(x), of::<T>(bias));
    let batch = x.len() / inputs;
    let on = |simd| layer(tensor, simd, &x, batch, Some(&bias), transposed);
    let result = on(SimdLevel::detected());
    for simd in SimdLevel::available() {
        prop_assert_eq!(bytes(&on(simd)), bytes(&result), "{:?}", simd);
    }
    for (x, result) in x.chunks(inputs).zip(result.chunks(bias.len())) {
        let alone = layer(tensor, SimdLevel::detected(), x, 1, Some(&bias), transposed);
        prop_assert_eq!(bytes(&alone), bytes(result));
        let wide: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
        let expected = exact(tensor, &wide, transposed);
        for ((result, (sum, size)), bias) in result.iter().zip(expected).zip(&bias) {
            let (result, expected) = (result.to_f64(), sum + bias.to_f64());
            let bound = BOUND * size + rounding * (expected.abs() + BOUND * size) + 1e-7;
            prop_assert!(
                (result - expected).abs() <= bound,
                "{} {} {}",
                result,
                expected,
                bound
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_product_is_that_of_the_decoded_matrix(
        shape in prop_oneof![
            (1usize..40, 120usize..1400).prop_map(|(r, c)| [r, c]),
            (1usize..80, 1usize..40).prop_map(|(r, c)| [r, c]),
            (1usize..20, 1usize..4).prop_map(|(r, c)| [r, c * 512]),
            (30usize..80, 130usize..300).prop_map(|(r, c)| [r, c]),
            Just([2, 20_000]),
        ],
        codec in codecs(),
        batch in prop_oneof![1usize..9, Just(65usize)],
        transposed: bool,
        seed: u64,
    ) {
        let tensor = compress(&weights(&shape, seed), &shape, &codec);
        let inputs = shape[usize::from(!transposed)];
        let x = weights(&[batch * inputs], seed ^ 1);
        let bias = weights(&[shape[usize::from(transposed)]], seed ^ 2);
        agrees::<f16>(&tensor, &x, &bias, transposed, 1.0 / 2048.0)?;
        agrees::<bf16>(&tensor, &x, &bias, transposed, 1.0 / 256.0)?;
    }
}

/// Rows of 4 bits, of 8 (which have no integer levels), and of zeros.
fn of_many_rates() -> CompressedTensor {
    let shape = [70, 1500];
    let mut w = weights(&shape, 9);
    for (r, row) in w.chunks_mut(1500).enumerate() {
        let size = [1.0, 1e-3, 0.0, 1.0, 30.0][r % 5];
        row.iter_mut().for_each(|w| *w *= size);
    }
    let tensor = compress(
        &w,
        &shape,
        &Codec::Trellis(TrellisParams::new(4.3, 8, Some(3))),
    );
    let Payload::Trellis(streams) = tensor.payload() else {
        panic!("a trellis")
    };
    assert!(streams.rates.iter().any(|rate| (1..=10).contains(rate)));
    assert!(streams.rates.iter().any(|rate| *rate > 10));
    assert!(streams.rates.contains(&0));
    tensor
}

#[test]
fn rows_of_all_rates_are_multiplied_side_by_side() {
    let tensor = of_many_rates();
    for transposed in [false, true] {
        let inputs = tensor.shape()[usize::from(!transposed)];
        let bias = vec![0.5; tensor.shape()[usize::from(transposed)]];
        for batch in [1, 5] {
            let x = weights(&[inputs * batch], 4);
            agrees::<bf16>(&tensor, &x, &bias, transposed, 1.0 / 256.0).unwrap();
        }
    }
}

#[test]
fn a_vector_that_cannot_be_integers_is_multiplied_in_floats() {
    let tensor = of_many_rates();
    for transposed in [false, true] {
        let inputs = tensor.shape()[usize::from(!transposed)];
        let tame = weights(&[inputs], 4);
        for wild in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-38] {
            let mut x = [&tame[..], &tame, &tame].concat();
            if wild == 1e-38 {
                x[inputs..2 * inputs].fill(0.0);
            }
            x[inputs] = wild;
            let x: Vec<bf16> = of(&x);
            let outputs = tensor.shape()[usize::from(transposed)];
            let result = layer(&tensor, SimdLevel::detected(), &x, 3, None, transposed);
            for simd in SimdLevel::available() {
                let same = layer(&tensor, simd, &x, 3, None, transposed);
                assert_eq!(bytes(&same), bytes(&result));
            }
            let alone = layer(
                &tensor,
                SimdLevel::detected(),
                &x[..inputs],
                1,
                None,
                transposed,
            );
            assert_eq!(bytes(&result[..outputs]), bytes(&alone));
            assert_eq!(bytes(&result[2 * outputs..]), bytes(&alone));
            let mut wide = Vec::new();
            bf16::widen(&x[inputs..2 * inputs], SimdLevel::detected(), &mut wide);
            let floats = layer(&tensor, SimdLevel::detected(), &wide, 1, None, transposed);
            let floats: Vec<bf16> = of(&floats);
            let near = |a: &bf16, b: &bf16| {
                let (a, b) = (a.to_f64(), b.to_f64());
                a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 0.01 * b.abs()
            };
            let pairs = result[outputs..2 * outputs].iter().zip(&floats);
            assert!(
                pairs.clone().all(|(a, b)| near(a, b)),
                "{wild} {transposed}"
            );
        }
    }
}

#[test]
fn products_of_gaussian_vectors_are_fifty_five_decibels_exact() {
    let sum_of_twelve = |seed: u64, count: usize| -> Vec<f32> {
        let mut state = seed;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        (0..count)
            .map(|_| (0..12).map(|_| uniform()).sum())
            .collect()
    };
    for (bits, window) in [
        (2.0, 8),
        (3.5, 10),
        (4.0, 8),
        (4.0, 10),
        (4.0, 12),
        (5.0, 10),
    ] {
        let shape = [192, 1024];
        let codec = Codec::Trellis(TrellisParams::new(bits, window, Some(1)));
        let tensor = compress(&sum_of_twelve(1, 192 * 1024), &shape, &codec);
        for transposed in [false, true] {
            let x = of::<f16>(&sum_of_twelve(7, shape[usize::from(!transposed)]));
            let wide: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
            let result = layer(&tensor, SimdLevel::detected(), &x, 1, None, transposed);
            let (mut error, mut signal) = (0.0, 0.0);
            for (y, (exact, _)) in result.iter().zip(exact(&tensor, &wide, transposed)) {
                error += (y.to_f64() - exact).powi(2);
                signal += exact * exact;
            }
            let db = 10.0 * (error / signal).log10();
            assert!(db < -55.0, "{bits} bits, window {window}: {db:.1} dB");
        }
    }
}
