//! Which streams are multiplied by their integer levels.
//!
//! Integer levels differ from a code's levels by a thousandth of a standard deviation, for every level.
//! In a stream whose levels have a Gaussian distribution, this error is −55 dB or less. But nearly all
//! levels of a stream may be close to zero: in a row with one large weight that is coded without the
//! transform, or in a row whose weights lie in a single Hadamard block. There the same absolute error
//! exceeds the error bound of a product. So each stream is decoded both ways, once for a tensor.
//! Streams whose integer levels have a relative error above [`MOST`] are multiplied in floats.
//!
//! The sums have a fixed order, so that the decision is the same on every machine.

use crate::codec::format::streams::{NearStreams, Streams};
use crate::codec::kernels::decode::integer::{self, PAIR};
use crate::codec::kernels::decode::{self, BLOCK, Memory, StreamCodes};
use crate::codec::operations::decoder::Decoder;
use crate::codec::trellis::integer_levels::PER_SIGMA;
use crate::team::{Team, share};
use crate::{Control, Result};

/// The largest accepted squared error of a stream's integer levels, relative to the squares of its
/// levels: −54 dB. With integer activations at −59 dB, a result is within 50 dB.
const MOST: f32 = 4e-6;

/// Memory of one thread.
#[derive(Default)]
struct ComparisonBuffers {
    codes: Memory,
    levels: Vec<f32>,
    integers: Vec<i16>,
}

impl ComparisonBuffers {
    /// Whether a stream of this length has near enough integer levels.
    fn is_near(&mut self, decoder: &Decoder<'_>, source: StreamCodes<'_>, length: usize) -> bool {
        if !decoder.plans.has_integer_levels(source.rate) {
            return false;
        }
        // Levels of tiles are integers themselves.
        if decoder.plans.tiles(source.rate).is_some() {
            return true;
        }
        let Self {
            codes,
            levels,
            integers,
        } = self;
        let simd = decoder.simd;
        let codes = codes.load(simd, &decoder.plans, source, 0, length);
        levels.resize(length.next_multiple_of(PAIR), 0.0);
        integers.resize(length.next_multiple_of(PAIR), 0);
        decode::levels(simd, &codes, 0, levels);
        integer::levels(simd, &codes, 0, integers);
        // Compiled for the vector unit; the order of the sums is the same.
        simd.run(
            #[inline(always)]
            || are_near(levels, integers, length),
        )
    }
}

/// The streams of a tensor without a mask that have integer levels near enough.
pub(super) fn near<'a>(
    streams: &'a Streams,
    decoder: &Decoder<'_>,
    team: &dyn Team,
    control: &Control,
) -> Result<&'a NearStreams> {
    if let Some(found) = streams.near.0.get() {
        return Ok(found);
    }
    let mut each = vec![false; streams.rates.len()];
    if decoder.plans.integer_levels() {
        let layout = decoder.layout;
        let lengths = (0..layout.chains()).map(|i| layout.chain(i).len());
        let chains = crate::team::split_mut(&mut each, lengths).into_iter();
        let look = |workspace: &mut ComparisonBuffers, (chain, each): (usize, &mut [bool])| {
            control.check()?;
            let mut cursor = decoder.cursor(layout.chain(chain).start);
            for near in each {
                let (stream, source) = cursor.next();
                *near = source.is_some_and(|source| {
                    workspace.is_near(decoder, source, layout.stream(stream).len())
                });
            }
            Ok(())
        };
        share(team, chains.enumerate(), ComparisonBuffers::default, look)?;
    }
    // Another thread may have stored the same result first.
    let found = Box::new(NearStreams::new(each, &streams.rates));
    Ok(streams.near.0.get_or_init(|| found))
}

/// Whether the first `length` integer levels are near enough to the levels. Both have whole pairs of
/// blocks; in the integers weight 16 + j is beside weight j.
#[inline(always)]
fn are_near(levels: &[f32], integers: &[i16], length: usize) -> bool {
    let (mut miss, mut size) = ([0f32; BLOCK], [0f32; BLOCK]);
    let mut add = |lane: usize, level: f32, integer: i32| {
        let off = level - integer as f32 * (1.0 / PER_SIGMA);
        miss[lane] += off * off;
        size[lane] += level * level;
    };
    let (pairs, rest) = levels[..length].as_chunks::<PAIR>();
    let (integers, last) = integers[..length.next_multiple_of(PAIR)].split_at(PAIR * pairs.len());
    for (levels, integers) in pairs.iter().zip(integers.as_chunks::<PAIR>().0) {
        // Two 16-bit integers as one, which vector instructions separate by shifts.
        let both: [i32; BLOCK] = std::array::from_fn(|j| {
            let (low, high) = (integers[2 * j] as u16, integers[2 * j + 1] as u16);
            (u32::from(low) | u32::from(high) << 16) as i32
        });
        for j in 0..BLOCK {
            add(j, levels[j], both[j] << 16 >> 16);
        }
        for j in 0..BLOCK {
            add(j, levels[BLOCK + j], both[j] >> 16);
        }
    }
    for (i, level) in rest.iter().enumerate() {
        add(i % BLOCK, *level, last[2 * (i % BLOCK) + i / BLOCK].into());
    }
    miss.iter().sum::<f32>() <= MOST * size.iter().sum::<f32>()
}
