//! The winding codec from outside: round trips, ranges, stored bytes, edges, threads.

use std::time::{Duration, Instant};

use hypercomp_core::codec::{Winding, WindingParams};
use hypercomp_core::{Control, ErrorKind};
use proptest::prelude::*;

fn encode(weights: &[f32], params: &WindingParams) -> Winding {
    Winding::encode(weights, params, &Control::new()).unwrap()
}

fn decode(winding: &Winding) -> Vec<f32> {
    let mut out = vec![f32::NAN; winding.len()];
    winding.decode(&mut out, &Control::new()).unwrap();
    out
}

fn to_bytes(winding: &Winding) -> Vec<u8> {
    let mut bytes = Vec::new();
    winding.to_bytes(&mut bytes);
    assert_eq!(bytes.len(), winding.nbytes());
    bytes
}

/// Bell-shaped weights of about this deviation, the same on every run.
fn bell(len: usize, deviation: f32) -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    // Twelve uniform numbers have variance 1 together.
    (0..len)
        .map(|_| deviation * (0..12).map(|_| uniform()).sum::<f32>())
        .collect()
}

/// Mean |weight − decoded weight|.
fn error(weights: &[f32], winding: &Winding) -> f64 {
    let decoded = decode(winding);
    let sum: f64 = weights
        .iter()
        .zip(decoded)
        .map(|(w, d)| f64::from((w - d).abs()))
        .sum();
    sum / weights.len() as f64
}

fn params() -> impl Strategy<Value = WindingParams> {
    let side = prop_oneof![Just(0.1), Just(0.8), Just(1e-3), Just(1e-30), Just(1e30)];
    let samples = prop_oneof![1u32..20, 1u32..5000, Just(1600), Just(1 << 24)];
    (
        1usize..=4,
        side,
        samples,
        1u32..6,
        prop_oneof![Just(0.001), Just(0.0)],
    )
        .prop_map(
            |(group, side, samples, class_max, threshold)| WindingParams {
                group,
                side,
                samples,
                class_max,
                threshold,
            },
        )
}

