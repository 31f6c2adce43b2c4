//! Detection and choice of vector instructions.
//!
//! A [`SimdLevel`] is a proof. Its variants for vector instructions hold a token with a private field,
//! and only detection on this machine makes one. So a safe function may take a `SimdLevel` and run the
//! instructions that it names: the value proves that the machine has them.
//!
//! Code outside of this module can name a token, and cannot make one:
//!
//! ```compile_fail,E0423
//! # use hypercomp_core::simd::{Avx512, SimdLevel};
//! let forged = SimdLevel::Avx512(Avx512(()));
//! ```
//!
//! Every level gives the same bits; the choice changes speed alone. Both engines take the level once
//! for a call, from [`SimdLevel::in_use`], and pass it down.

use std::ffi::OsStr;
use std::fmt;
use std::sync::OnceLock;

use crate::{Error, ErrorKind, Result};

/// The environment variable that restricts the level: the name of a level, or empty for the best.
pub const OVERRIDE: &str = "HYPERCOMP_SIMD";

/// The names of all levels, of any architecture, in rising order.
pub const NAMES: [&str; 4] = ["portable", "avx2", "avx512", "vbmi"];

/// A set of vector instructions that this machine has. Levels rise: each includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SimdLevel {
    /// Plain Rust, which runs on every machine of the architecture.
    Portable,
    /// 256-bit vectors of x86-64.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// 512-bit vectors of x86-64, as since Skylake-X.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    /// The same with permutes of bytes, 52-bit products and counts of bits, as since Ice Lake and Zen 4.
    #[cfg(target_arch = "x86_64")]
    Vbmi(Vbmi),
}

