//! Which of the compiled kernels a device takes.
//!
//! Machine code (a cubin) runs on its own architecture and on later ones of the same generation
//! ("major"). A device of a generation that came after them gets the PTX, an assembly that the driver
//! compiles; older ones get nothing.

use crate::device::Capability;
use crate::error::{Error, ErrorKind, Result};

/// Compiled kernels for one architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// The architecture they were compiled for.
    pub capability: Capability,
    /// What the driver loads.
    pub bytes: &'a [u8],
}

/// All compiled kernels: machine code, and a PTX that ends with a zero byte.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// Machine code by architecture.
    pub cubins: &'a [Image<'a>],
    /// Assembly for what comes later.
    pub ptx: Image<'a>,
}

/// The images that are embedded in this program.
pub(crate) const IMAGES: Images<'static> = Images {
    cubins: &[],
    ptx: Image {
        capability: Capability { major: 7, minor: 5 },
        bytes: b"//\0",
    },
};

impl<'a> Images<'a> {
    /// The best of the images that a device takes.
    pub fn for_device(&self, capability: Capability, name: &str) -> Result<Image<'a>> {
        let runs = |image: &&Image<'_>| {
            image.capability.major == capability.major && image.capability <= capability
        };
        if let Some(cubin) = self.cubins.iter().filter(runs).max_by_key(|c| c.capability) {
            return Ok(*cubin);
        }
        if self.ptx.capability <= capability {
            return Ok(self.ptx);
        }
        let Capability { major, minor } = self.ptx.capability;
        Err(Error::new(
            ErrorKind::Architecture,
            format!(
                "{name} has compute capability {}.{}: the kernels run on {major}.{minor} (Turing) \
                 and later; use the CPU",
                capability.major, capability.minor,
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(major: u32, minor: u32) -> Capability {
        Capability { major, minor }
    }

    fn chosen(major: u32, minor: u32) -> Option<&'static [u8]> {
        let cubin = |major, minor, bytes| Image {
            capability: capability(major, minor),
            bytes,
        };
        let images = Images {
            cubins: &[
                cubin(8, 6, b"86"),
                cubin(7, 5, b"75"),
                cubin(8, 0, b"80"),
                cubin(12, 0, b"120"),
            ],
            ptx: cubin(7, 5, b"ptx"),
        };
        let image = images.for_device(capability(major, minor), "a device");
        image.ok().map(|image| image.bytes)
    }

    #[test]
    fn the_nearest_of_the_same_generation_comes_first_then_the_assembly() {
        assert_eq!(chosen(8, 0), Some(&b"80"[..]));
        assert_eq!(chosen(8, 6), Some(&b"86"[..]));
        assert_eq!(chosen(8, 7), Some(&b"86"[..]));
        assert_eq!(chosen(8, 5), Some(&b"80"[..]));
        assert_eq!(chosen(9, 0), Some(&b"ptx"[..]));
        assert_eq!(chosen(13, 2), Some(&b"ptx"[..]));
        assert_eq!(chosen(7, 5), Some(&b"75"[..]));
        assert_eq!(chosen(7, 2), None);
        assert_eq!(chosen(6, 1), None);
    }
}
