//! Products with a compressed matrix against decompressing and multiplying in `f64`.

use half::f16;
use hypercomp_core::codec::WindingParams;
use hypercomp_core::codec::numbers::element::PowerOfTwo;
use hypercomp_core::codec::trellis::CodeSet;
use hypercomp_core::codec::{Codec, CompressedTensor, Linear, SecondMoment, TrellisParams};
use hypercomp_core::team::CurrentPool;
use hypercomp_core::{Control, ErrorKind, SimdLevel};
use proptest::prelude::*;

mod compressed;
mod layers;
use compressed::{bytes, codecs, compress, decompress, weights};
use layers::{layer, of};

fn matmul(tensor: &CompressedTensor, simd: SimdLevel, x: &[f32], batch: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; tensor.shape()[0] * batch];
    tensor
        .matmul_on(simd, &CurrentPool, x, batch, &mut out, &Control::new())
        .unwrap();
    out
}

fn vectors(count: usize, seed: u64) -> Vec<f32> {
    weights(&[count], seed).iter().map(|x| x + 0.01).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_product_is_that_of_the_decoded_matrix(
        shape in prop_oneof![
            (1usize..40, 120usize..1400).prop_map(|(r, c)| [r, c]),
            (1usize..80, 1usize..40).prop_map(|(r, c)| [r, c]),
            (0usize..3, 0usize..3).prop_map(|(r, c)| [r, c]),
            (1usize..20, 1usize..4).prop_map(|(r, c)| [r, c * 512]),
            Just([2, 20_000]),
        ],
        codec in codecs(),
        batch in prop_oneof![0usize..9, Just(65usize), Just(130)],
        seed: u64,
        power in -150i32..100,
    ) {
        let [rows, columns] = shape;
        let scaled: Vec<f64> = weights(&shape, seed)
            .iter()
            .map(|w| PowerOfTwo::new(power).times(f64::from(*w)))
            .collect();
        let tensor = compress(&scaled, &shape, &codec);
        let decoded: Vec<f64> = decompress(&tensor);
        let x = vectors(batch * columns, seed ^ 1);
        let results: Vec<Vec<f32>> =
            SimdLevel::available().into_iter().map(|simd| matmul(&tensor, simd, &x, batch)).collect();
        for result in &results {
            prop_assert_eq!(bytes(result), bytes(&results[0]));
        }
        for v in 0..batch {
            let x = &x[v * columns..][..columns];
            let alone = matmul(&tensor, SimdLevel::detected(), x, 1);
            for r in 0..rows {
                let result = results[0][v * rows + r];
                prop_assert_eq!(result.to_bits(), alone[r].to_bits());
                let row = &decoded[r * columns..][..columns];
                let products = || row.iter().zip(x).map(|(w, x)| w * f64::from(*x));
                // The rounding of the transform depends on norms, that of a sum on its terms.
                let norm = |of: &mut dyn Iterator<Item = f64>| of.map(|v| v * v).sum::<f64>().sqrt();
                let scale = norm(&mut row.iter().copied()) * norm(&mut x.iter().map(|x| f64::from(*x)));
                let bound = 3e-6 * scale + f64::from(f32::MIN_POSITIVE);
                let exact = products().sum::<f64>();
                prop_assert!((f64::from(result) - exact).abs() <= bound, "{} {} {}", result, exact, bound);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_transposed_product_is_that_of_the_decoded_matrix(
        shape in prop_oneof![
            (1usize..40, 120usize..1400).prop_map(|(r, c)| [r, c]),
            (1usize..80, 1usize..40).prop_map(|(r, c)| [r, c]),
            (0usize..3, 0usize..3).prop_map(|(r, c)| [r, c]),
            (1usize..20, 1usize..4).prop_map(|(r, c)| [r, c * 512]),
            Just([2, 20_000]),
        ],
        codec in codecs(),
        batch in prop_oneof![0usize..9, Just(65usize)],
        seed: u64,
        power in -60i32..60,
    ) {
        let [rows, columns] = shape;
        let scaled: Vec<f64> = weights(&shape, seed)
            .iter()
            .map(|w| PowerOfTwo::new(power).times(f64::from(*w)))
            .collect();
        let tensor = compress(&scaled, &shape, &codec);
        let decoded: Vec<f64> = decompress(&tensor);
        let x = vectors(batch * rows, seed ^ 1);
        let transposed = |simd, x: &[f32], batch: usize| {
            let mut out = vec![f32::NAN; columns * batch];
            let linear = Linear { x, batch, bias: None, transposed: true };
            tensor.linear_on(simd, &CurrentPool, linear, &mut out, &Control::new()).unwrap();
            out
        };
        let results: Vec<Vec<f32>> =
            SimdLevel::available().into_iter().map(|simd| transposed(simd, &x, batch)).collect();
        for result in &results {
            prop_assert_eq!(bytes(result), bytes(&results[0]));
        }
        let norm = |of: &mut dyn Iterator<Item = f64>| of.map(|v| v * v).sum::<f64>().sqrt();
        let whole = norm(&mut decoded.iter().copied());
        for v in 0..batch {
            let x = &x[v * rows..][..rows];
            let result = &results[0][v * columns..][..columns];
            prop_assert_eq!(bytes(result), bytes(&transposed(SimdLevel::detected(), x, 1)));
            let bound = 2e-6 * whole * norm(&mut x.iter().map(|x| f64::from(*x)))
                + f64::from(f32::MIN_POSITIVE);
            for (c, result) in result.iter().enumerate() {
                let products = x.iter().enumerate();
                let exact: f64 = products.map(|(r, x)| decoded[r * columns + c] * f64::from(*x)).sum();
                prop_assert!((f64::from(*result) - exact).abs() <= bound, "{} {} {}", result, exact, bound);
            }
        }
    }

    #[test]
    fn a_layer_of_a_wide_type_is_its_product_rounded_once(
        codec in codecs(), batch in 0usize..4, seed: u64, transposed: bool,
    ) {
        let tensor = compress(&weights(&[40, 300], seed), &[40, 300], &codec);
        let (inputs, outputs) = if transposed { (40, 300) } else { (300, 40) };
        let (x, bias) = (vectors(batch * inputs, seed ^ 1), vectors(outputs, seed ^ 2));
        let product = layer(&tensor, SimdLevel::detected(), &x, batch, None, transposed);
        let sums: Vec<f32> =
            product.iter().enumerate().map(|(i, y)| y + bias[i % outputs]).collect();
        prop_assert_eq!(&layer(&tensor, SimdLevel::detected(), &x, batch, Some(&bias), transposed), &sums);
        let (x, bias) = (of::<f64>(&x), of::<f64>(&bias));
        let wide = layer(&tensor, SimdLevel::detected(), &x, batch, Some(&bias), transposed);
        prop_assert_eq!(wide, of::<f64>(&sums));
    }
}

#[test]
fn products_do_not_depend_on_the_number_of_threads() {
    let shape = [150, 1000];
    let x = vectors(1000 * 3, 5);
    for codec in [
        Codec::Winding(WindingParams::default()),
        Codec::Trellis(TrellisParams::new(3.6, 8, Some(1))),
        Codec::Trellis(TrellisParams {
            code_set: CodeSet::SECOND,
            ..TrellisParams::new(3.6, 8, Some(1))
        }),
    ] {
        let tensor = compress(&weights(&shape, 2), &shape, &codec);
        let expected = matmul(&tensor, SimdLevel::detected(), &x, 3);
        let transposed = || {
            let (x, batch, bias) = (&x[..900], 6, None);
            let linear = Linear {
                x,
                batch,
                bias,
                transposed: true,
            };
            let mut out = vec![f32::NAN; 6 * 1000];
            tensor
                .linear_on(
                    SimdLevel::detected(),
                    &CurrentPool,
                    linear,
                    &mut out,
                    &Control::new(),
                )
                .unwrap();
            out
        };
        let expected_transposed = transposed();
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let result = pool.install(|| matmul(&tensor, SimdLevel::detected(), &x, 3));
            assert_eq!(result, expected);
            assert_eq!(pool.install(transposed), expected_transposed);
        }
    }
}

#[test]
fn products_of_the_wrong_size_are_refused() {
    let refused = |shape: &[usize], x: usize, batch: usize, out: usize| {
        let tensor = compress(
            &weights(shape, 1),
            shape,
            &Codec::Winding(WindingParams::default()),
        );
        let (x, mut out) = (vec![0.0; x], vec![0.0; out]);
        let error = tensor
            .matmul(&x, batch, &mut out, &Control::new())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.message().to_owned()
    };
    assert!(refused(&[4, 5, 6], 30, 1, 4).contains("two axes"));
    assert!(refused(&[20], 20, 1, 1).contains("two axes"));
    assert!(refused(&[4, 5], 6, 1, 4).contains("vectors of 6"));
    assert!(refused(&[4, 5], 10, 2, 4).contains("results of 4"));
    assert!(refused(&[4, 5], 5, usize::MAX, 4).contains("batch"));
    let tensor = compress(
        &[1.0f32; 20],
        &[4, 5],
        &Codec::Trellis(TrellisParams::new(4.0, 8, None)),
    );
    let (team, control) = (&CurrentPool, Control::new());
    for (bias, transposed) in [(3, false), (5, false), (4, true)] {
        let (x, bias) = (
            if transposed {
                [1.0; 4].as_slice()
            } else {
                &[1.0; 5]
            },
            vec![0.0; bias],
        );
        let linear = Linear {
            x,
            batch: 1,
            bias: Some(&bias),
            transposed,
        };
        let mut out = vec![0.0; 9 - x.len()];
        let error = tensor
            .linear_on(SimdLevel::detected(), team, linear, &mut out, &control)
            .unwrap_err();
        assert!(error.message().contains("a bias of"), "{error}");
    }
    let tensor = compress(
        &weights(&[200, 500], 1),
        &[200, 500],
        &Codec::Winding(WindingParams::default()),
    );
    let control = Control::new();
    control.cancel();
    let error = tensor
        .matmul(&[1.0; 500], 1, &mut [0.0; 200], &control)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn columns_that_a_mask_takes_out_of_every_row_are_passed_over() {
    // Pieces of 1024 outputs, of which the first is masked as a whole; and a few alone.
    let (outputs, inputs) = (3000, 24);
    let is_zero = |output: usize| output < 1100 || output.is_multiple_of(700) || output == 2999;
    let mut w: Vec<f32> = vectors(outputs * inputs, 5);
    for (output, row) in w.chunks_mut(inputs).enumerate() {
        if is_zero(output) {
            row.fill(0.0);
        }
    }
    let mut moment = vec![0.5; inputs * inputs];
    for i in 0..inputs {
        moment[i * inputs + i] = 1.0 + i as f32;
    }
    let moment = SecondMoment {
        matrix: &moment,
        damping: 0.01,
        input_axis: 1,
    };
    for code_set in [CodeSet::FIRST, CodeSet::SECOND] {
        let params = TrellisParams {
            code_set,
            ..TrellisParams::new(4.0, 8, Some(3))
        };
        let tensor = CompressedTensor::compress_for(
            &w,
            &[outputs, inputs],
            &params,
            moment,
            &Control::new(),
        )
        .unwrap();
        let decoded: Vec<f64> = decompress(&tensor);
        let (x, y) = (vectors(3 * inputs, 6), vectors(3 * outputs, 7));
        let bias = vectors(outputs, 8);
        let sum = |pairs: &mut dyn Iterator<Item = (f64, f32)>| -> f64 {
            pairs.map(|(w, x)| w * f64::from(x)).sum()
        };
        for simd in SimdLevel::available() {
            let forward = layer(&tensor, simd, &x, 3, Some(&bias), false);
            let back = layer(&tensor, simd, &y, 3, None, true);
            for v in 0..3 {
                for output in 0..outputs {
                    let result = forward[v * outputs + output];
                    let row = decoded[output * inputs..].iter().copied();
                    let exact = sum(&mut row.zip(x[v * inputs..][..inputs].iter().copied()));
                    let exact = exact + f64::from(bias[output]);
                    assert!((f64::from(result) - exact).abs() < 1e-4, "{result} {exact}");
                    assert!(!is_zero(output) || result == bias[output]);
                }
                for input in 0..inputs {
                    let column = decoded[input..].iter().step_by(inputs).copied();
                    let exact = sum(&mut column.zip(y[v * outputs..][..outputs].iter().copied()));
                    let result = back[v * inputs + input];
                    assert!((f64::from(result) - exact).abs() < 1e-3, "{result} {exact}");
                }
            }
            let halves = layer(&tensor, simd, &of::<f16>(&x), 3, None, false);
            for (output, result) in halves.iter().enumerate() {
                assert!(!is_zero(output % outputs) || *result == f16::ZERO);
                let exact = forward[output] - bias[output % outputs];
                assert!((result.to_f32() - exact).abs() < 0.02 * (1.0 + exact.abs()));
            }
        }
    }
}
