//! Decoding as a user of the crate meets it: every shape and rate against the plain decoder, and any
//! range against the whole.

use half::{bf16, f16};
use hypercomp_core::codec::bitstream::Reader;
use hypercomp_core::codec::decode::Unit;
use hypercomp_core::codec::element::{Element, PowerOfTwo};
use hypercomp_core::codec::hadamard::Incoherence;
use hypercomp_core::codec::layout::Layout;
use hypercomp_core::codec::tensor::{
    Codec, CompressedTensor, Linear, Payload, Streams, TrellisParams,
};
use hypercomp_core::codec::trellis::Trellis;
use hypercomp_core::codec::winding::WindingParams;
use hypercomp_core::team::CurrentPool;
use hypercomp_core::{Control, ErrorKind};
use proptest::prelude::*;

/// Weights of many magnitudes, with rows of zeros.
fn weights(shape: &[usize], mut state: u64) -> Vec<f32> {
    let row = shape.last().copied().unwrap_or(1).max(1);
    (0..shape.iter().product::<usize>())
        .map(|i| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let uniform = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            let size = [1.0, 0.1, 0.0, 3.0, 0.01][i / row % 5];
            // Zeros alone and in rows, for masks.
            let kept = f32::from(u8::from(state >> 61 != 0));
            kept * size * uniform * uniform * uniform
        })
        .collect()
}

fn compress<T: Element>(weights: &[T], shape: &[usize], codec: &Codec) -> CompressedTensor {
    CompressedTensor::compress(weights, shape, codec, &Control::new()).unwrap()
}

fn decompress<T: Element>(tensor: &CompressedTensor) -> Vec<T> {
    let mut out = vec![T::default(); tensor.len()];
    tensor.decompress(&mut out, &Control::new()).unwrap();
    out
}

fn bytes<T: Element>(values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|v| v.push_le(&mut bytes));
    bytes
}

/// All weights, bit by bit: a chain at a time from its start, with no vector and no table of places.
fn plain<T: Element>(streams: &Streams, shape: &[usize]) -> Vec<T> {
    let layout = Layout::new(shape);
    let power = PowerOfTwo::new(streams.exponent.into());
    let (mut path_bit, mut cell_bit) = (0usize, 0usize);
    let mut out = Vec::new();
    for chain in 0..layout.chains() {
        let start = path_bit;
        for stream in layout.chain(chain) {
            let weights = layout.stream(stream);
            let coded = match &streams.mask {
                Some(mask) => weights.clone().filter(|at| mask.contains(*at)).count(),
                None => weights.len(),
            };
            let mut values = vec![0.0f32; coded];
            let rate = usize::from(streams.rates[stream]);
            if rate > 0 {
                let trellis = Trellis::pinned(rate as u32, streams.window).unwrap();
                let mut path = Reader::starting_at(&streams.path, 1, start);
                let mask = (1 << streams.window) - 1;
                let register =
                    (start..path_bit).fold(0, |r, _| (r << 1 | path.next_field() as usize) & mask);
                let cell_bits = trellis.code.cell_bits();
                let cells = Reader::starting_at(&streams.cells, cell_bits, cell_bit);
                let scale = streams.grid.scale(streams.scales[stream]);
                trellis.decode(&mut path, cells, register, scale, &mut values);
                path_bit += trellis.code.path_len(values.len());
                cell_bit += trellis.code.cells_len(values.len());
                if let Some(seed) = streams.seed {
                    Incoherence::on(Unit::Portable, seed, values.len()).inverse(&mut values);
                }
            }
            let mut values = values.into_iter();
            for at in weights {
                let zero = streams.mask.as_ref().is_some_and(|mask| !mask.contains(at));
                let value = if zero { 0.0 } else { values.next().unwrap() };
                out.push(T::from_f64(power.times(f64::from(value))));
            }
        }
        path_bit = path_bit.next_multiple_of(8);
        cell_bit = cell_bit.next_multiple_of(8);
    }
    out
}

