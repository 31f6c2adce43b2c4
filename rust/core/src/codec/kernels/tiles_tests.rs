//! Tiles on every vector unit against plain Rust, bit for bit.

use proptest::prelude::*;

use super::tiles::order::{self, LANES, STEPS, TILE};
use super::tiles::{TileMemory, arrange, dot, products as batch_products};
use crate::SimdLevel;
use crate::codec::kernels::activations::{ActivationOrder, Activations, BLOCK, PAIR};
use crate::codec::kernels::decode::integer::{self, Scale};
use crate::codec::kernels::decode::{self, Codes, DecodePlans, Memory, StreamCodes, lane_sum};
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

fn tiled() -> std::ops::Range<usize> {
    CodeSet::FIRST.count()..PinnedCode::COUNT
}

/// The levels of a stream, from the state map and the curve of its code.
fn plain(code: PinnedCode, stream: &[u8], len: usize) -> Vec<f32> {
    let trellis = code.trellis();
    let code = &trellis.code;
    let order = order::TileOrder {
        half_bits: code.half_bits,
    };
    let mut levels = Vec::new();
    let mut at = 0;
    while levels.len() < len {
        let weights = (len - levels.len()).min(TILE);
        let lanes = weights.div_ceil(STEPS);
        let tile = &stream[at..];
        at += order.bytes(lanes);
        let group = code.weights_a_step();
        let bits_a_lane = STEPS / group;
        let mut path = Vec::new();
        for lane in 0..lanes {
            let byte = order.path(tile, lanes, lane);
            path.extend((0..bits_a_lane).rev().map(|bit| byte >> bit & 1));
        }
        let cyclic = |step: isize| u32::from(path[step.rem_euclid(path.len() as isize) as usize]);
        for weight in 0..weights {
            let step = (weight / group) as isize;
            let register = (0..code.window as isize)
                .map(|back| cyclic(step - back) << back)
                .sum::<u32>();
            let offset = trellis.offsets[weight % group][register as usize];
            let stored = order.cell(tile, lanes, weight / STEPS, weight % STEPS);
            let cell = (0..1u32 << code.cell_bits())
                .find(|cell| code.stored_cell(*cell, offset.into()) == u32::from(stored))
                .unwrap();
            levels.push(trellis.levels[(cell << code.offset_bits) as usize | usize::from(offset)]);
        }
    }
    levels
}

proptest! {
    #[test]
    fn every_unit_gives_the_levels_of_the_code(
        number in tiled(),
        seed: u64,
        len in 1usize..1700,
        start in 0usize..70,
        from in 0usize..1700,
    ) {
        let pinned = PinnedCode::of_number(number);
        let rate = pinned.code().half_bits;
        let size = order::TileOrder { half_bits: rate }.stream_bytes(len);
        // The plane ends where the codes do, so that a read beyond it would be found.
        let plane = bytes(start + size, seed);
        let source = StreamCodes {
            path: &[],
            cells: &plane,
            chain: 0,
            path_bit: 0,
            cell_bit: 8 * start,
            rate: rate as u8,
            len,
        };
        let expected = plain(pinned, &plane[start..], len);
        let plans = DecodePlans::new(pinned.siblings(), &[rate as u8]).unwrap();
        let from = from.min(len) / BLOCK * BLOCK;
        let count = len - from;
        let values: Vec<f32> = (0..len).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut products = Vec::new();
        for simd in SimdLevel::available() {
            let mut memory = Memory::default();
            let codes = memory.load(simd, &plans, source, from, len);
            let mut out = vec![0.0; count.next_multiple_of(BLOCK)];
            decode::levels(simd, &codes, 0, &mut out);
            prop_assert_eq!(&out[..count], &expected[from..], "{:?}", simd);
            let codes = memory.load(simd, &plans, source, 0, len);
            let mut x = values.clone();
            x.resize(len.next_multiple_of(BLOCK), 0.0);
            let product = decode::dot(simd, &codes, &x);
            let mut lanes = [0.0f32; BLOCK];
            for (i, (level, x)) in expected.iter().zip(&x).enumerate() {
                lanes[i % BLOCK] = level.mul_add(*x, lanes[i % BLOCK]);
            }
            prop_assert_eq!(product.to_bits(), lane_sum(&lanes).to_bits(), "{:?}", simd);
            if !plans.has_integer_levels(rate as u8) {
                continue;
            }
            let unit = plans.tiles(rate as u8).unwrap().unit;
            let mut pairs = vec![0; len.next_multiple_of(PAIR)];
            integer::levels(simd, &codes, 0, &mut pairs);
            for (weight, level) in expected.iter().enumerate() {
                let place = weight % PAIR;
                let at = weight - place + 2 * (place % BLOCK) + place / BLOCK;
                prop_assert_eq!(f32::from(pairs[at]) * unit, *level);
            }
            let order = ActivationOrder::of_dot(simd, &plans);
            let scale = Scale::of_bytes(simd, &values).unwrap();
            let mut integers = Vec::new();
            scale.append_pairs(simd, &values, &mut integers);
            let sums = [integers.iter().map(|x| i32::from(*x)).sum()];
            order.arrange(&mut integers, 0);
            let terms = expected.iter().zip(&values).map(|(level, x)| {
                (level / unit).round() as i64 * i64::from(scale.integer(*x))
            });
            let exact = terms.sum::<i64>() as f32 * scale.unit;
            let units = [scale.unit];
            let x = Activations { values: &integers, units: &units, sums: &sums, order };
            let Codes::Tiles(codes) = codes else { unreachable!() };
            products.push(dot(simd, &codes, x));
            prop_assert_eq!(products[0].to_bits(), exact.to_bits(), "{:?}", simd);
            // A batch of the same vector, times several rows.
            for (rows, batch) in [(1, 2), (5, 1), (4, 3), (2, 7)] {
                let x = Activations {
                    values: &integers.repeat(batch),
                    units: &units.repeat(batch),
                    sums: &sums.repeat(batch),
                    order,
                };
                let mut out = vec![0.0; rows * batch];
                batch_products(simd, &vec![codes; rows], x, &mut TileMemory::default(), &mut out);
                prop_assert!(out.iter().all(|p| p.to_bits() == exact.to_bits()), "{:?} {:?}", simd, out);
            }
        }
        prop_assert!(products.iter().all(|p| p.to_bits() == products[0].to_bits()), "{:?}", products);
    }
}

#[test]
fn activations_of_all_sizes_are_two_signed_bytes() {
    for first in [-32512, -129, -128, -1, 0, 127, 128, 255, 32512] {
        let mut tile = [0; TILE];
        tile[STEPS * 5 + 3] = first;
        arrange(ActivationOrder::TilesOfBytes, &mut tile);
        let bytes: Vec<i8> = tile
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .map(|b| b as i8)
            .collect();
        let at = 2 * LANES * 3 + 5;
        assert_eq!(
            256 * i16::from(bytes[at]) + i16::from(bytes[at + LANES]),
            first
        );
        assert!(
            bytes
                .iter()
                .enumerate()
                .all(|(i, b)| *b == 0 || i == at || i == at + LANES)
        );
    }
}