/// Weights of one magnitude, and now and then one of any.
fn weights() -> impl Strategy<Value = Vec<f32>> {
    let wild = prop_oneof![
        Just(0.0f32),
        Just(1e30),
        Just(-1e30),
        Just(f32::MAX),
        Just(1e-45)
    ];
    let magnitude = prop_oneof![6 => Just(0.1f32), 1 => Just(1e-30), 1 => Just(1e30)];
    magnitude.prop_flat_map(move |magnitude| {
        let usual = (-1.0f32..1.0).prop_map(move |x| x * magnitude);
        prop::collection::vec(prop_oneof![30 => usual, 1 => wild.clone()], 0..120)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn stored_bytes_are_read_back(weights in weights(), params in params()) {
        let winding = encode(&weights, &params);
        let bytes = to_bytes(&winding);
        prop_assert_eq!(Winding::from_bytes(&bytes).unwrap(), winding);
    }

    #[test]
    fn ranges_decode_as_the_whole(weights in weights(), params in params(), at in any::<[u16; 2]>()) {
        let winding = encode(&weights, &params);
        let whole = decode(&winding);
        prop_assert!(whole.iter().all(|w| w.is_finite()));
        let mut ends = at.map(|x| usize::from(x) % (weights.len() + 1));
        ends.sort_unstable();
        let range = ends[0]..ends[1];
        let mut out = vec![f32::NAN; range.len()];
        winding.decode_range(range.clone(), &mut out).unwrap();
        prop_assert_eq!(&out, &whole[range]);
    }

    #[test]
    fn altered_bytes_never_panic(
        weights in weights(),
        params in params(),
        flips in prop::collection::vec(any::<(u16, u8)>(), 1..4),
        header in any::<bool>(),
    ) {
        let mut bytes = to_bytes(&encode(&weights, &params));
        let span = if header { 32.min(bytes.len()) } else { bytes.len() };
        for (at, flip) in flips {
            bytes[usize::from(at) % span] ^= flip;
        }
        match Winding::from_bytes(&bytes) {
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Format),
            Ok(winding) => {
                prop_assert!(decode(&winding).iter().all(|w| w.is_finite()));
                prop_assert_eq!(to_bytes(&winding), bytes);
            }
        }
    }
}

#[test]
fn truncated_or_longer_bytes_are_refused() {
    for group in 1..=4 {
        let params = WindingParams {
            group,
            ..WindingParams::default()
        };
        let mut bytes = to_bytes(&encode(&bell(101, 0.05), &params));
        for len in 0..bytes.len() {
            let error = Winding::from_bytes(&bytes[..len]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Format, "{len} bytes");
        }
        bytes.push(0);
        assert_eq!(
            Winding::from_bytes(&bytes).unwrap_err().kind(),
            ErrorKind::Format
        );
    }
}

#[test]
fn one_flipped_bit_anywhere_is_refused_or_decodes() {
    let bytes = to_bytes(&encode(&bell(77, 0.05), &WindingParams::default()));
    for bit in 0..8 * bytes.len() {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        if let Ok(winding) = Winding::from_bytes(&altered) {
            assert!(decode(&winding).iter().all(|w| w.is_finite()), "bit {bit}");
        }
    }
}

#[test]
fn a_length_that_no_bytes_back_is_refused() {
    let mut bytes = to_bytes(&encode(&[0.5], &WindingParams::default()));
    for len in [2u64, 17, 1 << 40, u64::MAX] {
        bytes[24..32].copy_from_slice(&len.to_le_bytes());
        // Two weights are one pair, as one weight is: that length has its bytes.
        assert_eq!(Winding::from_bytes(&bytes).is_ok(), len == 2, "{len}");
    }
}

#[test]
fn no_weights_make_an_empty_result() {
    for group in 1..=4 {
        let params = WindingParams {
            group,
            ..WindingParams::default()
        };
        let winding = encode(&[], &params);
        assert!(winding.is_empty() && winding.codes().next().is_none());
        assert_eq!(winding.nbytes(), 32 + 8 * group);
        assert_eq!(Winding::from_bytes(&to_bytes(&winding)).unwrap(), winding);
        assert_eq!(decode(&winding), [0.0f32; 0]);
        winding.decode_range(0..0, &mut []).unwrap();
    }
}

#[test]
fn constants_are_kept_exactly() {
    for group in 1..=4 {
        let params = WindingParams {
            group,
            ..WindingParams::default()
        };
        for value in [0.0, -0.0, 0.3, -1e30, 1e-30, 1e-45, f32::MAX, f32::MIN] {
            for len in [1, 2, 3, 5, 4097, 20_000] {
                let winding = encode(&vec![value; len], &params);
                assert_eq!(decode(&winding), vec![value; len], "{len} times {value:e}");
                assert_eq!((winding.classes(), winding.bits_per_code()), (0, 1));
            }
        }
    }
}

#[test]
fn what_decodes_beyond_the_range_becomes_the_largest_finite_value() {
    // Two samples: −1.2 and 0 of the largest value, around a centre at −0.2 of it.
    let weights = [f32::MAX, -f32::MAX, -0.6 * f32::MAX];
    let params = WindingParams {
        group: 1,
        samples: 1,
        class_max: 1,
        ..WindingParams::default()
    };
    let winding = encode(&weights, &params);
    assert_eq!(winding.codes().collect::<Vec<_>>()[1], 3);
    assert_eq!(decode(&winding)[1], f32::MIN);
}

#[test]
fn of_equally_far_groups_the_first_is_kept() {
    for len in [2, 20_000] {
        let weights: Vec<f32> = (0..len)
            .map(|i| if i % 2 == 0 { 0.5 } else { -0.5 })
            .collect();
        let params = WindingParams {
            group: 1,
            ..WindingParams::default()
        };
        assert_eq!(encode(&weights, &params).farthest(), [0.5]);
    }
}

#[test]
fn any_magnitude_keeps_its_relative_error_when_the_side_follows() {
    let relative = |scale: f32| {
        let params = WindingParams {
            side: 0.1 * f64::from(scale),
            threshold: 0.0,
            ..WindingParams::default()
        };
        let weights: Vec<f32> = bell(5000, 0.02).iter().map(|w| w * scale).collect();
        error(&weights, &encode(&weights, &params)) / f64::from(scale)
    };
    let one = relative(1.0);
    assert!(one < 0.0008, "{one}");
    for scale in [1e-28, 1e-10, 1e10, 1e28] {
        assert!((relative(scale) / one - 1.0).abs() < 0.01, "{scale:e}");
    }
}

#[test]
fn the_number_of_categories_is_the_first_good_or_the_best() {
    let weights = bell(6000, 0.1);
    let with = |class_max, threshold| {
        encode(
            &weights,
            &WindingParams {
                class_max,
                threshold,
                ..WindingParams::default()
            },
        )
    };
    // An unreachable threshold: the best of all tried, which is no worse than any fewer.
    let errors: Vec<f64> = (1..=6).map(|m| error(&weights, &with(m, 0.0))).collect();
    assert!(errors.is_sorted_by(|a, b| a >= b), "{errors:?}");
    // The error with three categories as the threshold: three, or fewer if they do as well.
    let three = with(3, 0.0);
    let enough = with(6, error(&weights, &three) * (1.0 + 1e-9));
    assert_eq!(enough.classes(), three.classes());
    assert!(enough.codes().eq(three.codes()));
    // Any error will do: one; nothing outside: none.
    assert_eq!(with(6, f64::INFINITY).classes(), 1);
    assert_eq!(
        encode(&bell(6000, 0.005), &WindingParams::default()).classes(),
        0
    );
}

#[test]
fn a_worse_last_trial_is_undone() {
    // Two distances: one category fits the far groups exactly, two leave nothing better, so the
    // codes must be those of the best, not of the last number tried.
    for seed in 0..40 {
        let weights: Vec<f32> = bell(400, 0.3)
            .iter()
            .map(|w| w * (1.0 + seed as f32 / 9.0))
            .collect();
        let with = |class_max| {
            let params = WindingParams {
                class_max,
                threshold: 0.0,
                samples: 30,
                ..WindingParams::default()
            };
            encode(&weights, &params)
        };
        let many = with(9);
        assert!(many.codes().eq(with(many.classes()).codes()));
    }
}

#[test]
fn threads_do_not_change_a_byte() {
    let weights = bell(300_001, 0.05);
    for group in 1..=4 {
        let params = WindingParams {
            group,
            ..WindingParams::default()
        };
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let winding = encode(&weights, &params);
                (to_bytes(&winding), decode(&winding))
            })
        };
        let one = on(1);
        assert!([2, 3, 7].into_iter().all(|threads| on(threads) == one));
    }
}

