//! The vector unit that decodes.

/// What a decoder runs on. Every choice gives the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Plain Rust, for any machine.
    Portable,
    /// 256-bit vectors of x86-64 (AVX2 and FMA).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512-bit vectors of x86-64 (AVX-512 F, BW and DQ).
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// The same with byte permutes and dot products of words (AVX-512 VBMI and VNNI).
    #[cfg(target_arch = "x86_64")]
    Vbmi,
}

impl Unit {
    /// All that this machine has, the best last.
    pub fn available() -> Vec<Self> {
        let mut units = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let two = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if two {
                units.push(Self::Avx2);
            }
            if two
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
            {
                units.push(Self::Avx512);
                if is_x86_feature_detected!("avx512vbmi") && is_x86_feature_detected!("avx512vnni")
                {
                    units.push(Self::Vbmi);
                }
            }
        }
        units
    }

    /// The best that this machine has.
    pub fn detect() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }

    /// Run a plain loop, compiled for this unit: the compiler turns it into its vectors.
    ///
    /// Rust never fuses or reorders float operations of its own accord, so the result is the same.
    #[inline(always)]
    pub fn run<R>(self, plain: impl FnOnce() -> R) -> R {
        match self {
            Self::Portable => plain(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the unit is only chosen where the machine has it.
            Self::Avx2 => unsafe { run_avx2(plain) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx512 | Self::Vbmi => unsafe { run_avx512(plain) },
        }
    }
}

/// # Safety
/// The machine has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<R>(plain: impl FnOnce() -> R) -> R {
    plain()
}

/// # Safety
/// The machine has AVX-512 F, BW and DQ.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq")]
unsafe fn run_avx512<R>(plain: impl FnOnce() -> R) -> R {
    plain()
}
