//! The search against a plain one in `f64`, and the vector forms against the portable one.

use proptest::prelude::*;

use super::*;
use crate::codec::numbers::bitstream::{Reader, Writer, packed_len};
use crate::codec::numbers::gaussian::gaussian;
use crate::codec::trellis::code_set::{CodeSet, PinnedCode};

/// The textbook form of Viterbi's algorithm: every register, every cell, squared errors in `f64`, no
/// rounding of metrics. Gives the least possible squared error of each length.
fn plain_least_error(tables: &SearchTables<'_>, targets: &[i16]) -> f64 {
    let trellis = tables.trellis;
    let code = trellis.code;
    let states = code.states();
    let cells = 1usize << code.cell_bits();
    let mut metrics = vec![f64::INFINITY; states];
    metrics[0] = 0.0;
    for step in targets.chunks(code.weights_a_step()) {
        let by_offset: Vec<Vec<f64>> = step
            .iter()
            .map(|x| {
                let distance = |cell: usize, offset: usize| {
                    let level = tables.levels[cell << code.offset_bits | offset];
                    (f64::from(*x) - f64::from(level)).powi(2)
                };
                (0..1usize << code.offset_bits)
                    .map(|offset| {
                        let of_cell = |cell| distance(cell, offset);
                        (0..cells).map(of_cell).fold(f64::INFINITY, f64::min)
                    })
                    .collect()
            })
            .collect();
        let mut next = vec![f64::INFINITY; states];
        for register in 0..2 * states {
            let distances = by_offset.iter().zip(&trellis.offsets);
            let cost: f64 = distances
                .map(|(distance, offsets)| distance[usize::from(offsets[register])])
                .sum();
            let state = register % states;
            next[state] = next[state].min(metrics[register >> 1] + cost);
        }
        metrics = next;
    }
    metrics.into_iter().fold(f64::INFINITY, f64::min)
}

fn gaussian_targets(tables: &SearchTables<'_>, n: usize, seed: u64) -> Vec<i16> {
    gaussian(seed, n)
        .iter()
        .map(|x| tables.target(*x))
        .collect()
}

/// The result of a search: path bits, cells, levels.
fn found(
    tables: &SearchTables<'_>,
    simd: SimdLevel,
    targets: &[i16],
) -> (Vec<u8>, Vec<u8>, Vec<f32>) {
    let mut search = ViterbiSearch::new(tables.trellis.code.window, simd);
    search.start(0);
    search.advance(tables, targets, &Control::new()).unwrap();
    search.finish();
    let (mut cells, mut levels) = (Vec::new(), Vec::new());
    tables.choose(&mut 0, &search.path, targets, &mut cells, &mut levels);
    (search.path, cells, levels)
}

fn squared_error(tables: &SearchTables<'_>, targets: &[i16], levels: &[f32]) -> f64 {
    let error = |(x, level): (&i16, &f32)| (f64::from(*x) - f64::from(level * tables.unit)).powi(2);
    targets.iter().zip(levels).map(error).sum()
}

#[test]
fn the_integer_search_is_as_good_as_the_plain_one() {
    for code in PinnedCode::all()
        .map(PinnedCode::code)
        .filter(|c| c.window <= 12)
    {
        let trellis = Trellis::new(*code);
        let tables = SearchTables::new(&trellis);
        let n = if code.window == 12 { 301 } else { 1001 };
        let targets = gaussian_targets(&tables, n, 7);
        let (_, _, levels) = found(&tables, SimdLevel::detected(), &targets);
        let found = squared_error(&tables, &targets, &levels);
        let least = plain_least_error(&tables, &targets);
        assert!(found <= least * 1.015, "{code:?}: {found} against {least}");
        // Levels are rounded to integers for the search alone.
        assert!(found >= least * 0.99, "{code:?}: below the optimum");
    }
}

#[test]
fn blocks_of_a_long_chain_are_settled_without_loss() {
    let trellis = CodeSet::FIRST.code(8, 12).unwrap().trellis();
    let tables = SearchTables::new(trellis);
    // More than four blocks of decisions.
    let n = 4 * SETTLED_BYTES / (4 * trellis.code.states() / 32) + 30_000;
    let targets = gaussian_targets(&tables, n, 8);
    let (path, _, levels) = found(&tables, SimdLevel::detected(), &targets);
    assert_eq!(path.len(), n);
    let noise = squared_error(&tables, &targets, &levels) / n as f64;
    let expected = f64::from(trellis.code.noise * tables.unit * tables.unit);
    assert!((noise / expected - 1.0).abs() < 0.05, "{noise} {expected}");
}