#[test]
fn bad_arguments_are_refused() {
    let control = Control::new();
    let params = WindingParams {
        group: 5,
        ..WindingParams::default()
    };
    let error = Winding::encode(&[], &params, &control).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);

    let winding = encode(&[0.1, 0.2, 0.3], &WindingParams::default());
    let wrong = |result: hypercomp_core::Result<()>| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidArgument);
    };
    wrong(winding.decode(&mut [0.0; 2], &control));
    wrong(winding.decode_range(1..4, &mut [0.0; 3]));
    wrong(winding.decode_range(1..3, &mut [0.0; 3]));
    #[expect(clippy::reversed_empty_ranges)]
    wrong(winding.decode_range(2..1, &mut []));
}

#[test]
fn a_cancelled_search_stops_and_a_finished_one_has_counted_every_weight() {
    let weights = bell(20_001, 0.1);
    let control = Control::new();
    let winding = Winding::encode(&weights, &WindingParams::default(), &control).unwrap();
    assert_eq!(control.done(), 20_001);
    winding.decode(&mut vec![0.0; 20_001], &control).unwrap();
    assert_eq!(control.done(), 40_002);

    control.cancel();
    let error = Winding::encode(&weights, &WindingParams::default(), &control).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let error = winding
        .decode(&mut vec![0.0; 20_001], &control)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn a_long_search_stops_within_a_fraction_of_a_second() {
    // 128 trials of two million weights take many seconds.
    let weights = bell(2_000_000, 0.3);
    let params = WindingParams {
        class_max: 128,
        threshold: 0.0,
        ..WindingParams::default()
    };
    let control = Control::new();
    let (result, waited) = std::thread::scope(|scope| {
        let search = scope.spawn(|| Winding::encode(&weights, &params, &control));
        std::thread::sleep(Duration::from_millis(300));
        control.cancel();
        let cancelled = Instant::now();
        (search.join().unwrap(), cancelled.elapsed())
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(waited < Duration::from_millis(500), "{waited:?}");
}
