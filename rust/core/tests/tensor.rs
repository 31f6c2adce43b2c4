//! Compressed tensors as a user of the crate meets them: any type, any shape, hostile bytes.

use half::{bf16, f16};
use hypercomp_core::codec::WindingParams;
use hypercomp_core::codec::numbers::element::Element;
use hypercomp_core::codec::trellis::CodeSet;
use hypercomp_core::codec::{Codec, CompressedTensor, Goal, Payload, TrellisParams};
use hypercomp_core::{Control, ErrorKind};
use proptest::prelude::*;

fn trellis(bits: f64, window: u32) -> Codec {
    Codec::Trellis(params(bits, window))
}

/// Parameters of a tensor in tiles.
fn tiled(bits: f64, window: u32) -> TrellisParams {
    TrellisParams {
        code_set: CodeSet::SECOND,
        ..params(bits, window)
    }
}

fn params(bits: f64, window: u32) -> TrellisParams {
    TrellisParams::new(bits, window, Some(7))
}

fn winding() -> Codec {
    Codec::Winding(WindingParams::default())
}

/// Sums of twelve uniform numbers: near enough to Gaussian.
fn gaussian(n: usize, mut state: u64) -> Vec<f32> {
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..n)
        .map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0)
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

fn sqnr_db<T: Element>(weights: &[T], decoded: &[T]) -> f64 {
    let mut energy = (0.0, 0.0);
    for (w, d) in weights.iter().zip(decoded) {
        energy.0 += w.to_f64().powi(2);
        energy.1 += (w.to_f64() - d.to_f64()).powi(2);
    }
    10.0 * (energy.0 / energy.1).log10()
}

/// Bits a weight, with everything.
fn rate(tensor: &CompressedTensor) -> f64 {
    8.0 * tensor.nbytes() as f64 / tensor.len() as f64
}

#[test]
fn any_rate_is_met_and_its_error_is_near_the_bound() {
    let weights = gaussian(32 * 4096, 1);
    let sets = [CodeSet::FIRST, CodeSet::SECOND];
    let windows = sets.map(|set| set.windows().iter().map(move |window| (set, *window)));
    for (code_set, window) in windows.into_iter().flatten() {
        let rates = [
            1.0, 1.26, 1.5, 2.0, 2.75, 3.0, 3.5, 4.0, 4.06, 5.5, 7.0, 8.0,
        ];
        // The widest search takes minutes in all rates; its neighbours show the rest.
        for bits in rates.into_iter().filter(|k| window < 16 || *k == 3.5) {
            let codec = Codec::Trellis(TrellisParams {
                code_set,
                ..params(bits, window)
            });
            let tensor = compress(&weights, &[32, 4096], &codec);
            let rate = rate(&tensor);
            assert!(
                rate <= bits && rate > bits - 0.01,
                "{bits} W={window}: {rate}"
            );
            let measured = sqnr_db(&weights, &decompress::<f32>(&tensor));
            let gap = 20.0 * rate * 2f64.log10() - measured;
            // Whole and half rates are the codes' own; between them two of them are mixed.
            assert!(gap < 1.25 && gap > 0.1, "{bits} W={window}: {gap} dB");
            assert!((measured - tensor.sqnr_db()).abs() < 1e-2);
        }
    }
}

#[test]
fn no_tensor_but_a_tiny_one_takes_more_than_was_asked_for() {
    for shape in [
        &[300][..],
        &[2000],
        &[7, 400],
        &[97, 97],
        &[16, 8, 3, 3],
        &[3, 20_011],
    ] {
        let weights = gaussian(shape.iter().product(), 12);
        for bits in [1.0, 2.3, 4.0, 8.0] {
            let tensor = compress(&weights, shape, &trellis(bits, 8));
            // A header of about 40 bytes counts unless it would take half of the budget.
            if bits * weights.len() as f64 > 2000.0 {
                assert!(rate(&tensor) <= bits, "{shape:?} {bits}: {}", rate(&tensor));
            } else {
                assert!(8.0 * tensor.nbytes() as f64 <= bits * weights.len() as f64 + 500.0);
            }
        }
    }
}

