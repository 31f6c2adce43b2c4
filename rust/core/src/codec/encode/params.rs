//! What the trellis codec is asked for.

use crate::codec::trellis::code_set::{CodeSet, WindowCodes};
use crate::{Error, ErrorKind, Result};

/// What is asked of a compressed tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most so many bits a weight, with all overhead.
    Bits(f64),
    /// The fewest bits with at least this signal-to-noise ratio.
    SqnrDb(f64),
}

/// What codes and all that is stored beside them may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Budget {
    /// So many bits for each weight; of them is paid first for which weights are zero.
    All(f64),
    /// So many for the codes of each weight that has one. All else is paid for apart: where most
    /// weights are zero, a search over rates of all of them would have to be finer than any step, and
    /// where rows are short their scales would leave no room for good codes.
    Coded(f64),
}

/// The rates that may be asked for, in bits a weight; of a tensor that keeps its zeros any lower one
/// too, as far as its zeros allow.
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

/// How the trellis codec is to work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrellisParams {
    /// What is asked for.
    pub goal: Goal,
    /// Whose codes are used.
    pub code_set: &'static CodeSet,
    /// W, bits of the register: one of [`CodeSet::windows`].
    pub window: u32,
    /// Seed of the incoherence transform's signs; `None` codes the weights as they are.
    pub seed: Option<u64>,
    /// Whether weights that are exactly zero stay so.
    pub keep_zeros: bool,
    /// The most that a weight may be missed by; those that codes miss by more are stored apart.
    pub max_error: Option<f64>,
}

impl TrellisParams {
    /// At most `bits` a weight, and nothing else asked for.
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