fn decodes_alike<T: Element>(
    tensor: &CompressedTensor,
    streams: &Streams,
) -> Result<(), TestCaseError> {
    let (fast, slow) = (decompress::<T>(tensor), plain::<T>(streams, tensor.shape()));
    prop_assert_eq!(fast.len(), slow.len());
    for (i, (a, b)) in fast.into_iter().zip(slow).enumerate() {
        prop_assert!(
            bytes(&[a]) == bytes(&[b]),
            "{} {}: {} {}",
            T::DTYPE.name(),
            i,
            a.to_f64(),
            b.to_f64()
        );
    }
    Ok(())
}

/// Shapes whose rows are kept, cut into pieces, joined, and odd.
fn shapes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        (1usize..12, 120usize..700).prop_map(|(r, c)| vec![r, c]),
        (1usize..4, 1usize..5).prop_map(|(r, c)| vec![r, c * 256]),
        (1usize..80, 1usize..40).prop_map(|(r, c)| vec![r, c]),
        (1usize..6, 1usize..9, 1usize..5).prop_map(|(a, b, c)| vec![a, b, c, 3]),
        (1usize..3, 1000usize..5000).prop_map(|(r, c)| vec![r, c]),
        (0usize..2000).prop_map(|n| vec![n]),
        Just(vec![2, 20_000]),
        Just(vec![]),
        Just(vec![3, 0, 5]),
    ]
}

