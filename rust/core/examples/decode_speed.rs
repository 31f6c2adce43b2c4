//! How long each vector unit takes for 32 weights, from codes to levels or to a sum of products.
//!
//! `cargo run --release -p hypercomp-core --example decode_speed -- [BITS [WINDOW [CODE_SET]]]`
//!
//! Rows of 4096 weights, one after the other through as many codes as a second-level cache holds; the
//! least of many rounds, on one thread.

use std::time::Instant;

use hypercomp_core::SimdLevel;
use hypercomp_core::codec::kernels::decode::{
    DecodePlans, Memory, StreamCodes, dot, integer, levels,
};
use hypercomp_core::codec::trellis::CodeSet;

const COLUMNS: usize = 4096;
const ROWS: usize = 64;
const ROUNDS: usize = 60;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let bits: f64 = arguments.next().map_or(4.0, |a| a.parse().unwrap());
    let window = arguments.next().map_or(8, |a| a.parse().unwrap());
    let rate = (2.0 * bits) as u8;
    let set = match arguments.next().as_deref() {
        Some("2") => CodeSet::SECOND,
        _ => CodeSet::FIRST,
    };
    let plans = DecodePlans::new(set.window(window).unwrap(), &[rate]).unwrap();
    let mut state = 1u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(COLUMNS * (ROWS + 1))
    .collect();
    let x: Vec<f32> = (0..COLUMNS).map(|i| (i as f32 * 0.7).sin()).collect();
    let source = |row: usize| StreamCodes {
        path: &bytes,
        cells: &bytes,
        chain: 0,
        path_bit: row * COLUMNS,
        // Tiles have their path bits beside the cells.
        cell_bit: row * COLUMNS * (usize::from(rate) - usize::from(!set.is_tiled())) / 2,
        rate,
        len: COLUMNS,
    };
    let mut floats = vec![0.0; COLUMNS];
    let mut integers = vec![0; COLUMNS];
    let mut total = 0.0;
    for simd in SimdLevel::available() {
        let order = integer::ActivationOrder::of_dot(simd, &plans);
        let as_integers = || {
            let mut values = Vec::with_capacity(COLUMNS);
            let (mut units, mut sums) = (Vec::new(), Vec::new());
            for stretch in x.chunks(order.stretch().min(COLUMNS)) {
                let scale = match set.is_tiled() {
                    true => integer::Scale::of_bytes(simd, stretch).unwrap(),
                    false => integer::Scale::of(simd, stretch).unwrap(),
                };
                let start = values.len();
                scale.append_pairs(simd, stretch, &mut values);
                sums.push(values[start..].iter().map(|x| i32::from(*x)).sum());
                order.arrange(&mut values, start);
                units.push(scale.unit);
            }
            (values, units, sums)
        };
        let time = |what: &str, each: &mut dyn FnMut(&mut Memory, StreamCodes<'_>)| {
            let mut memory = Memory::default();
            let mut least = f64::INFINITY;
            for _ in 0..ROUNDS {
                let start = Instant::now();
                for row in 0..ROWS {
                    each(&mut memory, source(row));
                }
                least = least.min(start.elapsed().as_secs_f64());
            }
            let weights = (ROWS * COLUMNS) as f64;
            println!(
                "{simd:?} {what}: {:.2} ns for 32 weights, {:.2} G weights/s",
                least / weights * 32e9,
                weights / least / 1e9
            );
        };
        time("levels", &mut |memory, source| {
            levels(
                simd,
                &memory.load(simd, &plans, source, 0, COLUMNS),
                0,
                &mut floats,
            );
        });
        time("product", &mut |memory, source| {
            total += dot(simd, &memory.load(simd, &plans, source, 0, COLUMNS), &x);
        });
        if plans.has_integer_levels(rate) {
            time("vector to integers", &mut |_, _| {
                total += f32::from(as_integers().0[7]);
            });
            time("integer levels", &mut |memory, source| {
                let codes = memory.load(simd, &plans, source, 0, COLUMNS);
                integer::levels(simd, &codes, 0, &mut integers);
            });
            let (values, units, sums) = as_integers();
            let activations = integer::Activations {
                values: &values,
                units: &units,
                sums: &sums,
                order,
            };
            time("integer product", &mut |memory, source| {
                let codes = memory.load(simd, &plans, source, 0, COLUMNS);
                total += integer::dot(simd, &codes, activations);
            });
        }
    }
    assert!(total.is_finite());
}
