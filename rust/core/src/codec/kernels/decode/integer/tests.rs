//! Every vector unit against the table, bit for bit, and against levels in floats.

use proptest::prelude::*;

use super::*;
use crate::codec::kernels::decode::{DecodePlans, Memory, StreamCodes};
use crate::codec::trellis::code_set::{CodeSet, PinnedCode};

/// Pseudo-random bytes.
fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(count)
    .collect()
}

/// A vector of `len` values as integers.
fn quantised(values: &[f32], order: ActivationOrder) -> (Vec<i16>, Vec<f32>) {
    let (mut integers, mut units) = (Vec::new(), Vec::new());
    for stretch in values.chunks(STRETCH) {
        let scale = Scale::of(SimdLevel::Portable, stretch).unwrap();
        let start = integers.len();
        scale.append_pairs(SimdLevel::Portable, stretch, &mut integers);
        order.arrange(&mut integers, start);
        units.push(scale.unit);
    }
    (integers, units)
}

proptest! {
    #[test]
    fn every_unit_gives_the_same_bits(
        number in 0..CodeSet::FIRST.count(),
        seed: u64,
        len in 1usize..3000,
        path_bit in 0usize..70,
        cell_bit in 0usize..70,
    ) {
        let pinned = PinnedCode::of_number(number);
        let (rate, window) = (pinned.code().half_bits as u8, pinned.siblings());
        let bytes = bytes(4000, seed);
        let source = StreamCodes { path: &bytes, cells: &bytes[200..], chain: 0, path_bit, cell_bit, rate, len };
        let plans = DecodePlans::new(window, &[rate]).unwrap();
        prop_assume!(plans.has_integer_levels(rate));
        let trellis = pinned.trellis();
        let values: Vec<f32> = (0..len).map(|i| (i as f32 * 0.7).sin()).collect();
        let padded = len.next_multiple_of(PAIR);
        let mut known: Option<(Vec<i16>, f32)> = None;
        for simd in SimdLevel::available() {
            let mut memory = Memory::default();
            let codes = memory.load(simd, &plans, source, 0, len);
            let mut out = vec![0; padded];
            levels(simd, &codes, 0, &mut out);
            let order = ActivationOrder::of_dot(simd, &plans);
            let (integers, units) = quantised(&values, order);
            let x = Activations { values: &integers, units: &units, sums: &vec![0; units.len()], order };
            let product = dot(simd, &codes, x);
            let (expected, sum) = known.get_or_insert_with(|| (out.clone(), product));
            prop_assert_eq!(&out, &*expected, "{:?}", simd);
            prop_assert_eq!(product.to_bits(), sum.to_bits(), "{:?}", simd);
            // Also from a weight within the stream on.
            let mut rest = vec![0; padded - PAIR];
            levels(simd, &codes, PAIR, &mut rest);
            prop_assert_eq!(&rest[..], &expected[PAIR..]);
            // The same weights in floats.
            let mut floats = vec![0.0; padded];
            crate::codec::kernels::decode::levels(simd, &codes, 0, &mut floats);
            let phase = |level: f32| trellis.levels.partition_point(|l| *l < level);
            let table = &trellis.integer.as_ref().unwrap().table;
            for (k, pair) in out.chunks(PAIR).enumerate() {
                for (i, level) in pair.iter().enumerate() {
                    let weight = k * PAIR + i / 2 + i % 2 * BLOCK;
                    prop_assert_eq!(*level, table[phase(floats[weight])]);
                }
            }
            // 54 dB below the product of the norms. An integer level misses its level by about 1e-3,
            // and by 9e-3 at most, wherever that lies. So a row of few levels, or of levels near
            // zero, is held to the norm of 64 levels of variance 1, or of as many as it has:
            // products take such rows in floats (`operations/multiply/near.rs`).
            let pairs = floats.iter().zip(&values);
            let exact: f64 = pairs.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            let norm = |v: &[f32]| v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            let levels = norm(&floats[..len]).max((len.max(64) as f64).sqrt());
            let bound = 2e-3 * levels * norm(&values);
            prop_assert!((f64::from(product) - exact).abs() <= bound);
        }
    }

    #[test]
    fn no_lane_is_too_long(values in proptest::collection::vec(-1e3f32..1e3, 1..=STRETCH), power in -60i32..60) {
        let values: Vec<f32> = values.iter().map(|v| v * 2f32.powi(power)).collect();
        let scale = Scale::of(SimdLevel::Portable, &values).unwrap();
        for other in SimdLevel::available() {
            prop_assert_eq!(Scale::of(other, &values), Some(scale));
        }
        let mut integers = Vec::new();
        scale.append_pairs(SimdLevel::Portable, &values, &mut integers);
        for other in SimdLevel::available() {
            let mut same = Vec::new();
            scale.append_pairs(other, &values, &mut same);
            prop_assert_eq!(&same, &integers);
        }
        let mut lanes = [0i32; BLOCK];
        for pair in integers.chunks(PAIR) {
            for (i, value) in pair.iter().enumerate() {
                prop_assert!(value.unsigned_abs() < 1 << 15);
                lanes[i / 2] += i32::from(*value).abs();
            }
        }
        prop_assert!(lanes.iter().all(|lane| *lane <= LANE));
    }
}