#[test]
fn a_ratio_is_reached_at_the_least_rate() {
    let weights = gaussian(64 * 2048, 13);
    let shape = [64, 2048];
    for db in [6.0, 20.0, 23.4, 41.7] {
        let asked = TrellisParams {
            goal: Goal::SqnrDb(db),
            ..params(0.0, 8)
        };
        let tensor = compress(&weights, &shape, &Codec::Trellis(asked));
        assert!(tensor.sqnr_db() >= db, "{db}: {}", tensor.sqnr_db());
        assert!(sqnr_db(&weights, &decompress::<f32>(&tensor)) > db - 0.001);
        let less = trellis(rate(&tensor) - 0.02, 8);
        assert!(compress(&weights, &shape, &less).sqnr_db() < db, "{db}");
    }
    let out_of_reach = TrellisParams {
        goal: Goal::SqnrDb(60.0),
        ..params(0.0, 8)
    };
    let codec = Codec::Trellis(out_of_reach);
    let error = CompressedTensor::compress(&weights, &shape, &codec, &Control::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn no_error_exceeds_its_bound() {
    let weights: Vec<f16> = gaussian(64 * 1024, 14)
        .iter()
        .map(|w| f16::from_f32(*w))
        .collect();
    for (bits, bound) in [(5.0, 0.2), (5.5, 0.12), (7.5, 0.03), (5.0, 10.0)] {
        let asked = TrellisParams {
            max_error: Some(bound),
            ..params(bits, 10)
        };
        let tensor = compress(&weights, &[64, 1024], &Codec::Trellis(asked));
        assert!(rate(&tensor) <= bits, "{bound}: {}", rate(&tensor));
        let decoded = decompress::<f16>(&tensor);
        let largest = weights
            .iter()
            .zip(&decoded)
            .map(|(w, d)| (w.to_f64() - d.to_f64()).abs())
            .fold(0.0, f64::max);
        assert!(largest <= bound, "{largest} beyond {bound}");
        assert!((sqnr_db(&weights, &decoded) - tensor.sqnr_db()).abs() < 0.01);
        let again = CompressedTensor::from_bytes(&tensor.to_bytes()).unwrap();
        assert_eq!(again, tensor);
        assert_eq!(tensor.to_bytes().len(), tensor.nbytes());
        assert_eq!(decompress::<f16>(&again), decoded);
    }
    let too_tight = TrellisParams {
        max_error: Some(1e-6),
        ..params(4.0, 10)
    };
    let codec = Codec::Trellis(too_tight);
    let error = CompressedTensor::compress(&weights, &[64, 1024], &codec, &Control::new());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn kept_zeros_stay_zeros_and_leave_their_bits_to_the_others() {
    let mut weights = gaussian(96 * 512, 15);
    for w in weights.iter_mut().filter(|w| w.abs() < 0.6745) {
        *w = 0.0;
    }
    let asked = |keep_zeros, bits| {
        let codec = TrellisParams {
            keep_zeros,
            ..params(bits, 10)
        };
        compress(&weights, &[96, 512], &Codec::Trellis(codec))
    };
    let (kept, plain) = (asked(true, 3.0), asked(false, 3.0));
    assert!(rate(&kept) <= 3.0);
    let decoded = decompress::<f32>(&kept);
    for (w, d) in weights.iter().zip(&decoded) {
        assert!(*w != 0.0 || *d == 0.0);
    }
    // A bit a weight for the mask, the rest for half of the weights: 4 bits each.
    assert!(kept.sqnr_db() > 22.5, "{}", kept.sqnr_db());
    assert!(kept.sqnr_db() > plain.sqnr_db() + 4.0);
    assert!((sqnr_db(&weights, &decoded) - kept.sqnr_db()).abs() < 0.01);
    assert_eq!(
        CompressedTensor::from_bytes(&kept.to_bytes()).unwrap(),
        kept
    );
    // Nothing to keep, nothing to pay.
    let dense = gaussian(64 * 512, 16);
    let codec = TrellisParams {
        keep_zeros: true,
        ..params(3.0, 10)
    };
    let codec = Codec::Trellis(codec);
    assert_eq!(
        compress(&dense, &[64, 512], &codec),
        compress(&dense, &[64, 512], &trellis(3.0, 10))
    );
}

/// Whether these rows, of so many weights, are zero, and no other.
fn are_the_zero_rows(weights: &[f32], row: usize, rows: &[usize]) -> bool {
    let mut all = weights.chunks(row).enumerate();
    all.all(|(i, row)| row.iter().all(|w| *w == 0.0) == rows.contains(&i))
}

#[test]
fn rows_of_zeros_stay_zeros_where_rows_are_joined() {
    // A few zeros are stored as exact weights, more of them are masked.
    let few: &[usize] = &[0];
    let many: &[usize] = &[1, 2, 3, 40, 41, 77, 299];
    for (shape, row, rows) in [
        (&[3000, 64][..], 64, few),
        (&[300, 16], 16, few),
        (&[300, 16], 16, many),
        (&[3, 100, 48], 48, many),
        (&[300, 2, 3, 3], 18, many),
    ] {
        let mut weights = gaussian(shape.iter().product(), 31);
        for number in rows {
            weights[number * row..(number + 1) * row].fill(0.0);
        }
        for (seed, bits) in [(Some(7), 4.0), (None, 2.0)] {
            let asked = |goal, max_error| {
                let codec = TrellisParams {
                    goal,
                    seed,
                    max_error,
                    ..params(bits, 8)
                };
                compress(&weights, shape, &Codec::Trellis(codec))
            };
            let tensor = asked(Goal::Bits(bits), None);
            assert!(rate(&tensor) <= bits, "{shape:?}: {}", rate(&tensor));
            let decoded = decompress::<f32>(&tensor);
            assert!(are_the_zero_rows(&decoded, row, rows), "{shape:?} {bits}");
            assert!((sqnr_db(&weights, &decoded) - tensor.sqnr_db()).abs() < 0.01);
            assert_eq!(
                CompressedTensor::from_bytes(&tensor.to_bytes()).unwrap(),
                tensor
            );
            for tensor in [
                asked(Goal::SqnrDb(15.0), None),
                asked(Goal::Bits(6.0), Some(0.5)),
            ] {
                let decoded = decompress::<f32>(&tensor);
                assert!(are_the_zero_rows(&decoded, row, rows));
                assert!((sqnr_db(&weights, &decoded) - tensor.sqnr_db()).abs() < 0.01);
            }
        }
    }
}

#[test]
fn rows_of_zeros_that_are_whole_streams_need_nothing_beside_the_codes() {
    let mut weights = gaussian(600 * 64, 32);
    // Eight rows make a stream.
    weights[..16 * 64].fill(0.0);
    for shape in [[600, 64], [75, 512]] {
        let tensor = compress(&weights, &shape, &trellis(4.0, 8));
        let Payload::Trellis(streams) = tensor.payload() else {
            panic!("no codes")
        };
        assert!(streams.mask.is_none() && streams.exceptions.is_empty());
        let decoded = decompress::<f32>(&tensor);
        assert!(decoded[..16 * 64].iter().all(|w| *w == 0.0));
    }
}

#[test]
fn no_row_is_over_a_bit_below_the_rest() {
    // Rows from large to a millionth of that.
    let mut weights = gaussian(64 * 1024, 17);
    for (i, row) in weights.chunks_mut(1024).enumerate() {
        row.iter_mut().for_each(|w| *w *= 0.8f32.powi(i as i32));
    }
    for bits in [2.0, 3.3, 4.0, 5.9] {
        let tensor = compress(&weights, &[64, 1024], &trellis(bits, 8));
        let Payload::Trellis(streams) = tensor.payload() else {
            panic!("a trellis was asked for");
        };
        let least = streams.rates.iter().min().copied().unwrap_or(0);
        // What lies beside the codes takes a twentieth of a bit.
        assert!(
            f64::from(least) / 2.0 >= bits - 1.05,
            "{bits}: {least} half bits"
        );
        assert!(streams.rates.iter().max() > Some(&least));
    }
}

#[test]
fn a_wider_window_is_never_worse() {
    let weights = gaussian(16 * 2048, 2);
    for params in [params, tiled] {
        let windows = CodeSet::FIRST.windows().iter();
        let codecs = windows.map(|window| Codec::Trellis(params(4.0, *window)));
        let db: Vec<f64> = codecs
            .map(|codec| compress(&weights, &[16, 2048], &codec).sqnr_db())
            .collect();
        assert!(db.is_sorted(), "{db:?}");
    }
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    let weights = gaussian(97 * 509, 3);
    for codec in [trellis(3.0, 10), Codec::Trellis(tiled(3.0, 10)), winding()] {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let tensor = compress(&weights, &[97, 509], &codec);
                (tensor.to_bytes(), decompress::<f32>(&tensor))
            })
        };
        let one = on(1);
        assert_eq!(one, on(2));
        assert_eq!(one, on(5));
    }
}

