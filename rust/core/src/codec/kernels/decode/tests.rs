//! Every vector unit against the plain decoder, bit for bit.

use proptest::prelude::*;

use super::*;
use crate::codec::numbers::bitstream::Reader;
use crate::codec::trellis::code_set::{CodeSet, PinnedCode, WindowCodes};

/// The levels of weights `..len` of a stream by [`decode`](crate::codec::trellis::Trellis::decode), whose chain begins `run` path
/// bits before it.
fn plain(source: StreamCodes<'_>, codes: WindowCodes, run: usize, len: usize) -> Vec<f32> {
    let trellis = codes.code(source.rate.into()).unwrap().trellis();
    let before = run.min(trellis.code.window as usize);
    let mut path = Reader::starting_at(source.path, 1, source.path_bit - before);
    let register = (0..before).fold(0, |r, _| r << 1 | path.next_field() as usize);
    let cells = Reader::starting_at(source.cells, trellis.code.cell_bits(), source.cell_bit);
    let mut out = vec![0.0; len];
    trellis.decode(&mut path, cells, register, 1.0, &mut out);
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #[test]
    fn every_unit_gives_the_bits_of_the_plain_decoder(
        number in 0..CodeSet::FIRST.count(),
        bytes in proptest::collection::vec(any::<u8>(), 700),
        chain in 0usize..40,
        run in 0usize..80,
        cell_bit in 0usize..80,
        len in 0usize..300,
        from in 0usize..300,
    ) {
        let (code, window) = (PinnedCode::of_number(number).code(), PinnedCode::of_number(number).siblings());
        let path_bit = chain * 8 + run;
        // The planes end where the codes do, so that a read beyond them would be found.
        let path_end = (path_bit + code.path_len(len)).div_ceil(8);
        let cell_end = (cell_bit + code.cells_len(len)).div_ceil(8);
        let source = StreamCodes {
            path: &bytes[..path_end],
            cells: &bytes[bytes.len() - cell_end..],
            chain,
            path_bit,
            cell_bit,
            rate: code.half_bits as u8,
            len,
        };
        let expected = plain(source, window, run, len);
        let plans = DecodePlans::new(window, &[source.rate]).unwrap();
        let from = (from.min(len) / BLOCK) * BLOCK;
        let padded = (len - from).next_multiple_of(BLOCK);
        let x: Vec<f32> = (0..padded)
            .map(|i| if from + i < len { (i as f32 * 0.7).sin() } else { 0.0 })
            .collect();
        let mut products = Vec::new();
        for simd in SimdLevel::available() {
            let mut memory = Memory::default();
            let codes = memory.load(simd, &plans, source, from, len);
            let mut out = vec![0.0; padded];
            levels(simd, &codes, 0, &mut out);
            prop_assert_eq!(bits(&out[..len - from]), bits(&expected[from..]), "{:?}", simd);
            products.push(dot(simd, &codes, &x));
            // Also from a weight within the stream on.
            if padded > BLOCK {
                let mut rest = vec![0.0; padded - BLOCK];
                levels(simd, &codes, BLOCK, &mut rest);
                prop_assert_eq!(bits(&rest), bits(&out[BLOCK..]));
            }
        }
        prop_assert!(products.iter().all(|p| p.to_bits() == products[0].to_bits()), "{:?}", products);
        let exact: f64 = expected[from..].iter().zip(&x).map(|(w, x)| f64::from(w * x)).sum();
        prop_assert!((f64::from(products[0]) - exact).abs() <= 1e-4 * (1.0 + padded as f64).sqrt());
    }
}

#[test]
fn all_phases_of_all_codes_decode_alike() {
    // A long stream of pseudo-random bits reaches all phases; the portable form reads the table.
    let mut state = 1u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(1 << 17)
    .collect();
    for pinned in PinnedCode::all().take(CodeSet::FIRST.count()) {
        let (rate, window) = (pinned.code().half_bits as u8, pinned.siblings());
        let source = StreamCodes {
            path: &bytes,
            cells: &bytes,
            chain: 0,
            path_bit: 0,
            cell_bit: 3,
            rate,
            len: 1 << 16,
        };
        let plans = DecodePlans::new(window, &[rate]).unwrap();
        let len = 1 << 16;
        let expected = plain(source, window, 0, len);
        for simd in SimdLevel::available() {
            let mut memory = Memory::default();
            let mut out = vec![0.0; len];
            levels(
                simd,
                &memory.load(simd, &plans, source, 0, len),
                0,
                &mut out,
            );
            assert!(
                bits(&out) == bits(&expected),
                "{simd:?} {:?}",
                pinned.code()
            );
        }
    }
}