#[test]
fn what_the_search_says_is_what_a_decoder_finds() {
    for code in PinnedCode::all()
        .map(PinnedCode::code)
        .filter(|c| c.window <= 10 && !c.is_tiled())
    {
        let trellis = Trellis::new(*code);
        let tables = SearchTables::new(&trellis);
        for n in [1, 2, 5, 7, 8, 9, 31, 100] {
            let targets = gaussian_targets(&tables, n, n as u64);
            let (path, cells, levels) = found(&tables, SimdLevel::detected(), &targets);
            let mut packed = vec![0; packed_len(path.len(), 1)];
            let mut writer = Writer::new(&mut packed);
            writer.extend(&path, 1);
            writer.finish();
            let mut packed_cells = vec![0; packed_len(n, code.cell_bits())];
            let mut writer = Writer::new(&mut packed_cells);
            writer.extend(&cells, code.cell_bits());
            writer.finish();
            let mut decoded = vec![0.0; n];
            let cells = Reader::new(&packed_cells, code.cell_bits());
            trellis.decode(&mut Reader::new(&packed, 1), cells, 0, 0.5, &mut decoded);
            for (value, level) in decoded.iter().zip(&levels) {
                assert_eq!(*value, 0.5 * level);
            }
        }
    }
}

#[test]
fn a_closed_chain_is_nearly_as_good_as_an_open_one() {
    for pinned in PinnedCode::all().filter(|code| code.code().is_tiled()) {
        let code = pinned.code();
        if code.window > 12 || code.half_bits > 9 {
            continue;
        }
        let tables = SearchTables::new(pinned.trellis());
        let mut search = ViterbiSearch::new(code.window, SimdLevel::detected());
        let (mut closed, mut open) = (0.0, 0.0);
        for seed in 0..12 {
            let targets = gaussian_targets(&tables, 512, seed);
            search
                .closed_chain(&tables, &targets, &Control::new())
                .unwrap();
            let levels = levels_of_closed_chain(&tables, &search.path, &targets);
            closed += squared_error(&tables, &targets, &levels);
            let (_, _, levels) = found(&tables, SimdLevel::detected(), &targets);
            open += squared_error(&tables, &targets, &levels);
        }
        // An open chain begins with the register at 0, which costs 0.15 dB of 512 weights.
        assert!(closed < open * 1.005, "{code:?}: {closed} {open}");
    }
}

/// The levels of a closed chain with these path bits.
fn levels_of_closed_chain(tables: &SearchTables<'_>, path: &[u8], targets: &[i16]) -> Vec<f32> {
    let mut register = closed_register(path, tables.trellis().code.window);
    let (mut cells, mut levels) = (Vec::new(), Vec::new());
    tables.choose(&mut register, path, targets, &mut cells, &mut levels);
    levels
}

#[test]
fn short_closed_chains_are_the_best_of_all() {
    for pinned in PinnedCode::all().filter(|code| code.code().is_tiled()) {
        let code = pinned.code();
        let steps = 8 / code.weights_a_step();
        if code.half_bits > 9 {
            continue;
        }
        let tables = SearchTables::new(pinned.trellis());
        let targets = gaussian_targets(&tables, 8, 3);
        let mut search = ViterbiSearch::new(code.window, SimdLevel::detected());
        search
            .closed_chain(&tables, &targets, &Control::new())
            .unwrap();
        assert_eq!(search.path.len(), steps);
        let error = |path: &[u8]| {
            squared_error(
                &tables,
                &targets,
                &levels_of_closed_chain(&tables, path, &targets),
            )
        };
        let all = (0..1u32 << steps).map(|bits| {
            error(
                &(0..steps)
                    .map(|step| (bits >> step & 1) as u8)
                    .collect::<Vec<_>>(),
            )
        });
        let least = all.fold(f64::INFINITY, f64::min);
        assert_eq!(error(&search.path), least, "{code:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_lane_width_finds_the_same_path(
        number in 0..PinnedCode::COUNT,
        deviations in proptest::collection::vec(-6f32..6.0, 0..80),
    ) {
        let code = PinnedCode::of_number(number).code();
        let trellis = Trellis::new(*code);
        let tables = SearchTables::new(&trellis);
        let targets: Vec<i16> = deviations.iter().map(|x| tables.target(*x)).collect();
        let portable = found(&tables, SimdLevel::Portable, &targets);
        for simd in SimdLevel::available() {
            prop_assert_eq!(&portable, &found(&tables, simd, &targets), "{}", simd);
        }
    }

    #[test]
    fn the_nearest_level_of_an_offset_is_among_three_cells(number in 0..PinnedCode::COUNT, x: i16, offset: u32) {
        let code = PinnedCode::of_number(number).code();
        let trellis = Trellis::new(*code);
        let tables = SearchTables::new(&trellis);
        let offset = offset as usize % (1 << code.offset_bits);
        let distance = |cell: usize| {
            let level = tables.levels[cell << code.offset_bits | offset];
            (i32::from(x) - i32::from(level)).abs()
        };
        let best = (0..1usize << code.cell_bits()).map(distance).min();
        prop_assert_eq!(Some(distance(tables.nearest(x, offset))), best);
    }
}
