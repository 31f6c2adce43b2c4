//! Finds the rate that meets the goal of a compression.
//!
//! A goal in bits is met by allocation, before the search. The error is known only after the search, so
//! for a goal in dB the search is repeated at rates that approach the least sufficient one. The first
//! guess comes from the noise of the codes and is rarely off by more than 0.02 bit, so two or three
//! searches are the rule.

use super::params::{BITS, Budget, Goal, TrellisParams};
use crate::codec::format::axes::Axes;
use crate::codec::format::bytes;
use crate::codec::format::exceptions::Exceptions;
use crate::codec::format::sections::sections_len;
use crate::codec::format::streams::Streams;
use crate::codec::format::tensor::Energy;
use crate::codec::numbers::element::{Element, PowerOfTwo};
use crate::codec::operations::decoder::Decoder;
use crate::team::CurrentPool;
use crate::{Control, Error, ErrorKind, Result, SimdLevel};

/// The most searches.
const ATTEMPTS: usize = 12;

/// The tolerance above the requested ratio, in dB, and the distance to a rate that fails, in bits, at
/// which the search ends.
const CLOSE: (f64, f64) = (0.02, 0.002);

const DB_A_BIT: f64 = 6.020_599_913_279_624;

/// The result of a search at some rate.
struct Attempt {
    streams: Streams,
    energy: Energy,
    /// Bits a weight in all.
    bits: f64,
    /// Whether the error of any weight exceeds `max_error`.
    beyond: bool,
}

/// The codes of a tensor that reach the goal.
pub(super) fn reach<T: Element>(
    weights: &[T],
    shape: &[usize],
    exponent: i32,
    params: &TrellisParams,
    control: &Control,
) -> Result<(Streams, Energy)> {
    let attempt = |budget: Budget| attempt(weights, shape, exponent, params, budget, control);
    let found = match params.goal {
        Goal::Bits(bits) if params.max_error.is_none() => attempt(Budget::All(bits))?,
        Goal::Bits(bits) => within(bits, |bits| attempt(Budget::All(bits)))?,
        Goal::SqnrDb(db) => at_least(db, params, |bits| attempt(Budget::Coded(bits)))?,
    };
    Ok((found.streams, found.energy))
}

fn attempt<T: Element>(
    weights: &[T],
    shape: &[usize],
    exponent: i32,
    params: &TrellisParams,
    budget: Budget,
    control: &Control,
) -> Result<Attempt> {
    let header = bytes::header_len(shape, Axes::InOrder) + bytes::trellis_header(params.seed);
    let (mut streams, mut energy) =
        Streams::encode(weights, shape, exponent, params, budget, header, control)?;
    let mut beyond = false;
    if let Some(bound) = params.max_error {
        let mut decoded = vec![T::default(); weights.len()];
        Decoder::new(&streams, shape, SimdLevel::in_use()?)?.decode(
            0..weights.len(),
            &mut decoded,
            &CurrentPool,
            control,
        )?;
        let (exceptions, squares) = Exceptions::beyond(weights, &decoded, bound);
        beyond = !exceptions.is_empty();
        streams.exceptions = std::mem::take(&mut streams.exceptions).and(exceptions);
        // Energies are those of the weights divided by 2^exponent.
        let squares = PowerOfTwo::new(-2 * exponent).times(squares);
        energy.error = (energy.error - squares).max(0.0);
    }
    let bytes = header + sections_len(&streams);
    Ok(Attempt {
        bits: 8.0 * bytes as f64 / weights.len() as f64,
        streams,
        energy,
        beyond,
    })
}

/// The search at the highest rate whose codes and exceptions together take at most `bits`.
fn within(bits: f64, attempt: impl Fn(f64) -> Result<Attempt>) -> Result<Attempt> {
    let mut rate = bits;
    let mut least = f64::INFINITY;
    for _ in 0..ATTEMPTS {
        let found = attempt(rate)?;
        if found.bits <= bits || !found.beyond {
            return Ok(found);
        }
        least = least.min(found.bits);
        // Fewer bits for the codes mean more exceptions, so the rate is lowered by a little more than
        // the excess.
        rate -= 1.25 * (found.bits - bits) + 0.002;
        if !BITS.contains(&rate) {
            break;
        }
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!(
            "{bits} bits a weight do not keep every error within max_error: the fewest found are {least:.3}"
        ),
    ))
}

/// The search at the least rate whose codes have a signal-to-noise ratio of `db`.
fn at_least(
    db: f64,
    params: &TrellisParams,
    attempt: impl Fn(f64) -> Result<Attempt>,
) -> Result<Attempt> {
    let (mut too_low, highest) = (*BITS.start(), *BITS.end());
    let noise = params.codes()?.code(8)?.code().noise;
    let four_bits = -10.0 * f64::from(noise).log10();
    let mut rate = (4.0 + (db - four_bits) / DB_A_BIT + 0.02).clamp(too_low, highest);
    let mut best: Option<(f64, Attempt)> = None;
    let mut least_step = CLOSE.1;
    for _ in 0..ATTEMPTS {
        let found = attempt(rate)?;
        let above = found.energy.sqnr_db() - db;
        if above >= 0.0 {
            best = Some((rate, found));
        } else {
            too_low = rate;
        }
        let enough = best.as_ref().map_or(highest, |(rate, _)| *rate);
        let close = (0.0..CLOSE.0).contains(&above) || enough - too_low < CLOSE.1;
        if close || too_low >= highest {
            break;
        }
        // A step from the difference in dB, with a target a quarter of the tolerance above the goal; a
        // bisection if the step leaves the bracket. In a small tensor a step may change nothing, so
        // upward steps grow.
        let mut step = rate - (above - CLOSE.0 / 4.0) / DB_A_BIT;
        if above < 0.0 {
            least_step *= 2.0;
            step = step.max(rate + least_step);
        }
        rate = if step > too_low && step < enough {
            step
        } else if best.is_none() && step >= enough {
            highest
        } else {
            (too_low + enough) / 2.0
        };
    }
    best.map(|(_, found)| found).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidArgument,
            format!("{db} dB are not reached at {highest} bits a weight, the highest rate"),
        )
    })
}
