//! The parameters of the trellis codec.

use crate::codec::trellis::code_set::{CodeSet, WindowCodes};
use crate::{Error, ErrorKind, Result};

/// The goal of a compression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most this many bits a weight, with all overhead.
    Bits(f64),
    /// The fewest bits with at least this signal-to-noise ratio.
    SqnrDb(f64),
}

/// A budget of bits a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Budget {
    /// Bits for every weight. The mask of zeros is deducted first.
    All(f64),
    /// Bits for the codes of each weight that has codes. All other bytes come on top. This serves the
    /// search over rates: if most weights are zero, a rate over all weights would be too coarse a step,
    /// and if rows are short, their scales would leave no bits for good codes.
    Coded(f64),
}

/// The accepted rates, in bits a weight. A tensor that keeps its zeros may have any lower rate, as far
/// as its zeros allow.
pub(super) const BITS: std::ops::RangeInclusive<f64> = 0.5..=8.5;

impl Goal {
    pub(super) fn validate(&self, keep_zeros: bool) -> Result<()> {
        let (number, accepted) = match self {
            Self::Bits(bits) if keep_zeros => (bits, *bits > 0.0 && bits <= BITS.end()),
            Self::Bits(bits) => (bits, BITS.contains(bits)),
            Self::SqnrDb(db) => (db, (0.0..=60.0).contains(db)),
        };
        if accepted {
            return Ok(());
        }
        let what = match self {
            Self::Bits(_) => "bits a weight: 0.5 to 8.5 are accepted, less where zeros are kept",
            Self::SqnrDb(_) => "dB: 0 to 60 are accepted",
        };
        Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{number} {what}"),
        ))
    }
}

/// The parameters of the trellis codec.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrellisParams {
    /// The goal.
    pub goal: Goal,
    /// The code set.
    pub code_set: &'static CodeSet,
    /// W, bits of the register: one of [`CodeSet::windows`].
    pub window: u32,
    /// Seed of the incoherence transform's signs; `None` codes the weights as they are.
    pub seed: Option<u64>,
    /// Whether weights that are exactly zero stay exactly zero.
    pub keep_zeros: bool,
    /// The largest accepted error of a weight. Weights whose codes have a larger error are stored
    /// exactly.
    pub max_error: Option<f64>,
}

impl TrellisParams {
    /// At most `bits` a weight, without other requirements.
    pub fn new(bits: f64, window: u32, seed: Option<u64>) -> Self {
        Self {
            goal: Goal::Bits(bits),
            code_set: CodeSet::FIRST,
            window,
            seed,
            keep_zeros: false,
            max_error: None,
        }
    }

    /// The codes that may be used.
    pub(super) fn codes(&self) -> Result<WindowCodes> {
        self.code_set.window(self.window)
    }

    pub(super) fn validate(&self) -> Result<()> {
        self.codes()?;
        self.goal.validate(self.keep_zeros)?;
        match self.max_error {
            Some(bound) if bound.is_nan() || bound < 0.0 => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("a largest error of {bound}: 0 or more is accepted"),
            )),
            _ => Ok(()),
        }
    }
}
