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

/// The declarations that the kernels are compiled from.
const DECLARATIONS: &[u8] = include_bytes!("../../../cuda/kernels.def");
/// The start of an entry, at the start of a line.
const ENTRY: &[u8] = b"\nHC_KERNEL(";

/// The kernels' names, in the order of [`DECLARATIONS`].
const NAMES: [&str; count()] = names();

/// A kernel of `cuda/kernels.def`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel(usize);

impl Kernel {
    /// Decode streams to weights.
    pub const DECODE: Self = Self::named("hc_decode");
    /// Decode streams in tiles to weights.
    pub const TILE_DECODE: Self = Self::named("hc_tile_decode");
    /// Transform vectors to the basis of the codes.
    pub const TRANSFORM: Self = Self::named("hc_transform");
    /// Decode the codes of the published method.
    pub const WINDING: Self = Self::named("hc_winding");
    /// Compute a table of offsets.
    pub const OFFSETS: Self = Self::named("hc_offsets");

    /// The kernel of this name. In a constant the lookup is at compile time.
    ///
    /// # Panics
    /// If no kernel has this name. In a constant this is a compile error.
    pub const fn named(name: &str) -> Self {
        let mut index = 0;
        while index < NAMES.len() {
            let bytes = NAMES[index].as_bytes();
            if bytes.len() == name.len() && begins_with(bytes, 0, name.as_bytes()) {
                return Self(index);
            }
            index += 1;
        }
        panic!("cuda/kernels.def declares no kernel of this name");
    }

    /// All kernels.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..NAMES.len()).map(Self)
    }

    /// Move non-zero weights to their places.
    pub fn spread(float: Float) -> Self {
        match float {
            Float::F16 | Float::Bf16 => const { Self::named("hc_spread_16") },
            Float::F32 => const { Self::named("hc_spread_32") },
        }
    }

    /// Write exact weights to their places.
    pub fn patch(float: Float) -> Self {
        match float {
            Float::F16 | Float::Bf16 => const { Self::named("hc_patch_16") },
            Float::F32 => const { Self::named("hc_patch_32") },
        }
    }

    /// The product with 1, 2, 4 or 8 vectors.
    ///
    /// # Panics
    /// If `slots` is another number.
    pub fn matvec(slots: u32) -> Self {
        match slots {
            1 => const { Self::named("hc_matvec_1") },
            2 => const { Self::named("hc_matvec_2") },
            4 => const { Self::named("hc_matvec_4") },
            8 => const { Self::named("hc_matvec_8") },
            _ => unreachable!("hc_slots() gives 1, 2, 4 or 8"),
        }
    }

    /// The product of rows in tiles with 1, 2, 4 or 8 vectors.
    ///
    /// # Panics
    /// If `slots` is another number.
    pub fn tile_matvec(slots: u32) -> Self {
        match slots {
            1 => const { Self::named("hc_tile_matvec_1") },
            2 => const { Self::named("hc_tile_matvec_2") },
            4 => const { Self::named("hc_tile_matvec_4") },
            8 => const { Self::named("hc_tile_matvec_8") },
            _ => unreachable!("hc_slots() gives 1, 2, 4 or 8"),
        }
    }

    pub fn index(self) -> usize {
        self.0
    }

    pub fn name(self) -> &'static str {
        NAMES[self.0]
    }

    /// Launch it on a stream. The device's context must be current.
    ///
    /// # Safety
    /// `arguments` points to the kernel's arguments, as `kernels.def` declares them.
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

/// Whether `text` has `part` at this place.
const fn begins_with(text: &[u8], at: usize, part: &[u8]) -> bool {
    if at + part.len() > text.len() {
        return false;
    }
    let mut i = 0;
    while i < part.len() {
        if text[at + i] != part[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// The number of entries of [`DECLARATIONS`].
const fn count() -> usize {
    let (mut found, mut at) = (0, 0);
    while at < DECLARATIONS.len() {
        if begins_with(DECLARATIONS, at, ENTRY) {
            found += 1;
        }
        at += 1;
    }
    found
}

/// The text between the parenthesis and the first comma of each entry.
const fn names() -> [&'static str; count()] {
    let mut names = [""; count()];
    let (mut found, mut at) = (0, 0);
    while at < DECLARATIONS.len() {
        if begins_with(DECLARATIONS, at, ENTRY) {
            let start = at + ENTRY.len();
            let mut end = start;
            while DECLARATIONS[end] != b',' {
                end += 1;
            }
            let (_, rest) = DECLARATIONS.split_at(start);
            let (name, _) = rest.split_at(end - start);
            names[found] = match std::str::from_utf8(name) {
                Ok(name) => name,
                Err(_) => panic!("a name in cuda/kernels.def is not UTF-8"),
            };
            found += 1;
        }
        at += 1;
    }
    names
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
        assert_eq!(Kernel::TILE_DECODE.name(), "hc_tile_decode");
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
            let name = format!("hc_tile_matvec_{slots}");
            assert_eq!(Kernel::tile_matvec(slots).name(), name);
        }
    }
}
