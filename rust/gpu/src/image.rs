//! The compiled kernels: a "fatbin" with machine code for each generation of devices, and with portable
//! assembly (PTX) that the driver compiles for later ones. The driver selects what fits the device.

use crate::device::Capability;
use crate::error::{Error, ErrorKind, Result};

/// The oldest compute capability that the image has code for.
const OLDEST: Capability = Capability { major: 7, minor: 5 };

/// Bytes at an aligned address, so that the driver may read words.
#[repr(align(16))]
struct Aligned<T: ?Sized>(T);

static FATBIN: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../cuda/image/kernels.fatbin"));

/// The stamp of the image, as JSON: its architectures, and the compilers that made it.
pub const STAMP: &str = include_str!("../../../cuda/image/stamp.json");

/// The image for a device of this capability.
///
/// # Errors
/// [`ErrorKind::Architecture`] for one that is too old.
pub fn for_device(capability: Capability, name: &str) -> Result<&'static [u8]> {
    if capability >= OLDEST {
        return Ok(&FATBIN.0);
    }
    Err(Error::new(
        ErrorKind::Architecture,
        format!(
            "{name} has compute capability {}.{}: the kernels run on {}.{} (Turing) and later; use \
             the CPU",
            capability.major, capability.minor, OLDEST.major, OLDEST.minor
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_since_turing_have_code() {
        let has = |major, minor| for_device(Capability { major, minor }, "a device").is_ok();
        assert!(has(7, 5) && has(8, 0) && has(9, 0) && has(12, 1));
        assert!(!has(7, 2) && !has(6, 1));
    }
}
