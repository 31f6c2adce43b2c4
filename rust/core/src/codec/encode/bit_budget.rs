//! The bits of each stream, from a budget that counts the codes and all other stored bytes.

use super::params::Budget;
use super::rate::{Source, allocate};
use crate::codec::format::layout::Layout;
use crate::codec::format::scale::{ScaleGrid, ZERO_ROW};
use crate::codec::format::streams::StoredRange;
use crate::codec::kernels::tiles::order::STEPS;
use crate::codec::numbers::element::exp2i;
use crate::codec::trellis::code::HALF_BITS;
use crate::codec::trellis::code_set::WindowCodes;
use crate::{Error, ErrorKind, Result};

/// The range of rates, and the margin for scales that differ from those of the weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    /// How far the rate of a row may be below the average rate, in bits. `None`: a row that is not
    /// worth a bit gets none.
    pub below: Option<f64>,
    /// Numbers of the scale grid that are reserved for scales above those of the weights.
    pub larger: u8,
}

impl Spread {
    /// For rows that are coded as they are. A row of small weights still gets bits, because later
    /// layers may scale its output up again.
    pub const PLAIN: Self = Self {
        below: Some(1.0),
        larger: 0,
    };
}

/// Half bits for each stream, and the bits reserved for scales and rates.
#[derive(Clone, Debug)]
pub(super) struct Allotment {
    pub rates: Vec<u8>,
    /// Bits available for all codes.
    pub codes: f64,
    /// Bits of each stream's rate and scale number.
    pub rate_bits: u32,
    pub scale_bits: u32,
}

/// Mean squared error at variance 1, by half bits; 1 at 0 half bits.
pub(super) fn noises(codes: WindowCodes) -> Result<Vec<f64>> {
    let mut noise = vec![1.0];
    for half_bits in HALF_BITS {
        noise.push(codes.code(half_bits)?.code().noise.into());
    }
    Ok(noise)
}

/// The grid that spans the scales of all coded streams, and some larger ones.
pub(super) fn grid(sources: &[Source], rates: &[u8], spread: Spread) -> ScaleGrid {
    let coded = sources.iter().zip(rates).filter(|(_, rate)| **rate > 0);
    let (smallest, largest) =
        coded.fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), (source, _)| {
            let deviation = source.variance.sqrt();
            (low.min(deviation), high.max(deviation))
        });
    // A number is a sixteenth of an octave on the finest grid.
    let room = exp2i(spread.larger.div_ceil(16).into());
    ScaleGrid::spanning(smallest.min(largest), largest * room)
}

/// A mask of at most this many bytes counts as header. The budget ignores the header of very small
/// tensors, where it would take more than half of the bits.
const SMALL_MASK: usize = 64;

/// The bits for codes and scales after the mask has been deducted, or the bits for codes alone.
pub(super) struct BitBudget {
    bits: f64,
    codes_alone: bool,
    /// The bits of the mask, if the caller asked for it; it must then leave half a bit for each weight
    /// with codes.
    mask: Option<f64>,
    weights: usize,
}

impl BitBudget {
    /// The budget of a tensor of `weights` weights. `coded` of them have codes; `masked` bytes store
    /// which others are zero. Weights without codes leave their bits to those with codes, which get
    /// half a bit each even if less is left.
    pub fn new(budget: Budget, weights: usize, coded: usize, masked: usize) -> Self {
        let mask = 8.0 * masked as f64;
        match budget {
            Budget::Coded(bits) => Self {
                bits: bits * coded as f64,
                codes_alone: true,
                mask: None,
                weights,
            },
            Budget::All(bits) => Self {
                bits: bits * weights as f64 - mask,
                codes_alone: false,
                mask: None,
                weights,
            },
        }
    }

    /// For a mask that the caller asked for: [`allot`](Self::allot) returns an error if this mask
    /// leaves less than half a bit for each weight with codes.
    pub fn refusing_masks(self, masked: usize) -> Self {
        let refused = masked > SMALL_MASK && !self.codes_alone;
        Self {
            mask: refused.then_some(8.0 * masked as f64),
            ..self
        }
    }

