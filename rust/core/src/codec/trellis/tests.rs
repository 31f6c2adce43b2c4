//! Every code of every set is sound.

use super::byte_levels::line_count;
use super::code::{Axis, Code, HALF_BITS, LevelCurve, StateMap, Winding};
use super::code_set::{CODE_SETS, CodeSet, PinnedCode};
use super::constants;
use super::integer_levels::{IntegerLevels, PER_SIGMA, SEGMENTS, TAIL};
use super::tables::Trellis;
use crate::ErrorKind;

/// The codes of set 1.
fn chained() -> impl Iterator<Item = PinnedCode> {
    PinnedCode::all().filter(|code| !code.code().is_tiled())
}

#[test]
fn every_pinned_code_is_sound() {
    for code in PinnedCode::all() {
        let (trellis, code) = (code.trellis(), code.code());
        assert!(code.offset_bits <= 8 && code.phase_bits() <= 15, "{code:?}");
        assert!(
            code.run_bits() >= 4 && code.run_bits() < code.window,
            "{code:?}"
        );
        let levels = &trellis.levels;
        let rising = match code.is_tiled() {
            false => levels.is_sorted_by(|a, b| a < b),
            true => levels.is_sorted(),
        };
        assert!(rising, "{code:?}: levels must rise");
        let n = levels.len();
        for phase in 0..n {
            assert_eq!(levels[phase], -levels[n - 1 - phase], "{code:?}");
        }
        let odd = |number: &u32| number % 2 == 1;
        match &code.map {
            StateMap::Winding(winding) => {
                for axis in &winding.axes[..code.weights_a_step()] {
                    assert!(odd(&axis.turn) && odd(&axis.skew), "{code:?}");
                }
            }
            StateMap::Tables(axes) => {
                let more = (code.window as usize - 4).div_ceil(4);
                for axis in &axes[..code.weights_a_step()] {
                    assert!(odd(&axis.turn) && axis.turn < 128, "{code:?}");
                    assert!(axis.skews[..more].iter().all(odd), "{code:?}");
                    assert!(axis.skews[more..].iter().all(|skew| *skew == 0), "{code:?}");
                }
            }
        }
    }
}

#[test]
fn positions_stand_for_the_offsets_of_the_state_map() {
    for pinned in PinnedCode::all().filter(|code| code.code().is_tiled()) {
        let code = pinned.code();
        let StateMap::Tables(axes) = &code.map else {
            unreachable!();
        };
        for (number, axis) in axes[..code.weights_a_step()].iter().enumerate() {
            for register in 0..1 << code.window {
                let expected = (axis.offset(register) + 64) % 128;
                let position = code.position(number, register);
                assert_eq!(code.offset_at(number, position), expected);
                assert_eq!(
                    pinned.trellis().offsets[number][register as usize],
                    expected as u8
                );
            }
        }
    }
}

#[test]
fn stored_cells_are_the_cells_and_zero_is_the_tail() {
    for code in PinnedCode::all().map(PinnedCode::code) {
        let cells = 1 << code.cell_bits();
        for offset in 0..1 << code.offset_bits {
            let mut stored: Vec<u32> = (0..cells).map(|c| code.stored_cell(c, offset)).collect();
            if code.is_tiled() {
                let tail = if offset >= 64 { cells - 1 } else { 0 };
                assert_eq!(stored[tail as usize], 0, "{code:?}");
            }
            stored.sort_unstable();
            assert_eq!(stored, (0..cells).collect::<Vec<_>>(), "{code:?}");
        }
    }
}

#[test]
fn levels_in_bytes_are_symmetric() {
    for code in PinnedCode::all().map(PinnedCode::code) {
        let LevelCurve::Bytes(bytes) = &code.curve else {
            continue;
        };
        assert!(
            bytes.lines[line_count(code.cell_bits())..]
                .iter()
                .all(|step| *step == 0)
        );
        assert_eq!(bytes.tail[0], 0, "{code:?}");
        let phases = 1 << code.phase_bits();
        for phase in 0..phases {
            let level = code.integer_level(phase);
            assert!((-127..128).contains(&level), "{code:?}");
            assert_eq!(code.integer_level(phases - 1 - phase), -level, "{code:?}");
        }
    }
}

#[test]
fn every_rate_and_window_has_one_code() {
    for set in &CODE_SETS {
        for window in set.windows() {
            let rates: Vec<u32> = set
                .window(*window)
                .unwrap()
                .iter()
                .map(|c| c.half_bits)
                .collect();
            assert_eq!(
                rates,
                HALF_BITS.collect::<Vec<_>>(),
                "set {} W={window}",
                set.id()
            );
        }
    }
}

#[test]
fn the_codes_of_a_window_share_their_sizes() {
    for code in PinnedCode::all() {
        let first = code.siblings().iter().next().unwrap();
        let sizes = |code: &Code| (code.offset_bits, code.run_bits());
        assert_eq!(sizes(code.code()), sizes(first), "{:?}", code.code());
    }
}