#[test]
fn half_precision_and_doubles_are_coded_like_floats() {
    let weights = gaussian(4 * 1024, 4);
    let halves: Vec<f16> = weights.iter().map(|w| f16::from_f32(*w)).collect();
    let brains: Vec<bf16> = weights.iter().map(|w| bf16::from_f32(*w)).collect();
    let doubles: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
    let shape = [4, 1024];
    let codec = trellis(4.0, 10);
    let tensor = compress(&halves, &shape, &codec);
    assert!(sqnr_db(&halves, &decompress(&tensor)) > 22.0);
    let tensor = compress(&brains, &shape, &codec);
    assert!(sqnr_db(&brains, &decompress(&tensor)) > 22.0);
    let tensor = compress(&doubles, &shape, &codec);
    assert!(sqnr_db(&doubles, &decompress(&tensor)) > 22.0);
    assert_eq!(tensor.to_bytes()[13..], {
        // Only the dtype's number differs from what floats give.
        let mut floats = compress(&weights, &shape, &codec).to_bytes();
        floats[6] = 1;
        let end = floats.len() - 4;
        let crc = crc32fast::hash(&floats[..end]);
        floats[end..].copy_from_slice(&crc.to_le_bytes());
        floats[13..].to_vec()
    });
}

#[test]
fn magnitude_does_not_matter() {
    let weights = gaussian(2 * 512, 5);
    let reference = compress(&weights, &[2, 512], &trellis(4.0, 10)).sqnr_db();
    for factor in [1e-300, 1e-38, 1e30, 1e307] {
        let scaled: Vec<f64> = weights.iter().map(|w| f64::from(*w) * factor).collect();
        let tensor = compress(&scaled, &[2, 512], &trellis(4.0, 10));
        // Another place between two powers of two moves the scale grid a little.
        assert!(
            (tensor.sqnr_db() - reference).abs() < 0.2,
            "{factor}: {}",
            tensor.sqnr_db()
        );
    }
    // Subnormal floats, down to the very last.
    let tiny: Vec<f32> = (0..512).map(|i| f32::from_bits(1 + i % 9)).collect();
    let tensor = compress(&tiny, &[512], &trellis(4.0, 10));
    assert!(tensor.sqnr_db() > 15.0);
    assert!(decompress::<f64>(&tensor).iter().all(|w| w.abs() < 2e-44));
}