    /// The bits for codes, or an error if they are less than half a bit for each of `coded` weights.
    fn at_least(&self, codes: f64, coded: usize) -> Result<f64> {
        let least = 0.5 * coded as f64;
        match self.mask {
            Some(mask) if codes < least => {
                let a_weight = |bits: f64| bits / self.weights as f64;
                Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!(
                        "{:.3} bits a weight are too few: the mask of zeros takes {:.3}, and half a bit \
                         for each other weight {:.3}",
                        a_weight(self.bits + mask),
                        a_weight(mask),
                        a_weight(least),
                    ),
                ))
            }
            _ => Ok(codes.max(least)),
        }
    }

    /// Half bits for each stream, so that the codes and all other stored bytes fit in the budget. In a
    /// tensor so small that the other bytes would take more than half, only the codes count.
    pub fn allot(
        &self,
        layout: &Layout,
        sources: &[Source],
        codes: WindowCodes,
        spread: Spread,
        header: usize,
    ) -> Result<Allotment> {
        let budget = self.bits;
        let coded: usize = sources.iter().map(|source| source.len).sum();
        let header_bits = if self.codes_alone { 0 } else { 8 * header };
        let rate = (budget - header_bits as f64) / coded.max(1) as f64;
        let least = match spread.below {
            Some(below) => (2.0 * (rate - below)).ceil().clamp(1.0, 16.0) as u8,
            None => 0,
        };
        let noise = noises(codes)?;
        let (padded, odd);
        let sources = match codes.set().is_tiled() {
            // A stream has whole lanes; at half rates an odd lane leaves four bits.
            true => {
                let pad = |source: &Source| Source {
                    len: source.len.next_multiple_of(STEPS),
                    ..*source
                };
                padded = sources.iter().map(pad).collect::<Vec<_>>();
                odd = 4 * padded.iter().filter(|s| s.len / STEPS % 2 == 1).count();
                &padded
            }
            // At half rates two weights share a path bit; the last weight of an odd number has its own.
            false => {
                odd = sources.iter().filter(|source| source.len % 2 == 1).count() / 2;
                sources
            }
        };
        let mut allotment = Allotment {
            rates: Vec::new(),
            codes: 0.0,
            rate_bits: 0,
            scale_bits: 8,
        };
        // Begin with a byte for each scale. Then take the bits that the scales of the streams need,
        // with a margin to either side, because scales are fitted again after the search.
        for rate_bits in 0..=4 {
            if rate_bits > 0 {
                allotment.scale_bits = scale_bits(sources, &allotment.rates, spread);
            }
            allotment.rate_bits = rate_bits;
            // Both planes are padded to a whole byte in each chain; scales and rates are padded once.
            let a_stream = (allotment.scale_bits + rate_bits) as usize;
            let beside = 8 * header + a_stream * layout.len() + 14 * layout.chains() + 14 + odd;
            let codes = match beside as f64 {
                beside if 2.0 * beside <= budget && !self.codes_alone => budget - beside,
                _ => budget,
            };
            allotment.codes = self.at_least(codes, coded)?;
            allotment.rates = allocate(sources, &noise, least, allotment.codes);
            if rate_bits > 0 && StoredRange::of_rates(&allotment.rates).width <= rate_bits {
                break;
            }
        }
        Ok(allotment)
    }
}

/// Streams are short if they have fewer weights than this on average.
const SHORT: usize = 128;

/// Bits that a scale will take.
fn scale_bits(sources: &[Source], rates: &[u8], spread: Spread) -> u32 {
    let grid = grid(sources, rates, spread);
    let numbers = sources.iter().zip(rates).map(|(source, rate)| match rate {
        0 => ZERO_ROW,
        _ => grid.nearest(source.variance.sqrt()),
    });
    let mut numbers: Vec<u8> = numbers.collect();
    let span = StoredRange::of_scales(&numbers);
    // The best scale of few weights is uncertain: after the search it may be several numbers away.
    let coded: usize = sources.iter().map(|source| source.len).sum();
    let away = if coded < SHORT * sources.len() { 4 } else { 1 };
    if spread.below.is_none() {
        // A row may get no bits.
        numbers.push(ZERO_ROW);
    }
    let most = numbers.iter().copied().filter(|n| *n != ZERO_ROW).max();
    numbers.push(
        span.lowest
            .saturating_sub(spread.larger.saturating_add(away)),
    );
    numbers.push(most.map_or(0, |most| most.saturating_add(away)).min(254));
    StoredRange::of_scales(&numbers).width
}
