//! Decoding as a user of the crate meets it: every shape and rate against the plain decoder, and any
//! range against the whole.

use half::{bf16, f16};
use hypercomp_core::codec::WindingParams;
use hypercomp_core::codec::format::layout::Layout;
use hypercomp_core::codec::kernels::decode::{BLOCK, DecodePlans, Memory, StreamCodes, levels};
use hypercomp_core::codec::kernels::hadamard::Incoherence;
use hypercomp_core::codec::kernels::tiles::order::TileOrder;
use hypercomp_core::codec::numbers::bitstream::Reader;
use hypercomp_core::codec::numbers::element::{Element, PowerOfTwo};
use hypercomp_core::codec::trellis::CodeSet;
use hypercomp_core::codec::{Codec, CompressedTensor, Payload, Streams, TrellisParams};
use hypercomp_core::team::CurrentPool;
use hypercomp_core::{Control, ErrorKind, SimdLevel};
use proptest::prelude::*;

mod compressed;
use compressed::{bytes, codecs, compress, decompress, weights};

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
            if rate > 0 && streams.code_set.is_tiled() {
                // Tiles have a plain decoder of their own, in `kernels/tiles_tests.rs`.
                let source = StreamCodes {
                    path: &[],
                    cells: &streams.cells,
                    chain: 0,
                    path_bit: 0,
                    cell_bit,
                    rate: rate as u8,
                    len: coded,
                };
                let plans = DecodePlans::new(streams.codes().unwrap(), &[rate as u8]).unwrap();
                let mut memory = Memory::default();
                let codes = memory.load(SimdLevel::Portable, &plans, source, 0, coded);
                let mut levels_of_blocks = vec![0.0; coded.next_multiple_of(BLOCK)];
                levels(SimdLevel::Portable, &codes, 0, &mut levels_of_blocks);
                let scale = streams.grid.scale(streams.scales[stream]);
                values = levels_of_blocks[..coded]
                    .iter()
                    .map(|level| level * scale)
                    .collect();
                let half_bits = rate as u32;
                cell_bit += 8 * TileOrder { half_bits }.stream_bytes(coded);
            } else if rate > 0 {
                let trellis = streams
                    .codes()
                    .unwrap()
                    .code(rate as u32)
                    .unwrap()
                    .trellis();
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
            }
            if rate > 0
                && let Some(seed) = streams.seed
            {
                Incoherence::new(SimdLevel::Portable, seed, values.len()).inverse(&mut values);
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

#[test]
fn chosen_rows_are_those_of_the_whole() {
    let shape = [60, 3, 70];
    for codec in [
        Codec::Winding(WindingParams::default()),
        Codec::Trellis(TrellisParams::new(3.6, 8, Some(1))),
        Codec::Trellis(TrellisParams {
            code_set: CodeSet::SECOND,
            ..TrellisParams::new(3.6, 8, Some(1))
        }),
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
