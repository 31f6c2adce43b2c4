//! The scales and rates that a stream may choose from, within the reserved bits.

use std::ops::Range;

use crate::Result;
use crate::codec::encode::bit_budget::{Allotment, Spread, grid, noises};
use crate::codec::encode::encoder::tables;
use crate::codec::encode::rate::Source;
use crate::codec::format::scale::ScaleGrid;
use crate::codec::kernels::viterbi::SearchTables;
use crate::codec::trellis::code::HALF_BITS;
use crate::codec::trellis::code_set::WindowCodes;

/// The numbers that fit in the bits reserved for them.
pub struct StreamChoices {
    pub grid: ScaleGrid,
    /// Scale numbers.
    pub scales: Range<u8>,
    /// Half bits, without 0.
    pub rates: Range<u8>,
    /// Noise by half bits; infinite for those that are not among the rates.
    pub noise: Vec<f64>,
    pub tables: Vec<Option<SearchTables<'static>>>,
}

impl StreamChoices {
    pub fn new(
        sources: &[Source],
        allotment: &Allotment,
        spread: Spread,
        codes: WindowCodes,
    ) -> Result<Self> {
        let grid = grid(sources, &allotment.rates, spread);
        let coded = sources.iter().zip(&allotment.rates);
        let numbers: Vec<u8> = coded
            .filter(|(_, rate)| **rate > 0)
            .map(|(source, _)| grid.nearest(source.variance.sqrt()))
            .collect();
        let smallest = numbers.iter().copied().max().unwrap_or(0);
        // One number below the smallest; all others that the bits can represent, except the mark,
        // above.
        let end = smallest.saturating_add(2);
        let many = (1u32 << allotment.scale_bits) - 1;
        let start = u32::from(end).saturating_sub(many) as u8;
        let rates = allotment.rates.iter().copied().filter(|rate| *rate > 0);
        let lowest = rates.clone().min().unwrap_or(1);
        let highest = rates.max().unwrap_or(lowest);
        // The further numbers that the bits can represent, to either side.
        let many = 1u8 << allotment.rate_bits;
        let below = (many - (highest - lowest + 1)) / 2;
        let lowest = lowest.saturating_sub(below).max(1);
        let rates = lowest..(lowest + many).min(*HALF_BITS.end() as u8 + 1);
        let mut noise = noises(codes)?;
        noise.truncate(usize::from(rates.end));
        noise[1..usize::from(rates.start)].fill(f64::INFINITY);
        let tables = tables(&rates.clone().collect::<Vec<u8>>(), codes)?;
        Ok(Self {
            grid,
            scales: start..end,
            rates,
            noise,
            tables,
        })
    }
}