#[test]
fn the_worst_activations_do_not_overflow() {
    // The level furthest from 0 at every weight, and activations of one sign that fill all lanes.
    for pinned in PinnedCode::all().take(CodeSet::FIRST.count()) {
        let (rate, window) = (pinned.code().half_bits as u8, pinned.siblings());
        let plans = DecodePlans::new(window, &[rate]).unwrap();
        if !plans.has_integer_levels(rate) {
            continue;
        }
        let trellis = pinned.trellis();
        let table = &trellis.integer.as_ref().unwrap().table;
        let most = table
            .iter()
            .map(|level| level.unsigned_abs())
            .max()
            .unwrap();
        assert!(i64::from(LANE) * i64::from(most) < 1 << 31);
    }
    for values in [vec![1.0f32; STRETCH], {
        let mut lane = vec![0.0f32; STRETCH];
        lane.iter_mut().step_by(BLOCK).for_each(|v| *v = -3e30);
        lane
    }] {
        let bytes = [0xFF; 2000];
        let plans = DecodePlans::new(CodeSet::FIRST.window(8).unwrap(), &[8]).unwrap();
        let source = StreamCodes {
            path: &bytes,
            cells: &bytes,
            chain: 0,
            path_bit: 64,
            cell_bit: 0,
            rate: 8,
            len: 0,
        };
        for simd in SimdLevel::available() {
            let mut memory = Memory::default();
            let codes = memory.load(simd, &plans, source, 0, STRETCH);
            let mut floats = vec![0.0; STRETCH];
            crate::codec::kernels::decode::levels(simd, &codes, 0, &mut floats);
            let exact: f64 = floats
                .iter()
                .zip(&values)
                .map(|(w, x)| f64::from(w * x))
                .sum();
            let order = ActivationOrder::of_dot(simd, &plans);
            let (integers, units) = quantised(&values, order);
            let x = Activations {
                values: &integers,
                units: &units,
                sums: &vec![0; units.len()],
                order,
            };
            let product = dot(simd, &codes, x);
            assert!((f64::from(product) / exact - 1.0).abs() < 2e-3, "{simd:?}");
        }
    }
}

#[test]
fn what_has_no_unit_is_left_to_floats() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-38, 1e-45] {
        for at in [0, 17, 1023] {
            let mut values = vec![0.0; STRETCH];
            values[at] = value;
            for simd in SimdLevel::available() {
                assert!(Scale::of(simd, &values).is_none(), "{value}");
            }
        }
    }
    assert!(Scale::of(SimdLevel::detected(), &[f32::MAX; STRETCH]).is_none());
    assert_eq!(
        Scale::of(SimdLevel::detected(), &[0.0; 40]),
        Some(Scale::default())
    );
    assert!(Scale::of(SimdLevel::detected(), &[1e30; STRETCH]).is_some());
    assert!(Scale::of(SimdLevel::detected(), &[1e-30; STRETCH]).is_some());
}