#[test]
fn wild_rows_in_one_tensor_keep_their_own_scale() {
    let mut weights = gaussian(4 * 256, 6);
    for (row, factor) in weights.chunks_mut(256).zip([1.0f32, 1e-20, 1e4, 0.0]) {
        row.iter_mut().for_each(|w| *w *= factor);
    }
    let decoded = decompress::<f32>(&compress(&weights, &[4, 256], &trellis(4.0, 10)));
    for row in 0..3 {
        let at = row * 256..(row + 1) * 256;
        let db = sqnr_db(&weights[at.clone()], &decoded[at]);
        // Over so many octaves the scales are half an octave apart.
        assert!(db > 10.0, "row {row}: {db}");
    }
    assert!(decoded[768..].iter().all(|w| *w == 0.0));
}

#[test]
fn odd_shapes_and_constant_rows_work() {
    for (shape, n) in [
        (&[][..], 1),
        (&[1], 1),
        (&[2], 2),
        (&[7, 1], 7),
        (&[3, 997], 2991),
        (&[5, 131], 655),
        (&[2, 3, 3, 3], 54),
        (&[1, 20_011], 20_011),
    ] {
        for codec in [
            trellis(4.0, 8),
            trellis(1.0, 10),
            trellis(8.0, 12),
            winding(),
        ] {
            let tensor = compress(&gaussian(n, 8), shape, &codec);
            assert_eq!(tensor.shape(), shape);
            let again = CompressedTensor::from_bytes(&tensor.to_bytes()).unwrap();
            assert_eq!(again, tensor);
            assert!(decompress::<f32>(&again).iter().all(|w| w.is_finite()));

            let constant = vec![-0.75f32; n];
            let tensor = compress(&constant, shape, &codec);
            assert!(tensor.sqnr_db() > 2.0, "{shape:?} {codec:?}");
            assert!(decompress::<f32>(&tensor).iter().all(|w| w.is_finite()));
        }
    }
}

#[test]
fn nothing_to_code_costs_only_the_header() {
    for shape in [&[0][..], &[3, 0], &[0, 5, 7], &[40, 50]] {
        let n = shape.iter().product();
        for codec in [trellis(4.0, 10), winding()] {
            let tensor = compress(&vec![0.0f32; n], shape, &codec);
            assert_eq!(*tensor.payload(), Payload::Zeros);
            assert_eq!(tensor.to_bytes().len(), tensor.nbytes());
            assert!(tensor.nbytes() < 64);
            assert_eq!(decompress::<f32>(&tensor), vec![0.0; n]);
            assert_eq!(
                CompressedTensor::from_bytes(&tensor.to_bytes()).unwrap(),
                tensor
            );
        }
    }
}