#[test]
fn the_two_branches_out_of_a_state_differ_by_the_turn() {
    for code in PinnedCode::all() {
        let (trellis, code) = (code.trellis(), code.code());
        for (axis, offsets) in trellis.offsets.iter().enumerate() {
            for register in (0..1usize << code.window).step_by(2) {
                let step = i32::from(offsets[register + 1]) - i32::from(offsets[register]);
                let turn = match &code.map {
                    StateMap::Winding(winding) => winding.axes[axis].turn & code.offset_mask(),
                    StateMap::Tables(_) => 64,
                };
                assert_eq!(step.rem_euclid(1 << code.offset_bits), turn as i32);
            }
        }
    }
}

#[test]
fn an_unknown_code_is_refused() {
    let error = CodeSet::FIRST.code(17, 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(CodeSet::FIRST.code(8, 9).is_err());
    assert!(CodeSet::FIRST.window(9).is_err());
    assert!(CodeSet::FIRST.window(10).unwrap().code(0).is_err());
}

#[test]
fn a_number_stands_for_one_code_of_all_sets() {
    let numbers: Vec<usize> = PinnedCode::all().map(PinnedCode::number).collect();
    assert_eq!(numbers, (0..PinnedCode::COUNT).collect::<Vec<_>>());
    for code in PinnedCode::all() {
        let Code {
            half_bits, window, ..
        } = *code.code();
        assert_eq!(code.siblings().code(half_bits), Ok(code));
        assert_eq!(code.siblings().set().code(half_bits, window), Ok(code));
    }
    let mut ids: Vec<u32> = CODE_SETS.iter().map(CodeSet::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), CODE_SETS.len());
}

#[test]
fn constants_are_the_numbers_of_the_file() {
    let text = include_str!("code_set_1.txt");
    let lines = text.lines().map(|line| line.split('#').next().unwrap());
    let lines: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(lines.len(), constants::count(text));
    let codes: [Code; 64] = constants::windings(text);
    for (line, code) in lines.iter().zip(codes) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let whole = |i: usize| words[i].parse::<u32>().unwrap();
        let axis = |i: usize| Axis {
            turn: whole(i),
            skew: whole(i + 1),
        };
        let [a, b, c, noise] = [8, 9, 10, 11].map(|i| words[i].parse::<f32>().unwrap());
        let expected = Code {
            window: whole(0),
            half_bits: whole(1),
            offset_bits: whole(2),
            map: StateMap::Winding(Winding {
                run_bits: whole(3),
                axes: [axis(4), axis(6)],
            }),
            curve: LevelCurve::Quantile([a, b, c]),
            noise,
        };
        assert_eq!(code, expected, "{line}");
        assert_eq!(words.len(), 12, "{line}");
    }
}

/// The error of a code's integer levels in decibels.
fn error_db(trellis: &Trellis, integer: &IntegerLevels) -> f64 {
    let (mut error, mut signal) = (0.0, 0.0);
    for (level, integer) in trellis.levels.iter().zip(&integer.table) {
        let (level, integer) = (f64::from(*level), f64::from(*integer));
        error += (integer / f64::from(PER_SIGMA) - level).powi(2);
        signal += level * level;
    }
    10.0 * (error / signal).log10()
}

#[test]
fn codes_of_up_to_eleven_bits_of_phase_have_integer_levels() {
    for code in chained() {
        let (trellis, code) = (code.trellis(), code.code());
        match &trellis.integer {
            Some(integer) => {
                let error = error_db(trellis, integer);
                let most = [-60.9, -56.9, -57.5, -57.0, -55.3];
                assert!(
                    error < most[code.phase_bits() as usize - 7],
                    "{code:?}: {error}"
                );
            }
            None => assert!(code.phase_bits() > 11, "{code:?}"),
        }
    }
}

#[test]
fn integer_levels_fit_and_nearly_rise() {
    for code in chained() {
        let (trellis, code) = (code.trellis(), code.code());
        let Some(integer) = &trellis.integer else {
            continue;
        };
        let table = &integer.table[..trellis.levels.len()];
        // A sum modulo 2^16 that did not fit would be off by all of that.
        for (level, integer) in trellis.levels.iter().zip(table) {
            let miss = f32::from(*integer) - level * PER_SIGMA;
            assert!(miss.abs() < 200.0, "{code:?}: {level} {integer}");
        }
    }
}

#[test]
fn lines_and_tails_have_the_levels_of_the_table_and_the_curve_is_odd() {
    for code in chained() {
        let (trellis, code) = (code.trellis(), code.code());
        let Some(integer) = &trellis.integer else {
            continue;
        };
        let points = trellis.levels.len();
        for phase in 0..points {
            let segment = phase / (points / SEGMENTS);
            let level = match phase < TAIL || phase >= points - TAIL {
                true => integer.tail[phase % (2 * TAIL)],
                false => integer.base[segment]
                    .wrapping_add(integer.slope[segment].wrapping_mul(phase as i16)),
            };
            assert_eq!(level, integer.table[phase], "{code:?}");
            assert_eq!(-level, integer.table[points - 1 - phase], "{code:?}");
        }
    }
}

#[test]
fn levels_that_do_not_fit_are_refused() {
    let steep: Vec<f32> = (0..1024).map(|i| (i - 512) as f32 / 80.0).collect();
    assert!(IntegerLevels::new(&steep).is_none());
    let jagged: Vec<f32> = (0..1024).map(|i| (i % 2) as f32).collect();
    assert!(IntegerLevels::new(&jagged).is_none());
}
