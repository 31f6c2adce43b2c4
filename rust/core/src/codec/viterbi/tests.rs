//! The search against a plain one in `f64`, and the vector forms against the portable one.

use proptest::prelude::*;

use super::*;
use crate::codec::constants::CODES;

/// Viterbi's algorithm as a textbook has it: every register, every cell, squared errors in `f64`,
/// no metric ever rounded. Gives the least possible squared error.
fn plain_least_error(trellis: &Trellis, targets: &[i16]) -> f64 {
    let code = trellis.code;
    let states = code.states();
    let cells = 1usize << (code.bits - 1);
    let mut metrics = vec![f64::INFINITY; states];
    metrics[0] = 0.0;
    for x in targets {
        let by_offset: Vec<f64> = (0..1usize << code.offset_bits)
            .map(|offset| {
                (0..cells)
                    .map(|cell| {
                        let level = trellis.levels[cell << code.offset_bits | offset];
                        (f64::from(*x) - f64::from(level)).powi(2)
                    })
                    .fold(f64::INFINITY, f64::min)
            })
            .collect();
        let mut next = vec![f64::INFINITY; states];
        for register in 0..2 * states {
            let cost = metrics[register >> 1] + by_offset[usize::from(trellis.offsets[register])];
            let state = register % states;
            next[state] = next[state].min(cost);
        }
        metrics = next;
    }
    metrics.into_iter().fold(f64::INFINITY, f64::min)
}

fn found_error(search: &Search<'_>, targets: &[i16]) -> f64 {
    targets
        .iter()
        .zip(&search.levels)
        .map(|(x, level)| (f64::from(*x) - f64::from(*level)).powi(2))
        .sum()
}

/// Sums of twelve uniform numbers: near enough to Gaussian, in level units.
fn gaussian_targets(tables: &SearchTables<'_>, n: usize, seed: u64) -> Vec<i16> {
    let mut state = seed;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let deviation = tables.trellis.code.deviation;
    (0..n)
        .map(|_| ((0..12).map(|_| uniform()).sum::<f32>() - 6.0) * deviation)
        .map(|x| tables.target(x))
        .collect()
}

#[test]
fn the_integer_search_is_as_good_as_the_plain_one() {
    for code in CODES.iter().filter(|c| c.window <= 12) {
        let trellis = Trellis::new(*code);
        let tables = SearchTables::new(&trellis, Lanes::detect());
        let mut search = Search::new(&tables);
        let n = if code.window == 12 { 300 } else { 1000 };
        let targets = gaussian_targets(&tables, n, 7);
        search.run(&targets, &Control::new()).unwrap();
        let (found, least) = (
            found_error(&search, &targets),
            plain_least_error(&trellis, &targets),
        );
        assert!(
            found >= least * (1.0 - 1e-12),
            "{code:?}: below the optimum"
        );
        assert!(found <= least * 1.01, "{code:?}: {found} against {least}");
    }
}

#[test]
fn what_the_search_says_is_what_a_decoder_finds() {
    for code in CODES.iter().filter(|c| c.window <= 10) {
        let trellis = Trellis::new(*code);
        let tables = SearchTables::new(&trellis, Lanes::detect());
        let mut search = Search::new(&tables);
        for n in [1, 2, 5, 7, 8, 9, 31, 100] {
            let targets = gaussian_targets(&tables, n, n as u64);
            search.run(&targets, &Control::new()).unwrap();
            let (path_len, cells_len) = trellis.plane_lens(n);
            let (mut path, mut cells) = (vec![0; path_len], vec![0; cells_len]);
            crate::codec::bitstream::pack(&search.path, 1, &mut path);
            crate::codec::bitstream::pack(&search.cells, code.bits - 1, &mut cells);
            let mut decoded = vec![0.0; n];
            trellis.decode(&path, &cells, 0.5, &mut decoded);
            for (value, level) in decoded.iter().zip(&search.levels) {
                assert_eq!(*value, 0.5 * f32::from(*level));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_lane_width_finds_the_same_path(
        code in 0..CODES.len(),
        targets in proptest::collection::vec(any::<i16>(), 0..80),
    ) {
        let code = CODES[code];
        prop_assume!(code.window <= 12);
        let trellis = Trellis::new(code);
        let run = |lanes| {
            let tables = SearchTables::new(&trellis, lanes);
            let targets: Vec<i16> = targets.iter().map(|x| tables.target(f32::from(*x))).collect();
            let mut search = Search::new(&tables);
            search.run(&targets, &Control::new()).unwrap();
            (search.path, search.cells, search.levels)
        };
        prop_assert_eq!(run(Lanes::Portable), run(Lanes::detect()));
    }

    #[test]
    fn the_nearest_level_of_an_offset_is_among_three_cells(code in 0..CODES.len(), x: i16, offset: u32) {
        let trellis = Trellis::new(CODES[code]);
        let tables = SearchTables::new(&trellis, Lanes::Portable);
        let offset = offset as usize % tables.positions();
        let (_, level) = tables.nearest(x, offset);
        let distance = |level: i16| (i32::from(x) - i32::from(level)).abs();
        let cells = 1usize << (CODES[code].bits - 1);
        let best = (0..cells)
            .map(|cell| distance(trellis.levels[cell << CODES[code].offset_bits | offset]))
            .min();
        prop_assert_eq!(Some(distance(level)), best);
    }
}