/// Define a token and the features that it proves.
#[cfg(target_arch = "x86_64")]
macro_rules! token {
    ($(#[$doc:meta])* $name:ident, [$($feature:tt),*]) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(());

        impl $name {
            /// The token, if the machine has these instructions and the system saves their registers.
            pub fn detect() -> Option<Self> {
                ($(is_x86_feature_detected!($feature))&&*).then_some(Self(()))
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
token!(
    /// Proof that this machine has AVX2 and FMA.
    Avx2,
    ["avx2", "fma"]
);
#[cfg(target_arch = "x86_64")]
token!(
    /// Proof that this machine has AVX2, FMA, and AVX-512 F, BW, DQ and VL.
    Avx512,
    ["avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"]
);
#[cfg(target_arch = "x86_64")]
token!(
    /// Proof that this machine has what [`Avx512`] proves, and AVX-512 VBMI, VNNI, IFMA and VPOPCNTDQ.
    Vbmi,
    [
        "avx2",
        "fma",
        "avx512f",
        "avx512bw",
        "avx512dq",
        "avx512vl",
        "avx512vbmi",
        "avx512vnni",
        "avx512ifma",
        "avx512vpopcntdq"
    ]
);

impl SimdLevel {
    /// All levels that this machine has, in rising order, regardless of the override.
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let vectors = [
                Avx2::detect().map(Self::Avx2),
                Avx512::detect().map(Self::Avx512),
                Vbmi::detect().map(Self::Vbmi),
            ];
            [Some(Self::Portable)]
                .into_iter()
                .chain(vectors)
                .flatten()
                .collect()
        }
        #[cfg(not(target_arch = "x86_64"))]
        vec![Self::Portable]
    }

    /// The best level that this machine has, regardless of the override.
    pub fn detected() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }

    /// The level that calls use: the one that [`OVERRIDE`] names, or the best that the machine has.
    ///
    /// The variable is read once in a process, at the first call.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the variable names no level, or one that this machine lacks.
    /// No call runs on another level than the requested one.
    pub fn in_use() -> Result<Self> {
        static IN_USE: OnceLock<Result<SimdLevel>> = OnceLock::new();
        match IN_USE.get_or_init(|| Self::asked_for(std::env::var_os(OVERRIDE).as_deref())) {
            Ok(level) => Ok(*level),
            Err(error) => Err(error.clone()),
        }
    }

    /// The level that a value of [`OVERRIDE`] requests.
    fn asked_for(value: Option<&OsStr>) -> Result<Self> {
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return Ok(Self::detected());
        };
        let name = value.to_string_lossy();
        let available = Self::available();
        if let Some(level) = available.iter().find(|level| level.name() == name) {
            return Ok(*level);
        }
        let here: Vec<&str> = available.iter().map(|level| level.name()).collect();
        let what = match NAMES.contains(&&*name) {
            true => "this machine does not have these vector instructions",
            false => "no set of vector instructions has this name",
        };
        Err(Error::new(
            ErrorKind::InvalidArgument,
            format!(
                "{OVERRIDE}={name}: {what}; accepted here: {}, or unset the variable for the best of them",
                here.join(", ")
            ),
        ))
    }

    /// The name of the level in [`OVERRIDE`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => NAMES[0],
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => NAMES[1],
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => NAMES[2],
            #[cfg(target_arch = "x86_64")]
            Self::Vbmi(_) => NAMES[3],
        }
    }

    /// Run a plain loop that is compiled, and vectorised, for this level.
    ///
    /// The Rust compiler never fuses or reorders float operations by itself, so the result is the same.
    ///
    /// Write `#[inline(always)]` before the closure, and at functions that it calls. What is not inlined
    /// is compiled for the least unit, and runs at its speed: nothing else shows it.
    #[inline(always)]
    pub fn run<R>(self, plain: impl FnOnce() -> R) -> R {
        match self {
            Self::Portable => plain(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves that the machine has these instructions.
            Self::Avx2(_) => unsafe { run_avx2(plain) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx512(_) | Self::Vbmi(_) => unsafe { run_avx512(plain) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<R>(plain: impl FnOnce() -> R) -> R {
    plain()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq")]
fn run_avx512<R>(plain: impl FnOnce() -> R) -> R {
    plain()
}

impl fmt::Debug for SimdLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for SimdLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_for(name: &str) -> Result<SimdLevel> {
        SimdLevel::asked_for(Some(OsStr::new(name)))
    }

    #[test]
    fn levels_rise_and_the_best_is_the_last() {
        let levels = SimdLevel::available();
        assert_eq!(levels[0], SimdLevel::Portable);
        assert!(levels.is_sorted_by(|a, b| a < b));
        assert_eq!(SimdLevel::detected(), levels[levels.len() - 1]);
        let names: Vec<&str> = levels.iter().map(|level| level.name()).collect();
        assert_eq!(
            names,
            NAMES[..levels.len()],
            "no level is left out below the best"
        );
    }

    #[test]
    fn the_override_chooses_any_level_of_the_machine() {
        for level in SimdLevel::available() {
            assert_eq!(asked_for(level.name()), Ok(level));
        }
        for nothing in [None, Some(OsStr::new(""))] {
            assert_eq!(SimdLevel::asked_for(nothing), Ok(SimdLevel::detected()));
        }
    }

    #[test]
    fn what_the_machine_does_not_have_is_an_error_and_not_less() {
        let missing = &NAMES[SimdLevel::available().len()..];
        for name in missing.iter().chain(&["AVX2", "neon", "avx2 "]) {
            let error = asked_for(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(
                error
                    .message()
                    .starts_with(&format!("HYPERCOMP_SIMD={name}: "))
            );
            assert!(
                error.message().contains("accepted here: portable"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_plain_loop_gives_the_same_on_every_level() {
        let values: Vec<f32> = (0..100u8).map(|i| f32::from(i) * 0.37 - 11.0).collect();
        let sum = |level: SimdLevel| level.run(|| values.iter().fold(0.0f32, |sum, x| sum + x * x));
        for level in SimdLevel::available() {
            assert_eq!(
                sum(level).to_bits(),
                sum(SimdLevel::Portable).to_bits(),
                "{level}"
            );
        }
    }
}