#[test]
fn bad_arguments_are_refused_even_where_there_is_nothing_to_code() {
    let control = Control::new();
    for weights in [&[][..], &[1.0f32; 64]] {
        for codec in [trellis(0.0, 10), trellis(9.0, 10), trellis(4.0, 11)] {
            let error = CompressedTensor::compress(weights, &[weights.len()], &codec, &control)
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
        let error = CompressedTensor::compress(weights, &[3], &trellis(4.0, 10), &control);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    let huge = [usize::MAX, 0, 2];
    let error = CompressedTensor::compress::<f32>(&[], &huge, &trellis(4.0, 10), &control);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn a_cancelled_search_stops() {
    let control = Control::new();
    control.cancel();
    for codec in [trellis(4.0, 10), winding()] {
        let error = CompressedTensor::compress(&gaussian(4096, 9), &[4096], &codec, &control);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Cancelled);
    }
}

fn samples() -> Vec<CompressedTensor> {
    let weights = gaussian(3 * 130, 10);
    let mut sparse = weights.clone();
    sparse[..130].fill(0.0);
    sparse.iter_mut().step_by(3).for_each(|w| *w = 0.0);
    let everything = TrellisParams {
        keep_zeros: true,
        max_error: Some(0.2),
        ..params(5.0, 8)
    };
    vec![
        compress(&sparse, &[3, 130], &Codec::Trellis(everything)),
        compress(&weights, &[3, 130], &trellis(4.0, 10)),
        compress(&weights, &[3, 130], &trellis(1.0, 8)),
        compress(
            &sparse,
            &[3, 130],
            &Codec::Trellis(TrellisParams {
                code_set: CodeSet::SECOND,
                ..everything
            }),
        ),
        compress(&weights, &[3, 130], &Codec::Trellis(tiled(2.7, 8))),
        compress(&weights, &[3, 130], &winding()),
        compress(&weights[..4], &[2, 2], &winding()),
        compress(&[0.0f32; 9], &[9], &winding()),
    ]
}

#[test]
fn every_truncation_is_an_error() {
    for tensor in samples() {
        let bytes = tensor.to_bytes();
        assert_eq!(bytes.len(), tensor.nbytes());
        for end in 0..bytes.len() {
            let error = CompressedTensor::from_bytes(&bytes[..end]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Format);
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(CompressedTensor::from_bytes(&longer).is_err());
    }
}

/// Flips every bit, with the checksum mended so that the parser itself is what refuses or accepts.
#[test]
fn no_altered_byte_makes_it_panic() {
    for tensor in samples() {
        let bytes = tensor.to_bytes();
        for at in 0..bytes.len() - 4 {
            for bit in 0..8 {
                let mut altered = bytes.clone();
                altered[at] ^= 1 << bit;
                assert!(CompressedTensor::from_bytes(&altered).is_err());
                let end = altered.len() - 4;
                let crc = crc32fast::hash(&altered[..end]);
                altered[end..].copy_from_slice(&crc.to_le_bytes());
                if let Ok(read) = CompressedTensor::from_bytes(&altered) {
                    assert_eq!(read.to_bytes().len(), altered.len());
                    if read.len() < 1 << 20 {
                        decompress::<f32>(&read);
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut hostile = b"HYPC\x01\0".to_vec();
        hostile.extend(bytes);
        let crc = crc32fast::hash(&hostile);
        hostile.extend(crc.to_le_bytes());
        let _ = CompressedTensor::from_bytes(&hostile);
    }

    #[test]
    fn stored_and_read_is_the_same(
        rows in 0usize..5,
        row in 0usize..400,
        bits in 0.5f64..8.5,
        seed: Option<u64>,
    ) {
        let weights = gaussian(rows * row, seed.unwrap_or(1));
        let codec = Codec::Trellis(TrellisParams { seed, ..params(bits, 8) });
        let tensor = compress(&weights, &[rows, row], &codec);
        let read = CompressedTensor::from_bytes(&tensor.to_bytes()).unwrap();
        prop_assert_eq!(&read, &tensor);
        prop_assert_eq!(decompress::<f32>(&read), decompress::<f32>(&tensor));
    }
}