fn codecs() -> impl Strategy<Value = Codec> {
    let window = prop_oneof![Just(8u32), Just(10), Just(12)];
    prop_oneof![
        4 => (0.5f64..8.5, window, any::<Option<u64>>(), any::<bool>()).prop_map(
            |(bits, window, seed, keep_zeros)| {
                // Which are zero takes a bit at the most, and its tables in small tensors.
                let bits = if keep_zeros { bits.max(2.0) } else { bits };
                let params = TrellisParams::new(bits, window, seed);
                Codec::Trellis(TrellisParams { keep_zeros, ..params })
            }
        ),
        1 => (1usize..5).prop_map(|group| {
            Codec::Winding(WindingParams { group, samples: 200, ..WindingParams::default() })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_tensor_decodes_like_the_plain_decoder(
        shape in shapes(), codec in codecs(), seed: u64, power in -150i32..130,
    ) {
        let weights: Vec<f64> = weights(&shape, seed)
            .iter()
            .map(|w| PowerOfTwo::new(power).times(f64::from(*w)))
            .collect();
        let tensor = compress(&weights, &shape, &codec);
        if let Payload::Trellis(streams) = tensor.payload() {
            decodes_alike::<f32>(&tensor, streams)?;
            decodes_alike::<f64>(&tensor, streams)?;
            decodes_alike::<f16>(&tensor, streams)?;
            decodes_alike::<bf16>(&tensor, streams)?;
        }
    }

    #[test]
    fn any_range_decodes_as_in_the_whole(
        shape in shapes(), codec in codecs(), seed: u64, ends in proptest::collection::vec(any::<usize>(), 10),
    ) {
        let tensor = compress(&weights(&shape, seed), &shape, &codec);
        let whole: Vec<f32> = decompress(&tensor);
        for pair in ends.chunks(2) {
            let (a, b) = (pair[0] % (whole.len() + 1), pair[1] % (whole.len() + 1));
            for range in [a.min(b)..a.max(b), a..a.saturating_add(1).min(whole.len())] {
                let mut out = vec![f32::NAN; range.len()];
                tensor.decompress_range(range.clone(), &mut out, &Control::new()).unwrap();
                prop_assert_eq!(bytes(&out), bytes(&whole[range]));
            }
        }
    }
}

#[test]
fn the_widest_window_decodes_like_the_plain_decoder() {
    let shape = [3, 200];
    for seed in [None, Some(3)] {
        let codec = Codec::Trellis(TrellisParams::new(3.3, 16, seed));
        let tensor = compress(&weights(&shape, 1), &shape, &codec);
        let Payload::Trellis(streams) = tensor.payload() else {
            panic!("a trellis was asked for");
        };
        assert_eq!(decompress::<f32>(&tensor), plain::<f32>(streams, &shape));
    }
}

#[test]
fn long_ranges_are_decoded_in_parallel_and_the_same() {
    let shape = [130, 1500];
    let codec = Codec::Trellis(TrellisParams::new(2.5, 8, Some(1)));
    let tensor = compress(&weights(&shape, 2), &shape, &codec);
    let Payload::Trellis(streams) = tensor.payload() else {
        panic!("a trellis was asked for");
    };
    let whole = plain::<f32>(streams, &shape);
    let range = 777..whole.len() - 1234;
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let mut out = vec![0.0f32; range.len()];
        pool.install(|| tensor.decompress_range(range.clone(), &mut out, &Control::new()))
            .unwrap();
        assert_eq!(out, whole[range.clone()]);
    }
}

#[test]
fn a_range_beyond_the_tensor_is_refused() {
    let tensor = compress(
        &[1.0f32; 40],
        &[40],
        &Codec::Winding(WindingParams::default()),
    );
    let control = Control::new();
    for (range, places) in [(0..41, 41), (41..41, 0), (3..5, 3)] {
        let error = tensor
            .decompress_range(range, &mut vec![0.0f32; places], &control)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    control.cancel();
    let error = tensor.decompress(&mut [0.0f32; 40], &control).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

fn matmul(tensor: &CompressedTensor, unit: Unit, x: &[f32], batch: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; tensor.shape()[0] * batch];
    tensor
        .matmul_on(unit, &CurrentPool, x, batch, &mut out, &Control::new())
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
            Unit::available().into_iter().map(|unit| matmul(&tensor, unit, &x, batch)).collect();
        for result in &results {
            prop_assert_eq!(bytes(result), bytes(&results[0]));
        }
        for v in 0..batch {
            let x = &x[v * columns..][..columns];
            let alone = matmul(&tensor, Unit::detect(), x, 1);
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
        let transposed = |unit, x: &[f32], batch: usize| {
            let mut out = vec![f32::NAN; columns * batch];
            let linear = Linear { x, batch, bias: None, transposed: true };
            tensor.linear_on(unit, &CurrentPool, linear, &mut out, &Control::new()).unwrap();
            out
        };
        let results: Vec<Vec<f32>> =
            Unit::available().into_iter().map(|unit| transposed(unit, &x, batch)).collect();
        for result in &results {
            prop_assert_eq!(bytes(result), bytes(&results[0]));
        }
        let norm = |of: &mut dyn Iterator<Item = f64>| of.map(|v| v * v).sum::<f64>().sqrt();
        let whole = norm(&mut decoded.iter().copied());
        for v in 0..batch {
            let x = &x[v * rows..][..rows];
            let result = &results[0][v * columns..][..columns];
            prop_assert_eq!(bytes(result), bytes(&transposed(Unit::detect(), x, 1)));
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
    fn a_layer_of_any_type_is_its_product_rounded_once(
        codec in codecs(), batch in 0usize..4, seed: u64, transposed: bool,
    ) {
        let tensor = compress(&weights(&[40, 300], seed), &[40, 300], &codec);
        let (inputs, outputs) = if transposed { (40, 300) } else { (300, 40) };
        let (x, bias) = (vectors(batch * inputs, seed ^ 1), vectors(outputs, seed ^ 2));
        fn of<T: Element>(values: &[f32]) -> Vec<T> {
            values.iter().map(|v| T::nearest(*v)).collect()
        }
        fn layer<T: Element>(
            tensor: &CompressedTensor, x: &[T], batch: usize, bias: Option<&[T]>, transposed: bool,
            outputs: usize,
        ) -> Vec<T> {
            let mut out = vec![T::nearest(f32::NAN); batch * outputs];
            let linear = Linear { x, batch, bias, transposed };
            tensor.linear_on(Unit::detect(), &CurrentPool, linear, &mut out, &Control::new()).unwrap();
            out
        }
        fn agrees<T: Element>(
            tensor: &CompressedTensor, x: &[f32], batch: usize, bias: &[f32], transposed: bool,
        ) -> bool {
            let (x, bias) = (of::<T>(x), of::<T>(bias));
            let widened = |values: &[T]| {
                let mut wide = Vec::new();
                T::widen(values, Unit::detect(), &mut wide);
                wide
            };
            let (wide, wide_bias) = (widened(&x), widened(&bias));
            let product = layer(tensor, &wide, batch, None, transposed, bias.len());
            let sums = product.iter().enumerate().map(|(i, y)| y + wide_bias[i % bias.len()]);
            let sums: Vec<f32> = sums.collect();
            bytes(&layer(tensor, &x, batch, Some(&bias), transposed, bias.len()))
                == bytes(&of::<T>(&sums))
                && bytes(&layer(tensor, &x, batch, None, transposed, bias.len()))
                    == bytes(&of::<T>(&product))
        }
        prop_assert!(agrees::<f32>(&tensor, &x, batch, &bias, transposed));
        prop_assert!(agrees::<f64>(&tensor, &x, batch, &bias, transposed));
        prop_assert!(agrees::<f16>(&tensor, &x, batch, &bias, transposed));
        prop_assert!(agrees::<bf16>(&tensor, &x, batch, &bias, transposed));
    }
}

#[test]
fn products_do_not_depend_on_the_number_of_threads() {
    let shape = [150, 1000];
    let x = vectors(1000 * 3, 5);
    for codec in [
        Codec::Winding(WindingParams::default()),
        Codec::Trellis(TrellisParams::new(3.6, 8, Some(1))),
    ] {
        let tensor = compress(&weights(&shape, 2), &shape, &codec);
        let expected = matmul(&tensor, Unit::detect(), &x, 3);
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
                    Unit::detect(),
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
            let result = pool.install(|| matmul(&tensor, Unit::detect(), &x, 3));
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
            .linear_on(Unit::detect(), team, linear, &mut out, &control)
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
fn chosen_rows_are_those_of_the_whole() {
    let shape = [60, 3, 70];
    for codec in [
        Codec::Winding(WindingParams::default()),
        Codec::Trellis(TrellisParams::new(3.6, 8, Some(1))),
        Codec::Trellis(TrellisParams {
            keep_zeros: true,
            ..TrellisParams::new(4.0, 8, None)
        }),
    ] {
        let tensor = compress(&weights(&shape, 3), &shape, &codec);
        let whole: Vec<bf16> = decompress(&tensor);
        let indices = [7i64, 0, 59, 7, 31];
        let mut rows = vec![bf16::default(); indices.len() * 210];
        let control = Control::new();
        tensor
            .decompress_rows(&CurrentPool, &indices, &mut rows, &control)
            .unwrap();
        for (index, row) in indices.iter().zip(rows.chunks(210)) {
            assert_eq!(row, &whole[*index as usize * 210..][..210]);
        }
        for (indices, places, kind, what) in [
            (
                &[1, 60][..],
                420,
                ErrorKind::OutOfBounds,
                "index 60 at position 1",
            ),
            (&[-1], 210, ErrorKind::OutOfBounds, "index -1"),
            (&[1], 209, ErrorKind::InvalidArgument, "209 elements"),
        ] {
            let error = tensor
                .decompress_rows(&CurrentPool, indices, &mut vec![0.0f32; places], &control)
                .unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.message().contains(what), "{error}");
        }
    }
}
