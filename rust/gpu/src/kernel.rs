//! The kernels of the image: their names, and how one is launched.

use std::ffi::c_void;

use crate::device::{Device, Stream};
use crate::error::{Error, ErrorKind, Result};

/// The type of weights, activations and results of a kernel, by its number in `launch.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Float {
    /// Single precision.
    F32 = 0,
    /// IEEE half precision.
    F16 = 2,
    /// The upper half of a single-precision float.
    Bf16 = 3,
}

impl Float {
    /// The type of this name, as numpy and torch have it.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "float16" => Ok(Self::F16),
            "bfloat16" => Ok(Self::Bf16),
            "float32" => Ok(Self::F32),
            _ => Err(Error::new(
                ErrorKind::Dtype,
                format!("dtype={name}: float16, bfloat16 and float32 are accepted on a GPU"),
            )),
        }
    }

    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// Its number, below [`FLOATS`].
    pub fn number(self) -> u32 {
        self as u32
    }
}

/// One more than the highest number of a [`Float`].
pub(crate) const FLOATS: usize = 4;

/// A kernel of `cuda/launch.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel(usize);

/// In the order of [`Kernel`]'s constants.
const NAMES: [&str; 12] = [
    "hc_decode",
    "hc_transform",
    "hc_winding",
    "hc_spread_16",
    "hc_spread_32",
    "hc_patch_16",
    "hc_patch_32",
    "hc_matvec_1",
    "hc_matvec_2",
    "hc_matvec_4",
    "hc_matvec_8",
    "hc_offsets",
];

impl Kernel {
    /// Streams to weights.
    pub const DECODE: Self = Self(0);
    /// Vectors to the basis of the codes.
    pub const TRANSFORM: Self = Self(1);
    /// Codes of the published method to weights.
    pub const WINDING: Self = Self(2);

    /// A table of offsets.
    pub const OFFSETS: Self = Self(11);

    /// All kernels.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..NAMES.len()).map(Self)
    }

    /// Weights that are not zero to their places.
    pub fn spread(float: Float) -> Self {
        Self(3 + float.size() / 4)
    }

    /// Exact weights to their places.
    pub fn patch(float: Float) -> Self {
        Self(5 + float.size() / 4)
    }

    /// The product with 1, 2, 4 or 8 vectors.
    pub fn matvec(slots: u32) -> Self {
        Self(7 + slots.ilog2() as usize)
    }

    pub fn index(self) -> usize {
        self.0
    }

    pub fn name(self) -> &'static str {
        NAMES[self.0]
    }

    /// Put it on a stream. The device's context is current.
    ///
    /// # Safety
    /// `arguments` points to the kernel's arguments, as `launch.h` lists them.
    pub unsafe fn launch(
        self,
        device: &Device,
        stream: Stream,
        blocks: u64,
        threads: u32,
        arguments: &mut [*mut c_void],
    ) -> Result<()> {
        if blocks == 0 {
            return Ok(());
        }
        let blocks = u32::try_from(blocks)
            .ok()
            .filter(|blocks| *blocks <= i32::MAX as u32)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidArgument,
                    format!(
                        "{}: {blocks} blocks, at most 2^31 - 1 are possible",
                        self.name()
                    ),
                )
            })?;
        let driver = device.context().driver;
        // SAFETY: by the caller's promise; the function is of a module that the device holds.
        let status = unsafe {
            (driver.launch)(
                device.module().function(self),
                blocks,
                1,
                1,
                threads,
                1,
                1,
                0,
                stream.raw(),
                arguments.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        match driver.check("cuLaunchKernel", status) {
            Ok(()) => Ok(()),
            Err(error) => Err(Error::new(
                error.kind(),
                format!("{} on {}: {}", self.name(), device.name(), error.message()),
            )),
        }
    }
}

/// Pointers to arguments, as a launch takes them.
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => {
        [$((&raw const $argument).cast_mut().cast::<std::ffi::c_void>()),*]
    };
}
pub(crate) use arguments;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_have_the_names_that_they_are_asked_for_by() {
        assert_eq!(Kernel::DECODE.name(), "hc_decode");
        assert_eq!(Kernel::TRANSFORM.name(), "hc_transform");
        assert_eq!(Kernel::WINDING.name(), "hc_winding");
        assert_eq!(Kernel::OFFSETS.name(), "hc_offsets");
        for float in [Float::F16, Float::Bf16, Float::F32] {
            let bits = 8 * float.size();
            assert_eq!(Kernel::spread(float).name(), format!("hc_spread_{bits}"));
            assert_eq!(Kernel::patch(float).name(), format!("hc_patch_{bits}"));
        }
        for slots in [1, 2, 4, 8] {
            assert_eq!(Kernel::matvec(slots).name(), format!("hc_matvec_{slots}"));
        }
    }
}
