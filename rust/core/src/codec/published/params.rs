//! The parameters of the published codec, and bounds that rule out overflow in later steps.

use std::ops::RangeInclusive;

use crate::{Error, ErrorKind, Result};

/// Groups searched or decoded between two looks at the stop flag, well under a millisecond; a
/// multiple of eight, so that chunks of packed codes end on whole bytes.
pub const CHUNK: usize = 4096;

/// The group sizes K that have a code.
pub const GROUPS: RangeInclusive<usize> = 1..=4;
/// Accepted U. 2²⁴ is a square, a cube and a fourth power, so m^K ≤ 2²⁴ for every K, and a sample's
/// place is an integer that `f32`, let alone `f64`, holds exactly.
pub const SAMPLES: RangeInclusive<u32> = 1..=1 << 24;
/// Accepted class limits; (2²⁴ + 1)·(128 + 1) < 2³², so a code fits in 32 bits.
pub const CLASSES: RangeInclusive<u32> = 1..=128;
/// Accepted sides: far within the range of `f64`, so that no quotient of a side and a distance of two
/// `f32` under- or overflows.
pub const SIDES: RangeInclusive<f64> = 1e-30..=1e30;

/// The choices of the published method; the defaults are its own.
#[derive(Clone, Debug, PartialEq)]
pub struct WindingParams {
    /// K, consecutive weights that share a code: 1 to 4.
    pub group: usize,
    /// l, the side of the cube around the tensor's centre: 1e-30 to 1e30, in units of the weights.
    pub side: f64,
    /// U, samples on the winding, besides the centre: 1 to 2²⁴.
    pub samples: u32,
    /// The most categories that are tried for groups outside the cube: 1 to 128.
    pub class_max: u32,
    /// The mean absolute error that is good enough, in units of the weights: not negative.
    pub threshold: f64,
}

impl Default for WindingParams {
    fn default() -> Self {
        Self {
            group: 2,
            side: 0.1,
            samples: 1600,
            class_max: 3,
            threshold: 0.001,
        }
    }
}

impl WindingParams {
    /// Whether every parameter is accepted.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`], naming the parameter, its value and what is accepted.
    pub fn validate(&self) -> Result<()> {
        within("group", self.group, &GROUPS)?;
        within("side", self.side, &SIDES)?;
        within("samples", self.samples, &SAMPLES)?;
        within("class_max", self.class_max, &CLASSES)?;
        within("threshold", self.threshold, &(0.0..=f64::INFINITY))
    }
}

/// `InvalidArgument` unless `accepted` contains `value`; a NaN is in no range.
fn within<T: PartialOrd + std::fmt::Debug>(
    name: &str,
    value: T,
    accepted: &RangeInclusive<T>,
) -> Result<()> {
    if accepted.contains(&value) {
        return Ok(());
    }
    let (least, most) = (accepted.start(), accepted.end());
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("winding {name} {value:?}: accepted are {least:?} to {most:?}"),
    ))
}

/// Call a function that is generic over K with the K of the parameters, which are validated.
macro_rules! with_group {
    ($params:expr, $call:ident($($argument:expr),*)) => {
        match $params.group {
            1 => $call::<1>($($argument),*),
            2 => $call::<2>($($argument),*),
            3 => $call::<3>($($argument),*),
            _ => $call::<4>($($argument),*),
        }
    };
}
pub(super) use with_group;

#[cfg(test)]
mod tests {
    use super::*;

    /// The defaults with one change.
    fn changed(change: impl FnOnce(&mut WindingParams)) -> WindingParams {
        let mut params = WindingParams::default();
        change(&mut params);
        params
    }

    #[test]
    fn the_bounds_themselves_are_accepted() {
        assert!(WindingParams::default().validate().is_ok());
        for params in [
            changed(|p| p.group = 1),
            changed(|p| p.group = 4),
            changed(|p| p.side = 1e-30),
            changed(|p| p.side = 1e30),
            changed(|p| p.samples = 1),
            changed(|p| p.samples = 1 << 24),
            changed(|p| p.class_max = 1),
            changed(|p| p.class_max = 128),
            changed(|p| p.threshold = 0.0),
            changed(|p| p.threshold = f64::INFINITY),
        ] {
            params.validate().unwrap();
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        for (name, params) in [
            ("group 0", changed(|p| p.group = 0)),
            ("group 5", changed(|p| p.group = 5)),
            ("side 0.0", changed(|p| p.side = 0.0)),
            ("side -0.1", changed(|p| p.side = -0.1)),
            ("side NaN", changed(|p| p.side = f64::NAN)),
            ("side inf", changed(|p| p.side = f64::INFINITY)),
            ("samples 0", changed(|p| p.samples = 0)),
            ("samples 16777217", changed(|p| p.samples = (1 << 24) + 1)),
            ("class_max 0", changed(|p| p.class_max = 0)),
            ("class_max 129", changed(|p| p.class_max = 129)),
            ("threshold -1.0", changed(|p| p.threshold = -1.0)),
            ("threshold NaN", changed(|p| p.threshold = f64::NAN)),
        ] {
            let error = params.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().contains(name), "{error}");
            assert!(error.message().contains("accepted are"), "{error}");
        }
    }
}
